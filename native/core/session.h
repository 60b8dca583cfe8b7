/* session.h - keys and packet numbers shared with one peer (PROTOCOL.md sections 2 and 4).
 *
 * A session is found by its receiver index: slot = index / workers % slots. Its epochs follow each other by
 * rekey; packet numbers go on through all of them. */
#ifndef OXI_SESSION_H
#define OXI_SESSION_H
#include "aead.h"
#include "replay.h"

typedef struct epoch_keys {
    aead rx;
    aead tx;
    uint64_t made_ns;
    uint64_t tx_packets;
    uint32_t epoch;
    bool is_live;
} epoch_keys;

typedef struct arrival {
    uint64_t pn;
    uint64_t ns;
} arrival;

/* One direction each way of one path under one session. */
typedef struct session_path {
    /* ours */
    uint64_t next_pn;
    uint64_t acked_next;            /* largest acknowledged + 1 */
    uint64_t missing[LOSS_LAG];     /* sent - received as of the last ACKs, a ring */
    uint32_t missing_count;
    uint64_t missing_now;           /* as of the last ACK, late packets among it */
    uint64_t lost;                  /* confirmed */
    uint64_t received;              /* of ours, as the peer says */
    /* theirs */
    replay rx;
    uint64_t opened;
    uint64_t repaired;              /* seen in other datagrams than their own (repair_in.c) */
    uint64_t ce;
    uint64_t largest_ns;            /* when the largest was opened */
    uint64_t ack_from_ns;           /* when the first of what waits for an ACK came */
    uint64_t ack_due_ns;            /* 0: nothing waits to be acknowledged */
    uint32_t unacked_bytes;         /* that wait */
    bool ack_is_urgent;             /* among it is what the sender should hear of soon */
    bool ack_is_prompt;             /* or at once */
    arrival arrivals[ACK_TIMES_MAX]; /* newest in arrival_count - 1, a ring */
    uint64_t arrival_count;
} session_path;

typedef struct session {
    uint32_t rx_index; /* 0: the slot is free */
    uint32_t tx_index;
    uint32_t peer;
    uint64_t serial; /* later sessions have larger ones */
    uint32_t send_epoch;
    uint32_t newest_epoch;
    uint8_t suite;
    bool may_send;
    bool may_bundle; /* the peer takes several packets in one datagram */
    bool tx_payload; /* it takes compressed payloads */
    bool rx_payload; /* we said that we do */
    uint16_t tx_flows; /* contexts for headers that it keeps for us */
    uint16_t rx_flows; /* those that we promised */
    bool was_heard;
    bool is_repaired; /* the peer has sent a frame of repair under it */
    uint64_t expires_ns; /* NEVER_NS: current */
    epoch_keys keys[OXI_EPOCHS];
    session_path paths[OXI_PATHS_MAX];
} session;

typedef struct session_table {
    session *slots;
    uint32_t count;
    uint32_t worker;  /* all indices here are this, modulo workers */
    uint32_t workers;
    uint64_t started; /* so far */
} session_table;

static inline session *session_slot(session_table *t, uint32_t rx_index)
{
    return &t->slots[rx_index / t->workers % t->count];
}

/* NULL: no live session has this index. */
static inline session *session_find(session_table *t, uint32_t rx_index)
{
    session *s = session_slot(t, rx_index);
    return rx_index != 0 && s->rx_index == rx_index ? s : NULL;
}

/* A free index near random24; 0: no free slot. */
uint32_t session_index_pick(const session_table *t, uint32_t random24);
/* Start a session in its slot. NULL: slot taken or the AEAD library refused. */
session *session_start(session_table *t, uint64_t now_ns, uint32_t peer, const oxi_session *conf);
/* Keys of the next epoch; the one before stays, older ones are forgotten. E_ARG: not the next, or the
 * one before does not send yet. */
int session_epoch_add(session *s, uint64_t now_ns, uint32_t epoch, const uint8_t *rx_key,
                      const uint8_t *tx_key);
void session_end(session *s); /* forget all keys, free the slot; contexts stay for the next */

static inline epoch_keys *session_epoch(session *s, uint32_t epoch) /* NULL: not live */
{
    epoch_keys *k = &s->keys[epoch % OXI_EPOCHS];
    return k->is_live && k->epoch == epoch ? k : NULL;
}
/* By the two bits on the wire. NULL: no such key. */
static inline epoch_keys *session_phase(session *s, uint32_t phase)
{
    epoch_keys *k = &s->keys[phase % OXI_EPOCHS];
    return k->is_live ? k : NULL;
}
#endif
