/* core_unit.c - parts of the core alone, with inputs that the boundary does not let through or that would
 * take too many packets. Built with the sanitizers and run by test_core_unit.py; exits 0 when all holds. */
#include <stdio.h>
#include <stdlib.h>

#include "../../native/core/aead_library.h"
#include "../../native/core/frames.h"
#include "../../native/core/gf256.h"
#include "../../native/core/lz_block.h"
#include "../../native/core/ring.h"
#include "../../native/core/rlc.h"
#include "../../native/core/stages.h"
#include "../../native/core/wire.h"
#include "unit.h"

static void varints(void)
{
    static const struct {
        uint64_t value;
        size_t bytes;
    } rows[] = { { 0, 1 }, { 63, 1 }, { 64, 2 }, { 16383, 2 }, { 16384, 4 }, { (1ULL << 30) - 1, 4 },
                 { 1ULL << 30, 8 }, { (1ULL << 62) - 1, 8 } };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        uint8_t buf[8];
        writer w = writer_of(buf, rows[i].bytes);
        write_varint(&w, rows[i].value);
        CHECK(!w.is_bad && writer_left(&w) == 0 && varint_bytes(rows[i].value) == rows[i].bytes);
        reader r = reader_of(buf, rows[i].bytes);
        CHECK(read_varint(&r) == rows[i].value && !r.is_bad && reader_left(&r) == 0);
        reader cut = reader_of(buf, rows[i].bytes - 1);
        CHECK(read_varint(&cut) == 0 && cut.is_bad);
        writer full = writer_of(buf, rows[i].bytes - 1);
        write_varint(&full, rows[i].value);
        CHECK(full.is_bad);
    }
}

/* Once bad a cursor stays so, and reads nothing more although there would be bytes. */
static void cursors(void)
{
    uint8_t bytes[9] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 };
    reader r = reader_of(bytes, sizeof bytes);
    CHECK(read_be64(&r) == 0x0102030405060708ULL);
    CHECK(read_be64(&r) == 0 && r.is_bad);
    CHECK(read_u8(&r) == 0 && reader_left(&r) == 1);
    writer w = writer_of(bytes, 3);
    write_be64(&w, 1);
    write_u8(&w, 1);
    CHECK(w.is_bad && bytes[0] == 1 && bytes[1] == 2);
}

/* RFC 9000, appendix A.3, by trying all candidates. */
static void packet_numbers(void)
{
    static const uint64_t places[] = { 0, 1, 1ULL << 31, 1ULL << 32, 3ULL << 32, (1ULL << 61) + 7 };
    for (uint32_t i = 0; i < 200000; i++) {
        uint64_t next = places[i % 6] + dice() % 5 * (i % 2) + (i % 3 ? dice() % (1ULL << 33) : 0);
        uint32_t low = i % 5 ? (uint32_t)dice() : (uint32_t)next + (uint32_t)(dice() % 3) - 1 + (i % 4 << 30);
        uint64_t pn = pn_expand(next, low);
        CHECK((uint32_t)pn == low);
        uint64_t distance = pn > next ? pn - next : next - pn;
        CHECK(distance <= 1ULL << 31 || (pn < 1ULL << 32 && pn > next));
    }
}

enum { NAIVE_SPAN = 60000 };

/* Ranges in any order, across words, below the window and above the largest, against one byte per number. */
static void replay_ranges(void)
{
    static uint8_t seen[NAIVE_SPAN];
    for (uint32_t round = 0; round < 50; round++) {
        replay r = { 0 };
        memset(seen, 0, sizeof seen);
        for (uint32_t i = 0; i < 200 && r.next < NAIVE_SPAN - 1000; i++) {
            uint64_t at = r.next + dice() % (i % 11 ? 300 : 900);
            replay_mark_any(&r, at);
            seen[at] = 1;
            uint64_t low = r.next > REPLAY_WINDOW ? r.next - REPLAY_WINDOW : 0;
            uint64_t from = dice() % (r.next + 100), to = from + dice() % (i % 7 ? 200 : 3000);
            replay_mark_range(&r, from, to);
            for (uint64_t pn = from > low ? from : low; pn < to && pn < r.next; pn++)
                seen[pn] = 1;
            for (uint64_t pn = low; pn < r.next; pn++)
                CHECK(replay_has(&r, pn) == seen[pn]);
        }
    }
}

