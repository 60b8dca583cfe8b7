/* fuzz_outer.c - datagrams from the network.
 *
 * Invariant: whatever comes without the key is dropped under one name or handed to QUIC, is never opened,
 * answered or delivered, and moves no address; a genuine datagram opens once, and not at all when one bit of
 * it was changed. Parsers: wire_read. */
#include <string.h>

#include "support.h"

enum { OPS_MAX = 96, RAW = 0, OUR_INDEX = 1, GENUINE = 2, REPEAT = 3 };

typedef struct world {
    end us;             /* the right one */
    uint64_t pn;        /* of the next genuine datagram */
    uint64_t opened;    /* that must have opened */
    uint64_t control;   /* that must have gone to QUIC */
    uint8_t last[ROOM]; /* the last genuine one, as it was sealed */
    uint32_t last_len;
} world;

/* The first byte says: QUIC. Those over the limit of a QUIC datagram are drops. */
static bool is_control(const uint8_t *data, uint32_t len)
{
    return len > 0 && (data[0] & 0x40) && len <= OXI_CONTROL_MAX;
}

/* Once, or twice in one batch: the second copy must not open. */
static void push(world *w, const uint8_t *data, uint32_t len, const oxi_addr *from, bool is_twice)
{
    static uint8_t buf[2][ROOM];
    memcpy(buf[0], data, len);
    memcpy(buf[1], data, len);
    const uint32_t lens[2] = { len, len };
    const oxi_addr froms[2] = { *from, *from };
    int result = oxi_outer_push(w->us.dp, w->us.now_ns, buf[0], ROOM, lens, froms, is_twice ? 2 : 1);
    must(result == OXI_OK, "push takes all");
}

/* A genuine datagram with an inner packet; then, as the input says, changed, cut or lengthened on its way. */
static uint32_t genuine(world *w, input *in, uint8_t *data)
{
    const uint8_t frames[20] = { 0x45, [3] = 20, [12] = 10, [16] = 172, [17] = 16 };
    uint32_t len = seal_to(&w->us, 0, w->pn++, frames, sizeof frames, data);
    memcpy(w->last, data, len);
    w->last_len = len;
    uint32_t at = (uint32_t)input_number(in, 1);
    uint8_t change = (uint8_t)input_number(in, 1);
    if (at < len && change) {
        data[at] ^= change;
        return len;
    }
    if (at >= 0xf0) {
        data[len] = change;
        return at & 1 ? len + 1 : len - 1;
    }
    w->opened++;
    return len;
}

static void run_op(world *w, input *in)
{
    static uint8_t data[ROOM + 1];
    uint8_t op = (uint8_t)input_number(in, 1);
    oxi_addr from = address_of((uint8_t)(op >> 4), (uint16_t)(1 + (op >> 2 & 3)));
    uint32_t len = 0;
    if ((op & 3) == GENUINE) {
        len = genuine(w, in, data);
    } else if ((op & 3) == REPEAT) {
        len = w->last_len;
        memcpy(data, w->last, len);
    } else {
        uint32_t wanted = (uint32_t)input_number(in, 2) % (ROOM + 1);
        len = wanted < in->left ? input_copy(in, data, wanted) : input_copy(in, data, in->left);
        if ((op & 3) == OUR_INDEX && len >= 4) {
            data[0] &= 0x3f;
            for (uint32_t i = 0; i < 3; i++)
                data[1 + i] = (uint8_t)(w->us.rx_index >> (16 - 8 * i));
        }
    }
    bool is_twice = op & 0x80;
    w->control += is_control(data, len) * (is_twice ? 2U : 1U);
    push(w, data, len, &from, is_twice);
}

static void world_must_hold(world *w)
{
    static uint8_t buf[OXI_BATCH_MAX][ROOM];
    static uint32_t len[OXI_BATCH_MAX];
    static oxi_addr to[OXI_BATCH_MAX];
    oxi_stats st = stats_of(&w->us);
    sums_must_hold(&w->us);
    /* A changed genuine one that was sent again unchanged (REPEAT) opens then: so at most, and at least. */
    must(st.opened_datagrams >= w->opened && st.opened_datagrams <= w->pn, "only the genuine ones opened");
    must(st.control_in_datagrams == w->control, "QUIC, and only QUIC, goes to QUIC");
    must(oxi_outer_pop(w->us.dp, buf[0], ROOM, len, to, OXI_BATCH_MAX) == 0, "no answer");
    uint64_t control = 0;
    int n;
    while ((n = oxi_control_pop(w->us.dp, buf[0], ROOM, len, to, OXI_BATCH_MAX)) > 0) {
        for (int i = 0; i < n; i++)
            must(is_control(buf[i], len[i]), "a QUIC datagram stays what it was");
        control += (uint64_t)n;
    }
    must(control == st.control_in_datagrams, "each QUIC datagram comes out once");
    oxi_peer_stats peer;
    must(oxi_peer_stats_read(w->us.dp, w->us.peer, &peer) == OXI_OK, "the peer is there");
    if (w->opened == 0 && st.opened_datagrams == 0)
        must(memcmp(peer.paths[0].addr.ip, address_of(1, 443).ip, 16) == 0, "a forgery moves no address");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    input in = { data, size };
    memset(&w, 0, sizeof w);
    uint8_t suite = input_number(&in, 1) & 1 ? OXI_SUITE_AES256GCM : OXI_SUITE_CHACHA20POLY1305;
    ways how = ways_of((uint8_t)(size ? data[0] >> 1 & 15 : 0));
    how.has_order = true;
    end_open(&w.us, false, suite, &how);
    end_connect(&w.us, 0x424242);
    for (uint32_t i = 0; i < OPS_MAX && in.left; i++)
        run_op(&w, &in);
    world_must_hold(&w);
    drain(&w.us);
    end_close(&w.us);
    return 0;
}
