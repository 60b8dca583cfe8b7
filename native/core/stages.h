/* stages.h - the stages of both paths, and the few calls between files of the core. */
#ifndef OXI_STAGES_H
#define OXI_STAGES_H
#include "bytes.h"
#include "dp.h"

/* ip.c */
typedef struct ip_view {
    bool is_v6;
    uint8_t ecn;
    const uint8_t *source; /* 4 or 16 bytes */
    const uint8_t *target;
} ip_view;
bool ip_parse(const uint8_t *data, uint32_t len, ip_view *out); /* a whole packet of exactly len bytes? */
void ip_out_batch(dp *d, batch *b);
void ip_in_batch(dp *d, batch *b);

/* route.c */
void route_batch(dp *d, batch *b);
void source_batch(dp *d, batch *b);

/* handover.c */
void handover_batch(dp *d, batch *b);

/* classify.c */
void classify_batch(dp *d, batch *b);

/* hold.c */
void hold_batch(dp *d, batch *b);
void hold_tick(dp *d, peer *pr, uint64_t now_ns);
void hold_flush(dp *d, peer *pr, uint64_t now_ns); /* what is held goes now */
void hold_end(dp *d, peer *pr); /* what is held is dropped */

/* sched.c */
void sched_batch(dp *d, batch *b);
/* Largest inner packet that goes to the peer on this path. */
static inline uint32_t path_mtu(const dp *d, const path *pa)
{
    uint32_t room = pa->payload_max > OXI_OVERHEAD_BYTES ? pa->payload_max - OXI_OVERHEAD_BYTES : 0;
    return (uint32_t)min_u64(d->conf.mtu_bytes, room);
}

/* too_big.c */
/* Whether an answer may be given; data is a whole packet of len bytes. */
bool too_big_ipv4_parse(const uint8_t *data, uint32_t len);
bool too_big_ipv6_parse(const uint8_t *data, uint32_t len);
/* p does not fit; it stays the caller's, who drops it. */
void too_big_answer(dp *d, uint64_t now_ns, pkt *p, uint32_t mtu_bytes);

/* mss.c */
void mss_batch(dp *d, batch *b);
/* Where the value of the MSS option stands in a TCP header; len: from there to the end of the packet, 20 at
 * least. False: there is none, or the options are broken. */
bool mss_read(const uint8_t *tcp, uint32_t len, uint32_t *at);

/* wire.c */
void demux_batch(dp *d, batch *b);
void wire_batch(dp *d, batch *b);

/* compress.c */
/* p, whose number is taken, becomes the item that travels; it may grow up to room. */
void compress_item(dp *d, pkt *p, uint32_t room, uint64_t now_ns);
/* The packet that an item of this datagram stands for, valid until the next call. DROP_COUNT: it is there. */
drop_reason restore_item(dp *d, const pkt *datagram, const uint8_t *item, uint32_t len, const uint8_t **out,
                         uint32_t *out_len);

/* pack.c */
void pack_batch(dp *d, batch *b);
/* Fills b, whatever is in it, with what waits in the unpacker. */
void unpack_batch(dp *d, batch *b);

/* repair_out.c */
void repair_batch(dp *d, batch *b);
path_times path_times_of(const path *pa);
bool is_congested(const repair_path *rp, const path_times *t, const repair_wish *w);
/* An acknowledgement reports on so many more packets, of which so many more are missing (less: came late). */
void repair_reported(path *pa, uint64_t packets, int64_t missing, uint64_t now_ns);
repair_wish repair_wish_of(const repair_path *rp, uint64_t now_ns);
/* Keep a content like that one, at the end of its list; what is older may have to go. */
kept_content *content_keep(dp *d, const uint8_t *data, uint32_t len, const kept_content *like);
void content_let_go(dp *d, kept_content *c);

