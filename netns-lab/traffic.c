/* traffic.c - sends and checks numbered traffic whose every byte is known to the receiver.
 *
 *   traffic udp-sink --bind IP --port N --seed N            until the end of standard input
 *   traffic udp-send --to IP --port N --seed N --size A[-B] --pps N --seconds S [--gso SEGMENTS]
 *   traffic tcp-sink --bind IP --port N --seed N            one connection, to its end
 *   traffic tcp-send --to IP --port N --seed N --bytes N | --seconds S [--congestion NAME]
 *
 * A sink prints "ready" once it listens; everyone ends with one JSON object on standard output.
 * UDP payload: magic (4), length (4), number (8), time sent (8), check (8), then content; all of it
 * follows from seed, number and time, so a changed, foreign or doubled packet is found out. */
#include "content.h"
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAGIC = 0x6f786c62, BATCH = 64, DATAGRAM_MAX = 16384, HEADER = 32, SOCKET_BYTES = 32 << 20,
       GSO_BYTES_MAX = 65000, NUMBERS_MAX = 1 << 27, GAPS_MAX = 512, CHUNK = 1 << 18,
       DELAY_BINS = 64 * 32, TCP_TIMEOUT_S = 60 };
static const uint64_t GAP_NS = 100000000;

struct options {
    const char *bind, *to, *port, *congestion;
    uint64_t seed, bytes, size_min, size_max, gso;
    double pps, seconds;
};

struct header { uint32_t magic, len; uint64_t number, sent_ns, check; };

static void die(const char *what)
{
    fprintf(stderr, "traffic: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_socket(const char *address, const char *port, int type, bool passive)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV, .ai_socktype = type}, *info;
    int on = 1, size = SOCKET_BYTES;
    if (!address || !port || getaddrinfo(address, port, &hints, &info)) {
        fprintf(stderr, "traffic: not an address and port: %s %s\n", address ? address : "-",
                port ? port : "-");
        exit(2);
    }
    int fd = socket(info->ai_family, type | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (type == SOCK_DGRAM) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size);
        setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    }
    if (passive ? bind(fd, info->ai_addr, info->ai_addrlen) : connect(fd, info->ai_addr, info->ai_addrlen))
        die(passive ? "bind" : "connect");
    freeaddrinfo(info);
    return fd;
}

static void say_ready(void)
{
    puts("ready");
    fflush(stdout);
}

/* --- UDP content ----------------------------------------------------------------------------- */

static uint64_t header_check(const struct header *h, uint64_t seed)
{
    return mix(seed ^ mix(h->number + mix(h->sent_ns + h->len)));
}

static void fill(uint8_t *out, uint32_t len, uint64_t seed, uint64_t number, uint64_t now_ns)
{
    struct header h = {MAGIC, len, number, now_ns, 0};
    h.check = header_check(&h, seed);
    memcpy(out, &h, sizeof h);
    for (uint32_t at = HEADER; at < len; at += 8) {
        uint64_t word = word_at(seed, number, at);
        memcpy(out + at, &word, len - at < 8 ? len - at : 8);
    }
}

static bool content_good(const uint8_t *bytes, uint32_t len, uint64_t seed, struct header *h)
{
    if (len < HEADER)
        return false;
    memcpy(h, bytes, sizeof *h);
    if (h->magic != MAGIC || h->len != len || h->number >= NUMBERS_MAX || h->check != header_check(h, seed))
        return false;
    uint64_t wrong = 0;
    uint32_t at = HEADER;
    for (; at + 8 <= len; at += 8) {
        uint64_t word;
        memcpy(&word, bytes + at, 8);
        wrong |= word ^ word_at(seed, h->number, at);
    }
    uint64_t tail = word_at(seed, h->number, at);
    return !wrong && !memcmp(&tail, bytes + at, len - at);
}

/* --- UDP sender ------------------------------------------------------------------------------ */

struct batch {
    struct mmsghdr messages[BATCH];
    struct iovec pieces[BATCH];
    uint8_t control[BATCH][CMSG_SPACE(sizeof(uint16_t))];
    uint8_t bytes[BATCH][DATAGRAM_MAX];
};

static struct batch *new_batch(void)
{
    struct batch *b = calloc(1, sizeof *b);
    if (!b)
        die("memory");
    for (int i = 0; i < BATCH; i++) {
        b->pieces[i] = (struct iovec){b->bytes[i], DATAGRAM_MAX};
        b->messages[i].msg_hdr.msg_iov = &b->pieces[i];
        b->messages[i].msg_hdr.msg_iovlen = 1;
    }
    return b;
}

