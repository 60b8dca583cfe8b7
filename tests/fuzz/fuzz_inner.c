/* fuzz_inner.c - packets from the TUN, through one plane and out of the other.
 *
 * Invariant: a packet that is whole, fits, and goes from one network to the other comes out once, in order
 * and unchanged; with a foreign source it gets as far as the other plane; any other is dropped at once.
 * Parsers: ip_parse. */
#include <string.h>

#include "support.h"

enum { PKTS_MAX = 48, WHOLE_IPV4 = 1, WHOLE_IPV6 = 2 };

typedef struct world {
    end left, right;
    uint8_t sent[PKTS_MAX][KEEP_MTU];
    uint32_t sent_len[PKTS_MAX];
    uint32_t sent_count;
    uint32_t left_count; /* those and the ones with a foreign source */
    uint32_t pushed;
    uint32_t dropped_bytes; /* of those that may not leave */
} world;

/* The slow, obvious version of what the left plane has to find out (RFC 791, RFC 8200, and its route). */
static bool may_leave(const uint8_t *p, uint32_t len)
{
    if (len > KEEP_MTU)
        return false;
    if (len >= 20 && p[0] >> 4 == 4) {
        uint32_t header = (p[0] & 15U) * 4, total = p[2] * 256U + p[3];
        return header >= 20 && header <= total && total == len && p[16] == 172 && p[17] >> 4 == 1;
    }
    return len >= 40 && p[0] >> 4 == 6 && p[4] * 256U + p[5] + 40 == len && p[24] == 0xfe && p[25] >> 6 == 2;
}

/* And the right one, of a packet that may leave. */
static bool may_arrive(const uint8_t *p) { return p[0] >> 4 == 4 ? p[12] == 10 : p[8] == 0xfd; }

/* Makes raw bytes a whole packet between the two networks: otherwise hardly any would pass. */
static void make_whole(uint8_t *p, uint32_t len, uint8_t how)
{
    if ((how & 3) == WHOLE_IPV4 && len >= 20) {
        p[0] = (uint8_t)(0x40 | (how >> 4 ? how >> 4 : 5)); /* header lengths good and bad */
        p[2] = (uint8_t)(len >> 8);
        p[3] = (uint8_t)len;
        p[12] = 10;
        p[16] = 172;
        p[17] = 16;
    }
    if ((how & 3) == WHOLE_IPV6 && len >= 40) {
        p[0] = 0x60;
        p[4] = (uint8_t)((len - 40) >> 8);
        p[5] = (uint8_t)(len - 40);
        p[8] = 0xfd;
        p[24] = 0xfe;
        p[25] = 0x80;
    }
}

static void push_batch(world *w, input *in)
{
    static uint8_t buf[OXI_BATCH_MAX][2048];
    uint32_t len[OXI_BATCH_MAX];
    uint32_t count = 0, wanted = 1 + (uint32_t)input_number(in, 1) % 8;
    while (count < wanted && in->left && w->pushed + count < PKTS_MAX) {
        uint8_t how = (uint8_t)input_number(in, 1);
        uint32_t take = (uint32_t)input_number(in, 2) % sizeof buf[0];
        memset(buf[count], how, sizeof buf[count]);
        input_copy(in, buf[count], take);
        len[count] = take;
        make_whole(buf[count], take, how);
        /* One wrong byte in an otherwise whole packet finds the edges of each check. */
        if (how & 4)
            buf[count][input_number(in, 1) % 40] ^= (uint8_t)input_number(in, 1);
        bool is_leaving = may_leave(buf[count], take);
        w->left_count += is_leaving;
        w->dropped_bytes += is_leaving ? 0 : take;
        if (is_leaving && may_arrive(buf[count])) {
            memcpy(w->sent[w->sent_count], buf[count], take);
            w->sent_len[w->sent_count++] = take;
        }
        count++;
    }
    w->pushed += count;
    int result = oxi_inner_push(w->left.dp, w->left.now_ns, buf[0], sizeof buf[0], len, count);
    must(result == OXI_OK, "push takes all");
}

/* Carries all datagrams over, and compares what comes out with what went in. */
static void carry_and_compare(world *w)
{
    static uint8_t buf[PKTS_MAX][ROOM];
    static uint32_t len[PKTS_MAX], peer[PKTS_MAX];
    static oxi_addr addr[PKTS_MAX];
    int n = oxi_outer_pop(w->left.dp, buf[0], ROOM, len, addr, PKTS_MAX);
    must(n == (int)w->left_count, "each packet that may leave is one datagram");
    for (int i = 0; i < n; i++) {
        addr[i] = address_of(9, 999);
        int result = oxi_outer_push(w->right.dp, w->right.now_ns, buf[i], ROOM, &len[i], &addr[i], 1);
        must(result == OXI_OK, "push takes all");
    }
    n = oxi_inner_pop(w->right.dp, buf[0], ROOM, len, peer, PKTS_MAX);
    must(n == (int)w->sent_count, "each packet that may arrive comes out");
    for (int i = 0; i < n; i++) {
        must(peer[i] == w->right.peer, "from the right peer");
        must(len[i] == w->sent_len[i] && memcmp(buf[i], w->sent[i], len[i]) == 0, "in order and unchanged");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    input in = { data, size };
    memset(&w, 0, sizeof w);
    uint8_t suite = input_number(&in, 1) & 1 ? OXI_SUITE_AES256GCM : OXI_SUITE_CHACHA20POLY1305;
    ends_open(&w.left, &w.right, suite);
    while (in.left && w.pushed < PKTS_MAX)
        push_batch(&w, &in);
    carry_and_compare(&w);
    oxi_stats st = stats_of(&w.left);
    must(st.inner_in_packets == w.pushed, "every packet counts once");
    must(drops_of(&st, OXI_DIR_OUT) + w.left_count == w.pushed, "what may not leave is dropped by name");
    must(st.outer_out_bytes == st.inner_in_bytes - w.dropped_bytes + w.left_count * OXI_OVERHEAD_BYTES,
         "24 bytes more than the inner packet");
    drain(&w.left);
    drain(&w.right);
    end_close(&w.left);
    end_close(&w.right);
    return 0;
}