/* Far up, where 32 bits are long gone, against one byte per number. */
static void replay_windows(void)
{
    static uint8_t seen[NAIVE_SPAN];
    for (uint32_t round = 0; round < 20; round++) {
        replay r = { 0 };
        uint64_t base = round ? (dice() >> 4) & ~63ULL : 0;
        uint64_t top = 0;
        memset(seen, 0, sizeof seen);
        for (uint32_t i = 0; i < 20000; i++) {
            uint64_t at = i % 3 ? top + dice() % 40 : dice() % (top + 1);
            if (i % 997 == 0)
                at = top + dice() % 9000;
            if (at >= NAIVE_SPAN)
                break;
            replay_verdict expected = seen[at] ? REPLAY_SEEN : REPLAY_NEW;
            if (at + REPLAY_WINDOW < top)
                expected = REPLAY_OLD;
            CHECK(replay_check(&r, base + at) == expected);
            if (expected != REPLAY_NEW)
                continue;
            replay_mark(&r, base + at);
            CHECK(replay_check(&r, base + at) == REPLAY_SEEN);
            seen[at] = 1;
            top = max_u64(top, at + 1);
        }
    }
}

static void rings(void)
{
    uint32_t slots[4];
    ring r = { .slots = (uint8_t *)slots, .slot_bytes = 4, .count = 4 };
    r.head = r.tail = UINT32_MAX - 5;
    for (uint32_t round = 0; round < 20; round++) {
        CHECK(ring_read_slot(&r) == NULL);
        for (uint32_t i = 0; i < 4; i++) {
            *(uint32_t *)ring_write_slot(&r) = round * 10 + i;
            ring_written(&r);
        }
        CHECK(ring_write_slot(&r) == NULL);
        for (uint32_t i = 0; i < 4 - round % 2; i++) {
            CHECK(*(uint32_t *)ring_read_slot(&r) == round * 10 + i);
            ring_read_done(&r);
        }
        if (round % 2)
            ring_read_done(&r);
    }
}

static void aeads(void)
{
    uint8_t key[32] = { 1 }, aad[8] = { 2 }, data[64 + TAG_BYTES], before[64];
    for (uint8_t suite = 1; suite <= 2; suite++) {
        aead seal = { .library = &AEAD_OPENSSL }, open = { .library = &AEAD_OPENSSL };
        nonce n = aead_nonce(3, 0x0102030405060708ULL);
        static const uint8_t expected[12] = { 0, 0, 0, 3, 1, 2, 3, 4, 5, 6, 7, 8 };
        CHECK(memcmp(n.bytes, expected, sizeof expected) == 0);
        CHECK(aead_key(&seal, suite, key, true) && aead_key(&open, suite, key, false));
        for (size_t len = 0; len <= 64; len += 16) {
            for (size_t i = 0; i < len; i++)
                data[i] = before[i] = (uint8_t)dice();
            CHECK(aead_seal(&seal, &n, aad, sizeof aad, data, len));
            CHECK(aead_open(&open, &n, aad, sizeof aad, data, len));
            CHECK(memcmp(data, before, len) == 0);
        }
        aead_forget(&seal);
        aead_forget(&open);
        CHECK(!aead_seal(&seal, &n, aad, sizeof aad, data, 16));
        CHECK(!aead_open(&open, &n, aad, sizeof aad, data, 16));
        CHECK(aead_key(&seal, suite, key, true) && aead_seal(&seal, &n, aad, sizeof aad, data, 16));
        aead_free(&seal);
        aead_free(&open);
    }
}