/* Pieces [first, first + n) as one message; the kernel makes n packets of it (udp(7), UDP_SEGMENT). */
static void make_message(struct batch *b, int index, int first, int n)
{
    struct msghdr *m = &b->messages[index].msg_hdr;
    m->msg_iov = &b->pieces[first];
    m->msg_iovlen = (size_t)n;
    m->msg_control = n > 1 ? b->control[index] : NULL;
    m->msg_controllen = n > 1 ? sizeof b->control[index] : 0;
    if (n > 1) {
        struct cmsghdr *c = CMSG_FIRSTHDR(m);
        uint16_t size = (uint16_t)b->pieces[first].iov_len;
        c->cmsg_level = SOL_UDP;
        c->cmsg_type = UDP_SEGMENT;
        c->cmsg_len = CMSG_LEN(sizeof size);
        memcpy(CMSG_DATA(c), &size, sizeof size);
    }
}

/* Runs of up to `gso` packets of one size become one message each; how many messages there are. */
static int group_batch(struct batch *b, int count, uint64_t gso)
{
    int messages = 0;
    for (int at = 0, n; at < count; at += n, messages++) {
        size_t size = b->pieces[at].iov_len;
        for (n = 1; at + n < count && b->pieces[at + n].iov_len == size; n++)
            if ((uint64_t)n >= gso || size * (size_t)(n + 1) > GSO_BYTES_MAX)
                break;
        make_message(b, messages, at, n);
    }
    return messages;
}

/* Sends `count` packets; a refused message (no route just now, no buffer) is counted, not repeated. */
static void send_batch(int fd, struct batch *b, int count, uint64_t gso, uint64_t *refused)
{
    int messages = group_batch(b, count, gso);
    for (int done = 0; done < messages;) {
        int sent = sendmmsg(fd, b->messages + done, (unsigned)(messages - done), 0);
        if (sent <= 0) {
            *refused += b->messages[done].msg_hdr.msg_iovlen;
            sent = 1;
        }
        done += sent;
    }
}

static int udp_send(const struct options *o)
{
    int fd = open_socket(o->to, o->port, SOCK_DGRAM, false);
    struct batch *b = new_batch();
    uint64_t total = (uint64_t)(o->pps * o->seconds), number = 0, refused = 0, bytes = 0;
    uint64_t start_ns = clock_ns(), end_ns = start_ns + (uint64_t)(o->seconds * 1e9), now_ns = start_ns;
    if (total > NUMBERS_MAX)
        total = NUMBERS_MAX;
    while (number < total && now_ns < end_ns) {
        uint64_t due = (uint64_t)((double)(now_ns - start_ns) * 1e-9 * o->pps) + 1;
        int count = 0;
        for (; count < BATCH && number < due && number < total; count++, number++) {
            uint64_t spread = o->size_max - o->size_min + 1;
            uint32_t len = (uint32_t)(o->size_min + word_at(o->seed, number, 0) % spread);
            fill(b->bytes[count], len, o->seed, number, now_ns);
            b->pieces[count].iov_len = len;
            bytes += len;
        }
        send_batch(fd, b, count, o->gso, &refused);
        if (number >= due)
            pause_until(start_ns + (uint64_t)((double)number / o->pps * 1e9));
        now_ns = clock_ns();
    }
    printf("{\"sent_packets\":%" PRIu64 ",\"sent_bytes\":%" PRIu64 ",\"refused_packets\":%" PRIu64
           ",\"start_ns\":%" PRIu64 ",\"seconds\":%.6f}\n", number, bytes, refused, start_ns,
           (double)(now_ns - start_ns) * 1e-9);
    free(b);
    return 0;
}

/* --- UDP sink -------------------------------------------------------------------------------- */

struct gap { uint64_t from_ns, to_ns; };

struct sink {
    uint64_t received, bytes, duplicates, wrong, late, highest, first_ns, last_ns;
    uint64_t delays[DELAY_BINS];
    uint8_t seen[NUMBERS_MAX / 8];
    struct gap gaps[GAPS_MAX];
    int gap_count;
};

/* Bins of 1/32 octave, so a percentile is right to about 3 %. */
static unsigned delay_bin(uint64_t delay_ns)
{
    unsigned exponent = 63 - (unsigned)__builtin_clzll(delay_ns | 32);
    return (exponent - 5) * 32 + (unsigned)(delay_ns >> (exponent - 5) & 31);
}

static double delay_of_bin(unsigned bin)
{
    return (double)((uint64_t)(32 + bin % 32) << (bin / 32)) * 1e-9;
}

