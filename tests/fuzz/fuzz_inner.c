/* fuzz_inner.c - packets from the TUN, through one plane and out of the other.
 *
 * Invariant: a packet that is whole, fits, and goes from one network to the other comes out once, in order
 * (small ones among themselves where some are held) and unchanged, compressed and bundled on the way or not,
 * but for the MSS of a SYN, whose checksum stays right; with a foreign source it gets as far as the other
 * plane; any other is dropped at once. One that is too big may be answered, by ICMP that is whole,
 * quotes it and has a right checksum. The same where the path is taken to lose, though it does not.
 * Parsers: ip_parse, mss_read, too_big_ipv4_parse, too_big_ipv6_parse. */
#include <string.h>

#include "support.h"

enum { PKTS_MAX = 48, WHOLE_IPV4 = 1, WHOLE_IPV6 = 2, WITH_SYN = 8, QUOTE = 64 };
enum { ANSWERS_MAX = 32, SMALL_MAX = 512 };

typedef struct world {
    end left, right;
    uint8_t sent[PKTS_MAX][KEEP_MTU];
    uint32_t sent_len[PKTS_MAX];
    uint32_t sent_count;
    uint32_t small_next, large_next; /* of sent, to come out */
    uint32_t came;
    uint32_t left_count; /* those and the ones with a foreign source */
    uint32_t pushed;
    uint32_t dropped_bytes; /* of those that may not leave */
    uint8_t big[PKTS_MAX][QUOTE]; /* how those begin that are too big */
    uint32_t big_count;
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

/* The sum of all 16-bit words, as the Internet checksum counts: equal sums are congruent. */
static uint64_t sum_of(const uint8_t *p, uint32_t len)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < len; i++)
        sum += i % 2 ? p[i] : p[i] * 256U;
    return sum % 0xffff;
}

/* The slow, obvious version of the clamp (RFC 9293, section 3.1): what a SYN comes out as, but for its
 * checksum. Returns where that stands; 0: nothing changes. */