static uint32_t sum_of(const uint8_t *header, uint32_t bytes)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < bytes; i += 2)
        sum += load_be16(header + i);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

static dp *plane_new(void)
{
    dp *d = calloc(1, sizeof *d);
    const oxi_conf conf = { .peers_max = 2, .routes_max = 2000, .pool_pkts = 256, .mtu_bytes = 1420,
                            .rekey_packets = 1, .key_packets_max = 1, .key_age_ns_max = 1 };
    CHECK(d && dp_init(d, &conf, &AEAD_OPENSSL));
    return d;
}

/* Every value of the identification field: so every header checksum there is, marked CE, is right again. */
static void marks(void)
{
    dp *d = plane_new();
    for (uint32_t id = 0; id < 65536; id++) {
        pkt *p = pool_take(&d->pool);
        uint8_t *h = pkt_data(p);
        memset(h, 0, 20);
        h[0] = 0x45;
        h[1] = (uint8_t)((id & 0xfc) | (id % 2 ? 1 : 2));
        store_be16(h + 2, 20);
        store_be16(h + 4, (uint16_t)id);
        h[12] = (uint8_t)dice();
        store_be16(h + 10, (uint16_t)~sum_of(h, 20));
        p->len = 20;
        p->ecn = 3;
        batch b = { 0 };
        batch_add(&b, p);
        ip_in_batch(d, &b);
        CHECK(b.count == 1 && (h[1] & 3) == 3 && (h[1] & 0xfc) == (id & 0xfc));
        CHECK(sum_of(h, 20) == 0xffff);
        pool_give(&d->pool, p);
    }
    dp_release(d);
    free(d);
}

static bool covers(const oxi_prefix *p, const uint8_t *ip)
{
    for (uint32_t bit = 0; bit < p->bits; bit++)
        if ((p->ip[bit / 8] ^ ip[bit / 8]) >> (7 - bit % 8) & 1)
            return false;
    return true;
}

/* A thousand prefixes that nest and share beginnings; the arena is never written past its end. */
static void routes(void)
{
    dp *d = plane_new();
    static oxi_prefix rows[1000];
    static bool is_in[1000];
    route_table *t = &d->routes[0];
    for (uint32_t i = 0; i < 1000; i++) {
        bool is_v6 = i % 2;
        rows[i] = (oxi_prefix){ .family = is_v6 ? OXI_AF_INET6 : OXI_AF_INET, .peer = i,
                                .bits = (uint8_t)(dice() % (is_v6 ? 129 : 33)) };
        for (uint32_t k = 0; k < (is_v6 ? 16u : 4u); k++)
            rows[i].ip[k] = (uint8_t)(dice() % 4 ? dice() & 3 : dice());
        is_in[i] = routes_add(t, &rows[i]) == OXI_OK;
        CHECK(t->used <= t->cap);
    }
    for (uint32_t i = 0; i < 4000; i++) {
        uint8_t ip[16];
        memcpy(ip, rows[dice() % 1000].ip, 16);
        ip[dice() % 16] ^= (uint8_t)(1u << dice() % 8);
        bool is_v6 = i % 2;
        int32_t best = -1;
        for (int32_t k = is_v6; k < 1000; k += 2)
            if (is_in[k] && covers(&rows[k], ip) && (best < 0 || rows[k].bits > rows[best].bits))
                best = k;
        CHECK(routes_find(t, is_v6, ip) == best);
    }
    dp_release(d);
    free(d);
}