static double delay_quantile(const struct sink *s, double share)
{
    uint64_t count = 0, wanted = (uint64_t)((double)s->received * share);
    for (unsigned bin = 0; bin < DELAY_BINS; bin++)
        if ((count += s->delays[bin]) > wanted)
            return delay_of_bin(bin);
    return 0;
}

static void take(struct sink *s, const uint8_t *bytes, uint32_t len, uint64_t seed, uint64_t now_ns)
{
    struct header h;
    if (!content_good(bytes, len, seed, &h)) {
        s->wrong++;
        return;
    }
    if (s->seen[h.number / 8] & 1 << h.number % 8) {
        s->duplicates++;
        return;
    }
    s->seen[h.number / 8] |= (uint8_t)(1 << h.number % 8);
    if (s->received && now_ns - s->last_ns > GAP_NS && s->gap_count < GAPS_MAX)
        s->gaps[s->gap_count++] = (struct gap){s->last_ns, now_ns};
    if (!s->received)
        s->first_ns = now_ns;
    if (s->received && h.number < s->highest)
        s->late++;
    else
        s->highest = h.number;
    s->last_ns = now_ns;
    s->received++;
    s->bytes += len;
    s->delays[delay_bin(now_ns > h.sent_ns ? now_ns - h.sent_ns : 0)]++;
}

static void print_sink(const struct sink *s)
{
    printf("{\"received_packets\":%" PRIu64 ",\"received_bytes\":%" PRIu64 ",\"duplicate_packets\":%" PRIu64
           ",\"wrong_packets\":%" PRIu64 ",\"late_packets\":%" PRIu64, s->received, s->bytes, s->duplicates,
           s->wrong, s->late);
    printf(",\"first_ns\":%" PRIu64 ",\"last_ns\":%" PRIu64 ",\"delay_p50_seconds\":%.9f"
           ",\"delay_p99_seconds\":%.9f,\"gaps_ns\":[", s->first_ns, s->last_ns, delay_quantile(s, 0.5),
           delay_quantile(s, 0.99));
    for (int i = 0; i < s->gap_count; i++)
        printf("%s[%" PRIu64 ",%" PRIu64 "]", i ? "," : "", s->gaps[i].from_ns, s->gaps[i].to_ns);
    puts("]}");
}

static int udp_sink(const struct options *o)
{
    int fd = open_socket(o->bind, o->port, SOCK_DGRAM, true);
    struct batch *b = new_batch();
    struct sink *s = calloc(1, sizeof *s);
    struct pollfd fds[2] = {{fd, POLLIN, 0}, {0, POLLIN, 0}};
    char byte;
    if (!s)
        die("memory");
    say_ready();
    while (poll(fds, 2, -1) >= 0) {
        int count = fds[0].revents ? recvmmsg(fd, b->messages, BATCH, MSG_DONTWAIT, NULL) : 0;
        uint64_t now_ns = clock_ns();
        for (int i = 0; i < count; i++)
            take(s, b->bytes[i], b->messages[i].msg_len, o->seed, now_ns);
        if (count <= 0 && fds[1].revents && read(0, &byte, 1) <= 0)
            break;
    }
    print_sink(s);
    free(s);
    free(b);
    return 0;
}

/* --- TCP ------------------------------------------------------------------------------------- */

/* The stream's bytes [offset, offset + len); offset is a multiple of 8. */
static void fill_stream(uint8_t *out, size_t len, uint64_t seed, uint64_t offset)
{
    for (size_t at = 0; at < len; at += 8) {
        uint64_t word = word_at(seed, 0, offset + at);
        memcpy(out + at, &word, 8);
    }
}

static int tcp_send(const struct options *o)
{
    static uint8_t chunk[CHUNK];
    int fd = open_socket(o->to, o->port, SOCK_STREAM, false);
    struct timeval timeout = {TCP_TIMEOUT_S, 0};
    uint64_t sent = 0, start_ns = clock_ns(), end_ns = start_ns + (uint64_t)(o->seconds * 1e9);
    if (o->congestion &&
        setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, o->congestion, (socklen_t)strlen(o->congestion)))
        die("congestion control");
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    while (o->bytes ? sent < o->bytes : clock_ns() < end_ns) {
        size_t len = o->bytes && o->bytes - sent < CHUNK ? o->bytes - sent : CHUNK, done = 0;
        fill_stream(chunk, len, o->seed, sent);
        while (done < len) {
            ssize_t count = send(fd, chunk + done, len - done, MSG_NOSIGNAL);
            if (count <= 0)
                die("send");
            done += (size_t)count;
        }
        sent += len;
    }
    shutdown(fd, SHUT_WR);
    char byte;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    bool confirmed = read(fd, &byte, 1) == 0;    /* the sink closes after the last byte */
    printf("{\"sent_bytes\":%" PRIu64 ",\"confirmed\":%s,\"seconds\":%.6f}\n", sent,
           confirmed ? "true" : "false", (double)(clock_ns() - start_ns) * 1e-9);
    return !confirmed;
}