static uint32_t clamp_slowly(uint8_t *p, uint32_t len)
{
    bool is_v4 = p[0] >> 4 == 4;
    uint32_t tcp = is_v4 ? (p[0] & 15U) * 4 : 40, limit = KEEP_MTU - (is_v4 ? 40 : 60);
    bool is_part = is_v4 && (p[6] & 0x3f || p[7]);
    if (p[is_v4 ? 9 : 6] != 6 || is_part || len < tcp + 20 || !(p[tcp + 13] & 2))
        return 0;
    uint32_t past = tcp + (p[tcp + 12] >> 4) * 4U;
    for (uint32_t i = tcp + 20; past <= len && i < past && p[i] != 0; i += p[i] == 1 ? 1 : p[i + 1]) {
        if (p[i] == 1)
            continue;
        if (i + 1 >= past || p[i + 1] < 2 || i + p[i + 1] > past)
            return 0;
        if (p[i] != 2 || p[i + 1] != 4)
            continue;
        if (p[i + 2] * 256U + p[i + 3] <= limit)
            return 0;
        p[i + 2] = (uint8_t)(limit >> 8);
        p[i + 3] = (uint8_t)limit;
        return tcp + 16;
    }
    return 0;
}

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
    uint32_t tcp = (how & 3) == WHOLE_IPV4 ? 20 : 40;
    if ((how & WITH_SYN) && len >= tcp + 24) {
        p[tcp == 20 ? 9 : 6] = 6;
        p[6] = tcp == 20 ? 0 : 6;
        p[7] = 0;
        p[tcp + 12] |= 0x60;
        p[tcp + 13] |= 2;
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
        if (take > KEEP_MTU)
            memcpy(w->big[w->big_count++], buf[count], QUOTE);
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

/* Which of those that were sent is the next of this size; small ones may be held and overtaken. */
static uint32_t next_sent(world *w, uint32_t len)
{
    bool has_two = w->left.how.has_bundles, is_small = has_two && len <= SMALL_MAX;
    uint32_t *next = is_small ? &w->small_next : &w->large_next;
    while (has_two && *next < w->sent_count && (w->sent_len[*next] <= SMALL_MAX) != is_small)
        ++*next;
    must(*next < w->sent_count, "nothing comes out that was not sent");
    return (*next)++;
}

/* Carries all datagrams over, and compares what comes out with what went in. */
static void carry_and_compare(world *w)
{
    static uint8_t buf[PKTS_MAX][ROOM];
    static uint32_t len[PKTS_MAX], peer[PKTS_MAX];
    static oxi_addr addr[PKTS_MAX];
    int n;
    while ((n = oxi_outer_pop(w->left.dp, buf[0], ROOM, len, addr, PKTS_MAX)) > 0) {
        for (int i = 0; i < n; i++) {
            addr[i] = address_of(9, 999);
            int result = oxi_outer_push(w->right.dp, w->right.now_ns, buf[i], ROOM, &len[i], &addr[i], 1);
            must(result == OXI_OK, "push takes all");
        }
    }
    must(n == 0, "a pop");
    n = oxi_inner_pop(w->right.dp, buf[0], ROOM, len, peer, PKTS_MAX);
    for (int i = 0; i < n; i++) {
        uint32_t at = next_sent(w, len[i]);
        must(peer[i] == w->right.peer, "from the right peer");
        uint8_t *was = w->sent[at];
        must(len[i] == w->sent_len[at] && sum_of(buf[i], len[i]) == sum_of(was, len[i]), "the sum stays");
        uint32_t checksum = clamp_slowly(was, len[i]);
        if (checksum)
            memcpy(was + checksum, buf[i] + checksum, 2);
        must(memcmp(buf[i], was, len[i]) == 0, "in order and unchanged");
    }
    w->came += (uint32_t)n;
}

/* Time passes: what is held goes, and the right one acknowledges what came. */
static void turn(world *w)
{
    static uint8_t buf[PKTS_MAX][ROOM];
    static uint32_t len[PKTS_MAX];
    static oxi_addr addr[PKTS_MAX];
    w->left.now_ns = w->right.now_ns += 6000000;
    oxi_tick(w->left.dp, w->left.now_ns);
    carry_and_compare(w);
    oxi_tick(w->right.dp, w->right.now_ns);
    int n = oxi_outer_pop(w->right.dp, buf[0], ROOM, len, addr, PKTS_MAX);
    for (int i = 0; i < n; i++) {
        addr[i] = address_of(2, 443);
        int result = oxi_outer_push(w->left.dp, w->left.now_ns, buf[i], ROOM, &len[i], &addr[i], 1);
        must(result == OXI_OK, "push takes all");
    }
}

/* What the left plane wrote into its own TUN. */
static void answers_check(world *w)
{
    static uint8_t buf[PKTS_MAX][ROOM];
    static uint32_t len[PKTS_MAX], peer[PKTS_MAX];
    int n = oxi_inner_pop(w->left.dp, buf[0], ROOM, len, peer, PKTS_MAX);
    must(n >= 0 && n <= ANSWERS_MAX, "no more answers than the bucket holds");
    uint32_t at = 0;
    for (int i = 0; i < n; i++) {
        const uint8_t *p = buf[i];
        bool is_v4 = p[0] == 0x45;
        must(is_v4 || p[0] == 0x60, "an answer is IPv4 or IPv6");
        uint32_t head = is_v4 ? 20 : 40;
        uint32_t told = is_v4 ? p[2] * 256U + p[3] : p[4] * 256U + p[5] + 40;
        must(told == len[i] && len[i] <= (is_v4 ? 576 : 1280), "an answer is whole, and not too long");
        must(!is_v4 || sum_of(p, 20) == 0, "the header's checksum is right");
        uint64_t pseudo = is_v4 ? 0 : sum_of(p + 8, 32) + len[i] - 40 + 58;
        must((sum_of(p + head, len[i] - head) + pseudo) % 0xffff == 0, "the ICMP checksum is right");
        must(is_v4 ? p[20] == 3 && p[21] == 4 : p[40] == 2 && p[41] == 0, "it says: too big");
        must(p[head + 6] * 256U + p[head + 7] == KEEP_MTU, "and how large is not");
        while (at < w->big_count && memcmp(p + head + 8, w->big[at], QUOTE) != 0)
            at++;
        must(at++ < w->big_count, "it quotes what was too big, in order");
    }
    oxi_stats st = stats_of(&w->left);
    must(st.own_inner_packets == (uint64_t)n && st.inner_out_packets == 0, "answers are our own");
}

static void counters_check(const world *w)
{
    oxi_stats st = stats_of(&w->left);
    const ways *how = &w->left.how;
    uint64_t most = st.inner_in_bytes - w->dropped_bytes + w->left_count * OXI_OVERHEAD_BYTES;
    must(w->came == w->sent_count, "each packet that may arrive comes out");
    must(st.inner_in_packets == w->pushed, "every packet counts once");
    must(drops_of(&st, OXI_DIR_OUT) + w->left_count == w->pushed, "what may not leave is dropped by name");
    must(st.inner_sent_packets == w->left_count, "the others leave");
    must(how->has_bundles || st.outer_out_datagrams == w->left_count + st.own_out_datagrams,
         "each by itself where nothing is bundled");
    bool has_marks = how->repair != OXI_REPAIR_OFF;
    if (how->flows == 0 && !how->has_bundles && !how->has_payload && !has_marks && st.own_out_datagrams == 0)
        must(st.outer_out_bytes == most, "24 bytes more than the inner packet");
    if (how->flows == 0 && !has_marks && st.own_out_datagrams == 0)
        must(st.outer_out_bytes <= most, "never longer for what makes it smaller");
    oxi_compression_stats c;
    must(oxi_compression_stats_read(w->left.dp, &c) == OXI_OK, "counters can be read");
    for (uint32_t i = 0; i < 6; i++)
        must(c.coded_bytes[i] <= c.header_bytes[i] + 16 * c.header_packets[i], "a header grows little");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static world w;
    input in = { data, size };
    memset(&w, 0, sizeof w);
    uint8_t head = (uint8_t)input_number(&in, 1);
    ways how = ways_of(head >> 1 & 0x3f);
    how.has_order = true;
    how.repair = head & 0x80 ? OXI_REPAIR_ARQ + (head >> 1) % 3 : OXI_REPAIR_OFF;
    ends_open(&w.left, &w.right, head & 1 ? OXI_SUITE_AES256GCM : OXI_SUITE_CHACHA20POLY1305, &how);
    while (in.left && w.pushed < PKTS_MAX) {
        push_batch(&w, &in);
        if (how.flows || how.has_bundles || how.repair)
            turn(&w);
        if (how.repair)
            must(oxi_repair_wish(w.left.dp, w.left.now_ns, w.left.peer, 0, OXI_REGIME_RANDOM, 1000, 3) ==
                     OXI_OK, "the path is taken to lose");
    }
    turn(&w);
    answers_check(&w);
    counters_check(&w);
    drain(&w.left);
    drain(&w.right);
    end_close(&w.left);
    end_close(&w.right);
    return 0;
}