/* Whatever lies in the window, an ACK fits its room and tells the largest number first. */
static void acks_fit(void)
{
    static session s;
    uint8_t out[ACK_ALONE_MAX];
    for (uint32_t round = 0; round < 3000; round++) {
        session_path *sp = &s.paths[0];
        memset(sp, 0, sizeof *sp);
        uint64_t pn = dice() >> (3 + round % 61), now = dice() >> 2;
        uint32_t spread = 1 + (uint32_t)(dice() % 500);
        for (uint32_t i = 0; i < 200; i++) {
            replay_mark(&sp->rx, pn);
            sp->largest_ns = now;
            sp->arrivals[sp->arrival_count++ % ACK_TIMES_MAX] = (arrival){ .pn = pn, .ns = now };
            pn += 1 + dice() % spread;
            now += dice() % (1ULL << (dice() % 40));
        }
        sp->opened = sp->ce = dice() % sp->rx.next;
        sp->unacked_bytes = (uint32_t)dice();
        uint32_t caps[] = { ACK_RIDE_MAX, ACK_ALONE_MAX, ACK_RIDE_MAX + (uint32_t)(dice() % 400) };
        for (uint32_t i = 0; i < 3; i++) {
            uint32_t len = ack_write(&s, 0, now + (dice() >> 20), out, caps[i]);
            CHECK(len > 0 && len <= caps[i]);
            reader r = reader_of(out + 2, len - 2);
            CHECK(read_varint(&r) == sp->rx.next - 1);
            CHECK((out[1] & ~ACK_FLAGS) == 0 && (out[1] & ACK_PATH) == 0);
        }
    }
}

/* What the library would refuse as well, if not with every version: offsets before what there is. */
static void lz_blocks(void)
{
    enum { TEXT_BYTES = 100 };
    for (uint32_t offset = 0; offset <= UINT16_MAX; offset++) {
        uint8_t low = (uint8_t)offset, high = (uint8_t)(offset >> 8);
        uint8_t block[] = { 0x10, 'A', low, high, 0x50, 'f', 'i', 'n', 'a', 'l' };
        uint32_t bytes = 0;
        bool is_good = offset > 0 && offset <= 1 + TEXT_BYTES;
        CHECK(lz_block_parse(block, sizeof block, TEXT_BYTES, 10, &bytes) == (is_good ? LZ_OK : LZ_CORRUPT));
        CHECK(!is_good || bytes == 10);
        lz_result tight = lz_block_parse(block, sizeof block, TEXT_BYTES, 9, &bytes);
        CHECK(tight == (is_good ? LZ_TOO_LONG : LZ_CORRUPT));
        for (uint32_t len = 0; len < sizeof block; len++) { /* "A" alone is a block */
            lz_result cut = lz_block_parse(block, len, TEXT_BYTES, 10, &bytes);
            CHECK(cut == (len == 2 ? LZ_OK : LZ_CORRUPT));
        }
    }
}

/* A text in which a bucket holds many places, some of them at its end: each is found, none is read past. */
static void lz_indexes_of_runs(void)
{
    static lz_index index;
    static lz_block work;
    static uint8_t text[600], out[64];
    memset(text, '0', sizeof text);
    for (uint32_t len = 0; len <= sizeof text; len += 50) {
        uint8_t *exact = malloc(len ? len : 1); /* of the very size: a read past the end is seen */
        CHECK(exact != NULL);
        memcpy(exact, text, len);
        lz_index_init(&index, exact, len);
        uint32_t bytes = lz_block_write(&work, &index, text, sizeof text, out, sizeof out), given = 0;
        CHECK(bytes > 0 && bytes < 24);
        CHECK(lz_block_parse(out, bytes, len, sizeof text, &given) == LZ_OK && given == sizeof text);
        free(exact);
    }
}

/* ---- missing numbers, beside a plain list of them ---- */

enum { HOLE_PNS = 1500, HOLE_PLACES = 2 };

typedef struct hole_rig {
    hole_pool pool;
    hole rooms[HOLE_PLACES][HOLES_MAX];
    hole *free[HOLE_PLACES];
} hole_rig;

static void hole_rig_init(hole_rig *r)
{
    *r = (hole_rig){ 0 };
    r->pool = (hole_pool){ .all = r->rooms[0], .free = r->free };
    for (uint32_t i = 0; i < HOLE_PLACES; i++)
        r->pool.free[r->pool.free_count++] = r->rooms[i];
}

