/* rtp-trunk.c - K calls at once between two namespaces: RTP over UDP, both ways, every byte checked.
 *
 *   rtp-trunk --a-netns NS --b-netns NS --a IP --b IP --calls K --payload BYTES --seconds S --seed N
 *             [--type PT] [--step N] [--pattern aligned|spread] [--dscp N]
 *             [--ways ab|both] [--budget SECONDS] [--warm-up SECONDS]
 *
 * A call is one UDP socket at each side, connected to the other's; each sends a packet every 20 ms. With
 * `aligned` all calls of a side leave on one tick, as from an exchange or a media server; with `spread` each
 * has a phase of its own, as telephones have. SSRC, first sequence number and first time stamp are random
 * (RFC 3550, 5.1), the payload is random; all follow from seed, direction, call and number, so the payload
 * carries nothing of ours: what was sent when stays here, in the memory that sender and receiver share.
 * With a warm-up its packets travel but do not count; after them and a moment of quiet it prints "warm" and
 * goes on when it is given a line, so that counters elsewhere can be read between the two.
 * Prints one JSON object. Delay: from before send() to after recv(), both of CLOCK_MONOTONIC. */
#include "content.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { A, B, SIDES, CALLS_MAX = 128, RTP_BYTES = 12, PAYLOAD_MAX = 1200, DATAGRAM_MAX = 2048,
       PACKETS_MAX = 1 << 20, PORT_A = 20000, PORT_B = 30000, SOCKET_BYTES = 4 << 20, POLL_MS = 50,
       PACKETS_PER_SECOND = 50 };
static const uint64_t TICK_NS = SECOND_NS / PACKETS_PER_SECOND, LEAD_NS = SECOND_NS / 10;
static const uint64_t DRAIN_NS = SECOND_NS, QUIET_NS = SECOND_NS / 2;
static const size_t PAYLOAD_WORDS_MAX = PAYLOAD_MAX / 8 + 1;

struct options {
    const char *netns[SIDES], *address[SIDES];
    uint64_t calls, payload, type, step, seed, dscp;
    double seconds, budget_seconds, warm_up_seconds;
    bool is_spread, is_one_way;
};

/* One direction of one call. `highest` and what follows belong to the receiver. */
struct stream {
    uint64_t id, phase_ns;
    uint32_t ssrc, first_stamp;
    uint16_t first_number;
    _Atomic uint64_t *sent_ns;
    bool *has_arrived;
    uint64_t highest;
};

struct direction {
    const struct options *o;
    int fds[CALLS_MAX], far_fds[CALLS_MAX];          /* of the sender and of the receiver */
    struct stream streams[CALLS_MAX];
    int order[CALLS_MAX];                            /* calls by phase */
    uint64_t start_ns, packets;                      /* packets per call */
    uint64_t first, end;                             /* those to be sent now */
    uint64_t warm_packets, budget_ns;                /* the first ones, which do not count; 0: no budget */
    uint64_t sent, refused, received, wrong, duplicates, late, over_budget;
    uint64_t *delays_ns, *send_late_ns;
    atomic_bool is_over;
};

static void die(const char *what)
{
    fprintf(stderr, "rtp-trunk: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void *zeroed(uint64_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        die("memory");
    return memory;
}

/* --- sockets --------------------------------------------------------------------------------- */

static void enter(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "/run/netns/%s", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || setns(fd, CLONE_NEWNET) < 0)
        die(path);
    close(fd);
}

static struct addrinfo *resolve(const char *address, int port)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = SOCK_DGRAM}, *info;
    char text[8];
    snprintf(text, sizeof text, "%d", port);
    if (!address || getaddrinfo(address, text, &hints, &info)) {
        fprintf(stderr, "rtp-trunk: not an address: %s\n", address ? address : "-");
        exit(2);
    }
    return info;
}

