/* link-simulate.c - the link in virtual time, without root or devices: N packets in, JSON out.
 * Shows what the link does with each packet, so that its specification can be tested. */
#include "link.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_A = 40000 };

struct world {
    const struct simulation *sim;
    FILE *lists[DIRS];           /* delivered packets as JSON, one list per direction */
    FILE *icmp;
    uint16_t port_seen;          /* where b answers: a's port as b saw it last */
    uint64_t changed_packets[DIRS], checksum_good_packets[DIRS];
};

static void put(uint8_t *at, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static void put_ip4(const struct simulation *sim, uint8_t *out, int dir, uint32_t len)
{
    out[0] = 0x45;
    out[1] = sim->ect ? 2 : 0;
    put(out + 2, len, 2);
    put(out + 6, sim->dont_fragment ? 0x4000 : 0, 2);
    out[8] = 64;
    out[9] = 17;
    put(out + 12, dir == DIR_AB ? 0x0ac90001 : 0x0ac90002, 4);
    put(out + 16, dir == DIR_AB ? 0x0ac90002 : 0x0ac90001, 4);
    put(out + 10, (uint16_t)~packet_sum(out, 20, 0), 2);
}

static void put_ip6(const struct simulation *sim, uint8_t *out, int dir, uint32_t len)
{
    out[0] = 0x60;
    out[1] = sim->ect ? 0x20 : 0;
    put(out + 4, len - 40, 2);
    out[6] = 17;
    out[7] = 64;
    out[8] = out[24] = 0xfd;
    out[23] = dir == DIR_AB ? 1 : 2;
    out[39] = dir == DIR_AB ? 2 : 1;
}

/* The packet number `index` of a direction: UDP with its index and a pattern as content. */
static uint32_t make_packet(const struct simulation *sim, int dir, uint64_t index, uint16_t port_a,
                            uint8_t *out)
{
    uint32_t len = sim->size_bytes, header = sim->ipv6 ? 40 : 20;
    memset(out, 0, len);
    if (sim->ipv6)
        put_ip6(sim, out, dir, len);
    else
        put_ip4(sim, out, dir, len);
    uint8_t *udp = out + header;
    put(udp, dir == DIR_AB ? port_a : sim->port, 2);
    put(udp + 2, dir == DIR_AB ? sim->port : port_a, 2);
    put(udp + 4, len - header, 2);
    udp[8] = sim->first_byte;
    for (uint32_t i = 9; i < len - header; i++)
        udp[i] = (uint8_t)(index * 31 + i);
    uint32_t addresses = sim->ipv6 ? 8 : 12;
    uint16_t start = packet_sum(out + addresses, header - addresses, 17 + len - header);
    uint16_t checksum = (uint16_t)~packet_sum(udp, len - header, start);
    put(udp + 6, checksum ? checksum : 0xffff, 2);
    return len;
}

static uint32_t bits_changed(const uint8_t *x, const uint8_t *y, uint32_t len)
{
    uint32_t bits = 0;
    for (uint32_t i = 0; i < len; i++)
        bits += (uint32_t)__builtin_popcount(x[i] ^ y[i]);
    return bits;
}

/* One delivered packet as [index, release_ns, changed payload bits, checksum good, ECN, port of a]. */
static bool collect(void *context, int side, const struct held *packet)
{
    static uint8_t original[PACKET_MAX];
    struct world *world = context;
    struct view view;
    int dir = side == 1 ? DIR_AB : DIR_BA;
    if (packet->index == UINT64_MAX) {
        fprintf(world->icmp, "%s[%d,%u,%u]", ftell(world->icmp) > 0 ? "," : "", side, packet->len,
                packet->bytes[packet->bytes[0] >> 4 == 4 ? 20 : 40]);
        return true;
    }
    if (!packet_parse(packet->bytes, packet->len, &view) || !view.udp)
        return false;
    uint16_t port_a = packet_port(packet->bytes, &view, dir == DIR_AB);
    make_packet(world->sim, dir, packet->index, port_a, original);
    uint32_t content = view.udp + 8;
    uint32_t bits = bits_changed(original + content, packet->bytes + content, packet->len - content);
    bool good = packet_udp_checksum_good(packet->bytes, &view);
    uint32_t ecn = (view.version == 4 ? packet->bytes[1] : packet->bytes[1] >> 4) & 3u;
    world->changed_packets[dir] += bits > 0;
    world->checksum_good_packets[dir] += good;
    if (dir == DIR_AB)
        world->port_seen = port_a;
    if (world->sim->list)
        fprintf(world->lists[dir], "%s[%" PRIu64 ",%" PRIu64 ",%u,%d,%u,%u]",
                ftell(world->lists[dir]) > 0 ? "," : "", packet->index, packet->release_ns, bits, good, ecn,
                port_a);
    return true;
}

static void emit_until(struct link *link, uint64_t now_ns)
{
    for (uint64_t next_ns; (next_ns = link_next_ns(link)) <= now_ns && next_ns != UINT64_MAX;)
        link_emit(link, next_ns);
}

static void feed(struct link *link, struct world *world)
{
    const struct simulation *sim = world->sim;
    uint8_t packet[PACKET_MAX];
    for (uint64_t i = 0; i < sim->packets; i++) {
        uint64_t now_ns = i * sim->gap_ns;
        if (sim->dirs & 1) {
            emit_until(link, now_ns);
            link_arrive(link, DIR_AB, now_ns, packet, make_packet(sim, DIR_AB, i, PORT_A, packet));
        }
        now_ns += sim->gap_ns / 2;
        if (sim->dirs & 2) {
            emit_until(link, now_ns);
            link_arrive(link, DIR_BA, now_ns, packet, make_packet(sim, DIR_BA, i, world->port_seen, packet));
        }
    }
    emit_until(link, UINT64_MAX - 1);
}

/* Prints the report with the member "simulation" to stdout.  `link` is configured; time starts at 0. */
int simulate(struct link *link, const struct simulation *sim)
{
    struct world world = {.sim = sim, .port_seen = PORT_A};
    char *texts[DIRS + 2] = {0};
    size_t sizes[DIRS + 2];
    for (int dir = 0; dir < DIRS; dir++)
        world.lists[dir] = open_memstream(&texts[dir], &sizes[dir]);
    world.icmp = open_memstream(&texts[DIRS], &sizes[DIRS]);
    FILE *extra = open_memstream(&texts[DIRS + 1], &sizes[DIRS + 1]);
    if (!world.lists[0] || !world.lists[1] || !world.icmp || !extra)
        return 1;
    link->emit = collect;
    link->context = &world;
    link->origin_ns = 0;
    feed(link, &world);
    for (int dir = 0; dir < DIRS; dir++)
        fclose(world.lists[dir]);
    fclose(world.icmp);
    fputs("\"simulation\":{", extra);
    for (int dir = 0; dir < DIRS; dir++)
        fprintf(extra, "\"%s\":{\"changed_packets\":%" PRIu64 ",\"checksum_good_packets\":%" PRIu64
                ",\"delivered\":[%s]},", dir == DIR_AB ? "ab" : "ba", world.changed_packets[dir],
                world.checksum_good_packets[dir], texts[dir]);
    fprintf(extra, "\"icmp\":[%s]},", texts[DIRS]);
    fclose(extra);
    report_json(stdout, link, sim->packets * sim->gap_ns, texts[DIRS + 1]);
    for (int i = 0; i < DIRS + 2; i++)
        free(texts[i]);
    return 0;
}