static bool is_missing(const bool *missing, uint64_t from, uint64_t to) /* strictly between */
{
    for (uint64_t pn = from + 1; pn < to; pn++)
        if (missing[pn])
            return true;
    return false;
}

static void holes_are_as(const hole_rig *r, const holes *h, const bool *missing)
{
    uint64_t end = 0;
    for (uint32_t i = 0; i < h->count; i++) {
        CHECK(h->at[i].count > 0 && h->at[i].from >= end);
        end = h->at[i].from + h->at[i].count;
    }
    CHECK((h->count == 0) == (h->at == NULL) && h->count <= HOLES_MAX);
    CHECK(r->pool.free_count == HOLE_PLACES - (h->at != NULL));
    for (uint32_t k = 0; k < 20; k++) {
        uint64_t from = dice() % HOLE_PNS, to = from + dice() % 40;
        CHECK(holes_any_between(h, from, to) == is_missing(missing, from, to < HOLE_PNS ? to : HOLE_PNS));
    }
}

/* Jumps, late ones, twice the same, and old ones: as long as there is room, exactly as a list of them. */
static void holes_as_a_list(uint64_t jump_max)
{
    hole_rig r;
    holes h = { 0 };
    static bool missing[HOLE_PNS];
    static uint64_t noticed_ms[HOLE_PNS];
    hole_rig_init(&r);
    memset(missing, 0, sizeof missing);
    uint64_t next = 0, now_ms = UINT32_MAX - 200; /* the low bits come round */
    while (next < HOLE_PNS - jump_max) {
        uint64_t pn = dice() % 2 ? next + dice() % jump_max : dice() % (next + 1);
        holes_opened(&r.pool, &h, pn, next, now_ms * NS_PER_MS);
        for (uint64_t i = next; i < pn; i++) {
            missing[i] = true;
            noticed_ms[i] = now_ms;
        }
        missing[pn] = false;
        next = pn >= next ? pn + 1 : next;
        pn = dice() % HOLE_PNS;
        bool is_there = missing[pn];
        CHECK(holes_resolved(&r.pool, &h, pn) == is_there);
        missing[pn] = false;
        now_ms += dice() % 3;
        holes_expire(&r.pool, &h, now_ms * NS_PER_MS, 100 * NS_PER_MS);
        for (uint64_t i = 0; i < next; i++)
            missing[i] = missing[i] && now_ms - noticed_ms[i] < 100;
        holes_are_as(&r, &h, missing);
    }
    CHECK(r.pool.given_up == 0);
    holes_clear(&r.pool, &h);
    CHECK(r.pool.free_count == HOLE_PLACES && !holes_any(&h));
}

/* Where there is no room the oldest are given up, and only they; a split at the limit, too. */
static void holes_without_room(void)
{
    hole_rig r;
    holes h[HOLE_PLACES + 1] = { 0 };
    hole_rig_init(&r);
    const uint64_t wide = 4, ranges = HOLES_MAX + 10;
    for (uint64_t i = 0; i < ranges; i++)
        holes_opened(&r.pool, &h[0], i * (wide + 1) + wide, i * (wide + 1), 0);
    CHECK(h[0].count == HOLES_MAX && r.pool.given_up == 10 && h[0].at[0].from == 10 * (wide + 1));
    uint64_t middle = 40 * (wide + 1) + 1;
    CHECK(holes_resolved(&r.pool, &h[0], middle) && h[0].count == HOLES_MAX && r.pool.given_up == 11);
    CHECK(!holes_any_between(&h[0], middle - 1, middle + 1) && holes_any_between(&h[0], middle - 2, middle));
    CHECK(holes_any_between(&h[0], middle, middle + 2) && !holes_any_between(&h[0], 0, 11 * (wide + 1)));
    middle = h[0].at[0].from + 1; /* of the oldest itself only the upper part stays */
    CHECK(holes_resolved(&r.pool, &h[0], middle) && h[0].count == HOLES_MAX && h[0].at[0].from == middle + 1);
    CHECK(r.pool.given_up == 12);
    holes_opened(&r.pool, &h[1], 5, 1, 0);
    holes_opened(&r.pool, &h[2], 5, 1, 0);
    CHECK(holes_any(&h[1]) && !holes_any(&h[2]) && r.pool.given_up == 13 && r.pool.free_count == 0);
    holes_opened(&r.pool, &h[1], UINT32_MAX, 6, 0); /* what can not come any more is not counted */
    CHECK(h[1].at[1].from == UINT32_MAX - REPLAY_WINDOW);
}