/* repair_frames.c */
/* Into REPEAT_BYTES. */
uint32_t repeat_write(uint32_t path_id, uint64_t pn, uint8_t *out);
bool repeat_read(const session *s, const pkt *datagram, reader *r, uint32_t *path_id, uint64_t *pn);
uint32_t abandon_write(const abandoned *a, uint32_t path_id, uint8_t *out, uint32_t cap);
bool abandon_read(reader *r, uint32_t *path_id, abandoned *out);

/* repair_code.c */
/* c becomes the next member of the stream of its class, and earns it permille thousandths of a repair symbol;
 * true: one is owed now. */
bool code_member(const contents *all, path *pa, kept_content *c, uint32_t permille);
/* A repair symbol over the window that ends with newest, of what is still of use; false: not sent. */
bool code_send(dp *d, peer *pr, uint32_t path_id, const kept_content *newest, uint64_t now_ns);
/* The frame in front of a member. */
uint32_t source_write(uint32_t stream, uint64_t seq, uint8_t *out);
bool source_read(uint8_t first, reader *r, pkt *p);
/* A member has come; what it lets be decoded lies in d->repair.decoded. */
void source_arrived(dp *d, const pkt *p);
drop_reason code_take(dp *d, const pkt *p, uint8_t first, reader *r, uint64_t now_ns);

/* repair_in.c */
drop_reason repair_frame_take(dp *d, pkt *p, uint8_t first, reader *r, uint64_t now_ns);
/* The content of a number of this session comes in another datagram. From now on the number counts as seen:
 * it is acknowledged as if it had come itself, and when it does it is a duplicate. DROP_COUNT: it may. */
drop_reason content_claim(dp *d, session *s, uint32_t path_id, uint64_t pn, bool *is_known);
/* Whether what is left of p, behind its frames, is to go on. DROP_COUNT and false: it is known already. */
bool content_arrived(dp *d, pkt *p, drop_reason *why);

/* seal.c */
/* The next packet number of its session and path is p's. False: the send key is worn. */
bool number_take(dp *d, pkt *p, uint64_t now_ns);
void seal_batch(dp *d, batch *b);
void open_batch(dp *d, batch *b);

/* emit.c */
void emit_batch(dp *d, batch *b);

/* order.c */
void order_batch(dp *d, batch *b);

/* merge.c */
void merge_batch(dp *d, batch *b);

/* frames.c */
void frames_batch(dp *d, batch *b);
/* One datagram of our own frames: to the path's address (to NULL) or another. False: it was not sent. */
bool own_send(dp *d, uint64_t now_ns, session *s, uint32_t path_id, const oxi_addr *to,
              const uint8_t *frames, uint32_t len);
/* pad_bytes of PADDING follow the PING. */
bool ping_send(dp *d, uint64_t now_ns, peer *pr, uint32_t path_id, const oxi_addr *to, uint64_t token,
               uint8_t flags, uint32_t pad_bytes);
enum { PING_TOKEN_OWN = 0 }; /* token of PINGs the plane sends of its own accord; no event */

/* ack.c */
void ack_ride_batch(dp *d, batch *b);
/* Something may have made what waits for an ACK more urgent: work out anew when it is due. */
void ack_schedule(dp *d, session *s, uint32_t path_id);
void ack_note(dp *d, session *s, const pkt *p, bool is_eliciting, uint64_t now_ns);
uint32_t ack_write(const session *s, uint32_t path_id, uint64_t now_ns, uint8_t *out, uint32_t cap);

bool ack_read(dp *d, session *s, reader *r, uint64_t now_ns);
void ack_flush(dp *d, session *s, uint32_t path_id, uint64_t now_ns);
void sent_note(dp *d, path *pa, uint64_t pn, uint64_t now_ns);

/* liveness.c */
void heard_batch(dp *d, batch *b);
void asked(dp *d, peer *pr, uint64_t now_ns); /* we sent something that wants an answer */
void peer_tick(dp *d, peer *pr, uint64_t now_ns);
#endif