/* RTP ports are even (RFC 3550, 11). */
static int open_call(const struct options *o, int side, int call)
{
    int ports[SIDES] = {PORT_A + 2 * call, PORT_B + 2 * call}, size = SOCKET_BYTES;
    int traffic_class = (int)o->dscp << 2;
    struct addrinfo *own = resolve(o->address[side], ports[side]);
    struct addrinfo *other = resolve(o->address[!side], ports[!side]);
    int fd = socket(own->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
    if (own->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_TCLASS, &traffic_class, sizeof traffic_class);
    else
        setsockopt(fd, IPPROTO_IP, IP_TOS, &traffic_class, sizeof traffic_class);
    if (bind(fd, own->ai_addr, own->ai_addrlen) || connect(fd, other->ai_addr, other->ai_addrlen))
        die("bind or connect");
    freeaddrinfo(own);
    freeaddrinfo(other);
    return fd;
}

/* --- content --------------------------------------------------------------------------------- */

static void put16(uint8_t *out, uint16_t value)
{
    out[0] = (uint8_t)(value >> 8);
    out[1] = (uint8_t)value;
}

static void put32(uint8_t *out, uint32_t value)
{
    put16(out, (uint16_t)(value >> 16));
    put16(out + 2, (uint16_t)value);
}

/* The whole UDP payload of packet `number` of a stream; its length. */
static size_t make_packet(uint8_t *out, const struct options *o, const struct stream *s, uint64_t number)
{
    bool is_first = number == 0;                     /* the marker: a talk spurt begins (RFC 3551, 4.1) */
    out[0] = 2 << 6;
    out[1] = (uint8_t)(o->type | (is_first ? 0x80 : 0));
    put16(out + 2, (uint16_t)(s->first_number + number));
    put32(out + 4, (uint32_t)(s->first_stamp + number * o->step));
    put32(out + 8, s->ssrc);
    for (size_t at = 0; at < o->payload; at += 8) {
        uint64_t word = word_at(o->seed, s->id, (number + 1) * PAYLOAD_WORDS_MAX + at / 8);
        memcpy(out + RTP_BYTES + at, &word, o->payload - at < 8 ? o->payload - at : 8);
    }
    return RTP_BYTES + o->payload;
}

static void make_stream(struct stream *s, const struct options *o, uint64_t id, uint64_t packets)
{
    uint64_t random = word_at(o->seed, id, 0);
    s->id = id;
    s->ssrc = (uint32_t)random;
    s->first_number = (uint16_t)(random >> 32);
    s->first_stamp = (uint32_t)word_at(o->seed, id, 1);
    s->sent_ns = zeroed(packets, sizeof *s->sent_ns);
    s->has_arrived = zeroed(packets, sizeof *s->has_arrived);
}

/* --- sender ---------------------------------------------------------------------------------- */

static void send_one(struct direction *d, int call, uint64_t number, uint64_t due_ns)
{
    uint8_t packet[DATAGRAM_MAX];
    struct stream *s = &d->streams[call];
    size_t len = make_packet(packet, d->o, s, number);
    uint64_t now_ns = clock_ns();
    if (number >= d->warm_packets)
        d->send_late_ns[d->sent++] = now_ns - due_ns;
    atomic_store(&s->sent_ns[number], now_ns);
    if (send(d->fds[call], packet, len, 0) != (ssize_t)len)
        d->refused++;
}

static void *send_all(void *argument)
{
    struct direction *d = argument;
    for (uint64_t number = d->first; number < d->end; number++)
        for (uint64_t i = 0; i < d->o->calls; i++) {
            int call = d->order[i];
            uint64_t due_ns = d->start_ns + d->streams[call].phase_ns + (number - d->first) * TICK_NS;
            if (clock_ns() < due_ns)
                pause_until(due_ns);
            send_one(d, call, number, due_ns);
        }
    return NULL;
}

/* --- receiver -------------------------------------------------------------------------------- */

/* The packet's number: the one nearest to the highest seen that has these 16 bits. */
static uint64_t number_of(const struct stream *s, const uint8_t *packet)
{
    uint16_t low = (uint16_t)((packet[2] << 8 | packet[3]) - s->first_number);
    return s->highest + (uint64_t)(int64_t)(int16_t)(uint16_t)(low - (uint16_t)s->highest);
}

static void take(struct direction *d, int call, const uint8_t *got, size_t len, uint64_t now_ns)
{
    uint8_t want[DATAGRAM_MAX];
    struct stream *s = &d->streams[call];
    uint64_t number = len >= RTP_BYTES ? number_of(s, got) : d->packets;
    uint64_t sent_ns = number < d->packets ? atomic_load(&s->sent_ns[number]) : 0;
    if (!sent_ns || make_packet(want, d->o, s, number) != len || memcmp(got, want, len)) {
        d->wrong++;
        return;
    }
    if (s->has_arrived[number]) {
        d->duplicates++;
        return;
    }
    s->has_arrived[number] = true;
    bool is_late = number < s->highest;
    if (number > s->highest)
        s->highest = number;
    if (number < d->warm_packets)
        return;
    d->late += is_late;
    d->over_budget += d->budget_ns && now_ns - sent_ns > d->budget_ns;
    d->delays_ns[d->received++] = now_ns - sent_ns;
}

static void *receive_all(void *argument)
{
    struct direction *d = argument;
    struct pollfd fds[CALLS_MAX];
    uint8_t packet[DATAGRAM_MAX];
    for (uint64_t call = 0; call < d->o->calls; call++)
        fds[call] = (struct pollfd){d->far_fds[call], POLLIN, 0};
    for (int ready = 1; ready > 0 || !atomic_load(&d->is_over);) {
        ready = poll(fds, d->o->calls, POLL_MS);
        for (uint64_t call = 0; ready > 0 && call < d->o->calls; call++)
            while (fds[call].revents) {
                ssize_t len = recv(fds[call].fd, packet, sizeof packet, MSG_DONTWAIT);
                uint64_t now_ns = clock_ns();
                if (len < 0)
                    break;
                take(d, (int)call, packet, (size_t)len, now_ns);
            }
    }
    return NULL;
}

/* --- a run ----------------------------------------------------------------------------------- */

static int compare_words(const void *left, const void *right)
{
    uint64_t a, b;
    memcpy(&a, left, sizeof a);
    memcpy(&b, right, sizeof b);
    return (a > b) - (a < b);
}

/* Nearest rank, as lab/load.py: the smallest value that `percent` of them do not pass. */
static double quantile_s(const uint64_t *sorted, uint64_t count, uint64_t percent)
{
    uint64_t rank = (count * percent + 99) / 100;
    return count ? (double)sorted[rank ? rank - 1 : 0] * 1e-9 : 0;
}

static void print_result(struct direction *d)
{
    static const char *const names[SIDES] = {"ab", "ba"};
    uint64_t received = d[A].received + d[B].received, sent = d[A].sent + d[B].sent;
    uint64_t *delays = zeroed(received + 1, sizeof *delays), *lates = zeroed(sent + 1, sizeof *lates);
    memcpy(delays, d[A].delays_ns, d[A].received * sizeof *delays);
    memcpy(delays + d[A].received, d[B].delays_ns, d[B].received * sizeof *delays);
    memcpy(lates, d[A].send_late_ns, d[A].sent * sizeof *lates);
    memcpy(lates + d[A].sent, d[B].send_late_ns, d[B].sent * sizeof *lates);
    qsort(delays, received, sizeof *delays, compare_words);
    qsort(lates, sent, sizeof *lates, compare_words);
    putchar('{');
    for (int side = A; side < SIDES; side++)
        printf("\"%s\":{\"sent_packets\":%" PRIu64 ",\"refused_packets\":%" PRIu64 ",\"received_packets\":%"
               PRIu64 ",\"wrong_packets\":%" PRIu64 ",\"duplicate_packets\":%" PRIu64 ",\"late_packets\":%"
               PRIu64 ",\"over_budget_packets\":%" PRIu64 "},", names[side], d[side].sent, d[side].refused,
               d[side].received, d[side].wrong, d[side].duplicates, d[side].late, d[side].over_budget);
    printf("\"delay_p50_seconds\":%.9f,\"delay_p95_seconds\":%.9f,\"delay_p99_seconds\":%.9f,",
           quantile_s(delays, received, 50), quantile_s(delays, received, 95),
           quantile_s(delays, received, 99));
    printf("\"delay_max_seconds\":%.9f,", quantile_s(delays, received, 100));
    printf("\"send_late_p99_seconds\":%.9f}\n", quantile_s(lates, sent, 99));
    free(delays);
    free(lates);
}

/* Phases of one direction, and its calls in their order. An aligned side has one phase, not the other's. */
static void set_phases(struct direction *d, const struct options *o)
{
    for (int call = 0; call < (int)o->calls; call++) {
        uint64_t id = o->is_spread ? d->streams[call].id : d->streams[0].id;
        d->streams[call].phase_ns = word_at(o->seed, id, 2) % TICK_NS;
        int at = call;
        for (; at && d->streams[d->order[at - 1]].phase_ns > d->streams[call].phase_ns; at--)
            d->order[at] = d->order[at - 1];
        d->order[at] = call;
    }
}

static void set_direction(struct direction *d, const struct options *o, int side)
{
    d->o = o;
    d->warm_packets = (uint64_t)(o->warm_up_seconds * PACKETS_PER_SECOND);
    d->packets = d->warm_packets + (uint64_t)(o->seconds * PACKETS_PER_SECOND);
    d->budget_ns = (uint64_t)(o->budget_seconds * SECOND_NS);
    d->delays_ns = zeroed(d->packets * o->calls, sizeof(uint64_t));
    d->send_late_ns = zeroed(d->packets * o->calls, sizeof(uint64_t));
    for (uint64_t call = 0; call < o->calls; call++)
        make_stream(&d->streams[call], o, call * SIDES + (uint64_t)side, d->packets);
    set_phases(d, o);
}

/* Packets `first` up to `end` of all calls, each way that is wanted; returns when the last is sent. */
static void send_phase(struct direction *d, uint64_t first, uint64_t end)
{
    pthread_t senders[SIDES];
    uint64_t start_ns = clock_ns() + LEAD_NS;
    int ways = d->o->is_one_way ? 1 : SIDES;
    for (int side = A; side < ways; side++) {
        d[side].start_ns = start_ns;
        d[side].first = first;
        d[side].end = end;
        if (pthread_create(&senders[side], NULL, send_all, &d[side]))
            die("thread");
    }
    for (int side = A; side < ways; side++)
        pthread_join(senders[side], NULL);
}

static void wait_for_line(void)
{
    pause_until(clock_ns() + QUIET_NS);
    puts("warm");
    fflush(stdout);
    for (int got = getchar(); got != EOF && got != '\n';)
        got = getchar();
}

static int run(const struct options *o)
{
    static struct direction d[SIDES];
    pthread_t receivers[SIDES];
    for (int side = A; side < SIDES; side++) {
        enter(o->netns[side]);
        for (int call = 0; call < (int)o->calls; call++)
            d[side].fds[call] = d[!side].far_fds[call] = open_call(o, side, call);
    }
    for (int side = A; side < SIDES; side++) {
        set_direction(&d[side], o, side);
        if (pthread_create(&receivers[side], NULL, receive_all, &d[side]))
            die("thread");
    }
    if (d[A].warm_packets) {
        send_phase(d, 0, d[A].warm_packets);
        wait_for_line();
    }
    send_phase(d, d[A].warm_packets, d[A].packets);
    pause_until(clock_ns() + DRAIN_NS);
    for (int side = A; side < SIDES; side++) {
        atomic_store(&d[side].is_over, true);
        pthread_join(receivers[side], NULL);
    }
    print_result(d);
    return 0;
}

/* --- command line ---------------------------------------------------------------------------- */

static bool take_option(struct options *o, const char *name, const char *text)
{
    char *end = "";
    if (!strcmp(name, "a-netns")) o->netns[A] = text;
    else if (!strcmp(name, "b-netns")) o->netns[B] = text;
    else if (!strcmp(name, "a")) o->address[A] = text;
    else if (!strcmp(name, "b")) o->address[B] = text;
    else if (!strcmp(name, "calls")) o->calls = strtoull(text, &end, 10);
    else if (!strcmp(name, "payload")) o->payload = strtoull(text, &end, 10);
    else if (!strcmp(name, "type")) o->type = strtoull(text, &end, 10);
    else if (!strcmp(name, "step")) o->step = strtoull(text, &end, 10);
    else if (!strcmp(name, "seed")) o->seed = strtoull(text, &end, 10);
    else if (!strcmp(name, "dscp")) o->dscp = strtoull(text, &end, 10);
    else if (!strcmp(name, "seconds")) o->seconds = strtod(text, &end);
    else if (!strcmp(name, "budget")) o->budget_seconds = strtod(text, &end);
    else if (!strcmp(name, "warm-up")) o->warm_up_seconds = strtod(text, &end);
    else if (!strcmp(name, "ways")) {
        o->is_one_way = !strcmp(text, "ab");
        return o->is_one_way || !strcmp(text, "both");
    }
    else if (!strcmp(text, "spread")) o->is_spread = true;
    else if (strcmp(text, "aligned")) return false;
    return !*end;
}

int main(int argc, char **argv)
{
    static const struct option table[] = {
        {"a-netns", 1, 0, 0}, {"b-netns", 1, 0, 0}, {"a", 1, 0, 0}, {"b", 1, 0, 0}, {"calls", 1, 0, 0},
        {"payload", 1, 0, 0}, {"type", 1, 0, 0}, {"step", 1, 0, 0}, {"seed", 1, 0, 0}, {"dscp", 1, 0, 0},
        {"seconds", 1, 0, 0}, {"pattern", 1, 0, 0}, {"ways", 1, 0, 0}, {"budget", 1, 0, 0},
        {"warm-up", 1, 0, 0}, {0, 0, 0, 0},
    };
    struct options o = {.calls = 1, .payload = 160, .step = 160, .seed = 1, .dscp = 46, .seconds = 1};
    int code, index;
    while ((code = getopt_long(argc, argv, "", table, &index)) == 0)
        if (!take_option(&o, table[index].name, optarg)) {
            fprintf(stderr, "rtp-trunk: bad --%s %s\n", table[index].name, optarg);
            return 2;
        }
    bool sizes_good = o.calls >= 1 && o.calls <= CALLS_MAX && o.payload >= 1 && o.payload <= PAYLOAD_MAX;
    bool times_good = o.seconds * PACKETS_PER_SECOND >= 1 && o.warm_up_seconds >= 0 &&
                      (o.seconds + o.warm_up_seconds) * PACKETS_PER_SECOND <= PACKETS_MAX &&
                      o.budget_seconds >= 0 && o.budget_seconds <= PACKETS_MAX;
    bool codes_good = o.type < 128 && o.dscp < 64;
    bool is_good = code != '?' && sizes_good && codes_good && times_good && optind == argc;
    if (!is_good || !o.netns[A] || !o.netns[B]) {
        fputs("usage: rtp-trunk --a-netns NS --b-netns NS --a IP --b IP [options]; see the source\n", stderr);
        return 2;
    }
    prctl(PR_SET_TIMERSLACK, 1);    /* threads inherit it */
    return run(&o);
}