/* A library with one wrong product, one with a wrong length, one that writes too much. */
static void product_is_wrong(uint8_t *dest, const uint8_t *src, uint8_t coefficient, uint32_t padded)
{
    GF256_PORTABLE.mul_add(dest, src, coefficient, padded);
    for (uint32_t i = 0; i < padded; i++)
        dest[i] ^= coefficient == 255 && src[i] == 254;
}

static void length_is_wrong(uint8_t *dest, const uint8_t *src, uint8_t coefficient, uint32_t padded)
{
    GF256_PORTABLE.mul_add(dest, src, coefficient, padded == 1568 ? padded - GF256_STEP : padded);
}

static void writes_behind(uint8_t *dest, const uint8_t *src, uint8_t coefficient, uint32_t padded)
{
    GF256_PORTABLE.mul_add(dest, src, coefficient, padded);
    dest[padded] ^= padded % 64 != 0;
}

static void *no_symbol(const char *name) { return strcmp(name, "ec_init_tables") ? NULL : (void *)no_symbol; }

static void fields(void)
{
    const gf256_library wrong[] = { { "product", product_is_wrong },
                                    { "length", length_is_wrong },
                                    { "behind", writes_behind } };
    CHECK(gf256_check(&GF256_PORTABLE) == NULL);
    for (uint32_t i = 0; i < 3; i++)
        CHECK(gf256_check(&wrong[i]) != NULL);
    CHECK(gf256_isal_start(no_symbol) != NULL);
}

/* Buffers of the very size: what is written or read beside them is seen. */
static void repairs_fit(void)
{
    for (uint32_t len = 1; len <= RLC_CONTENT_MAX; len += len < 130 ? 1 : 101) {
        uint32_t padded = gf256_padded(RLC_SYMBOL_HEAD + len);
        uint32_t room = RLC_HEAD_BYTES + RLC_SYMBOL_HEAD + len;
        uint8_t *symbol = malloc(padded), *body = malloc(room), *content = calloc(1, len);
        CHECK(symbol && body && content);
        const uint8_t *members[] = { symbol };
        CHECK(rlc_symbol_write(symbol, 7, content, len) == padded);
        CHECK(rlc_frame_write(&GF256_PORTABLE, 1, 2, members, 1, body, room - 1) == 0);
        uint32_t bytes = rlc_frame_write(&GF256_PORTABLE, 1, 2, members, 1, body, room);
        rlc_frame frame;
        CHECK(bytes == room);
        CHECK(rlc_frame_read(body, bytes, &frame) == RLC_KEPT && frame.newest == 2 && frame.count == 1);
        free(symbol);
        free(body);
        free(content);
    }
}

int main(void)
{
    fields();
    repairs_fit();
    lz_blocks();
    lz_indexes_of_runs();
    varints();
    cursors();
    packet_numbers();
    replay_ranges();
    replay_windows();
    rings();
    aeads();
    marks();
    routes();
    for (uint32_t i = 0; i < 20; i++)
        holes_as_a_list(2 + i % 10);
    holes_without_room();
    acks_fit();
    puts("all hold");
    return 0;
}