static uint64_t count_wrong(const uint8_t *got, const uint8_t *want, size_t len)
{
    uint64_t wrong = 0;
    if (memcmp(got, want, len))
        for (size_t i = 0; i < len; i++)
            wrong += got[i] != want[i];
    return wrong;
}

static int tcp_sink(const struct options *o)
{
    static uint8_t got[CHUNK], want[CHUNK + 16];
    int listener = open_socket(o->bind, o->port, SOCK_STREAM, true);
    struct timeval timeout = {TCP_TIMEOUT_S, 0};
    if (listen(listener, 1))
        die("listen");
    say_ready();
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        die("accept");
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    uint64_t offset = 0, wrong = 0, start_ns = clock_ns(), last_ns = start_ns;
    ssize_t count;
    while ((count = read(fd, got, CHUNK)) > 0) {
        uint64_t lead = offset % 8;
        fill_stream(want, (size_t)count + lead, o->seed, offset - lead);
        wrong += count_wrong(got, want + lead, (size_t)count);
        offset += (uint64_t)count;
        last_ns = clock_ns();
    }
    printf("{\"bytes_compared\":%" PRIu64 ",\"bytes_wrong\":%" PRIu64 ",\"ended\":%s,\"seconds\":%.6f}\n",
           offset, wrong, count == 0 ? "true" : "false", (double)(last_ns - start_ns) * 1e-9);
    return 0;
}

/* --- command line ---------------------------------------------------------------------------- */

static bool take_option(struct options *o, const char *name, const char *text)
{
    char *end = "";
    if (!strcmp(name, "bind")) o->bind = text;
    else if (!strcmp(name, "to")) o->to = text;
    else if (!strcmp(name, "port")) o->port = text;
    else if (!strcmp(name, "congestion")) o->congestion = text;
    else if (!strcmp(name, "seed")) o->seed = strtoull(text, &end, 10);
    else if (!strcmp(name, "bytes")) o->bytes = strtoull(text, &end, 10);
    else if (!strcmp(name, "gso")) o->gso = strtoull(text, &end, 10);
    else if (!strcmp(name, "pps")) o->pps = strtod(text, &end);
    else if (!strcmp(name, "seconds")) o->seconds = strtod(text, &end);
    else {
        o->size_min = o->size_max = strtoull(text, &end, 10);
        if (*end == '-')
            o->size_max = strtoull(end + 1, &end, 10);
    }
    return !*end;
}

int main(int argc, char **argv)
{
    static const struct { const char *name; int (*run)(const struct options *); } modes[] =
        {{"udp-send", udp_send}, {"udp-sink", udp_sink}, {"tcp-send", tcp_send}, {"tcp-sink", tcp_sink}};
    static const struct option table[] = {
        {"bind", 1, 0, 0}, {"to", 1, 0, 0}, {"port", 1, 0, 0}, {"congestion", 1, 0, 0}, {"seed", 1, 0, 0},
        {"bytes", 1, 0, 0}, {"pps", 1, 0, 0}, {"seconds", 1, 0, 0}, {"size", 1, 0, 0}, {"gso", 1, 0, 0},
        {0, 0, 0, 0},
    };
    struct options o = {.seed = 1, .size_min = 200, .size_max = 200, .gso = 1, .pps = 1000, .seconds = 1};
    int code, index;
    while ((code = getopt_long(argc, argv, "", table, &index)) == 0)
        if (!take_option(&o, table[index].name, optarg)) {
            fprintf(stderr, "traffic: bad --%s %s\n", table[index].name, optarg);
            return 2;
        }
    bool sizes_good = o.size_min >= HEADER && o.size_min <= o.size_max && o.size_max <= DATAGRAM_MAX;
    if (code != '?' && sizes_good && o.pps > 0)
        for (size_t i = 0; optind == argc - 1 && i < sizeof modes / sizeof *modes; i++)
            if (!strcmp(argv[optind], modes[i].name)) {
                prctl(PR_SET_TIMERSLACK, 1);
                return modes[i].run(&o);
            }
    fputs("usage: traffic udp-send|udp-sink|tcp-send|tcp-sink [options]; see traffic.c\n", stderr);
    return 2;
}
