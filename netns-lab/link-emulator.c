/* link-emulator.c - one emulated link between two TUN devices, each in its own network namespace.
 *
 *   namespace a: [TUN dev a] <-> a to b, b to a: see link.h <-> [TUN dev b] :namespace b
 *
 * Prints "ready" once both devices exist (their addresses are the caller's business).  SIGUSR1
 * writes the counters as JSON, and so does the exit.  With --control it obeys lines on its standard
 * input and exits at the end of it, so it never outlives the one that started it.
 * With --simulate it needs no root: N packets in virtual time. */
#include "link.h"
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { READ_BATCH = 64, COMMAND_MAX = 4096 };

struct options {
    const char *netns[2], *device[2], *report_path;
    bool control, simulate;
    struct simulation sim;
};

struct emulator {
    struct link link;
    int tun[2];
    const char *report_path;
    bool control;
    char command[COMMAND_MAX];
    size_t command_len;
    bool done;
};

static volatile sig_atomic_t stop_wanted, report_wanted;

static void on_signal(int number)
{
    if (number == SIGUSR1)
        report_wanted = 1;
    else
        stop_wanted = 1;
}

static uint64_t clock_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void die(const char *what, const char *name)
{
    fprintf(stderr, "link-emulator: %s %s: %s\n", what, name, strerror(errno));
    exit(1);
}

/* Opens a TUN device in a namespace: a name under /run/netns, a path, or "" for ours. */
static int open_tun(const char *netns, const char *device)
{
    char path[256];
    int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (home < 0)
        die("can not open", "/proc/self/ns/net");
    if (*netns) {
        snprintf(path, sizeof path, strchr(netns, '/') ? "%s" : "/run/netns/%s", netns);
        int there = open(path, O_RDONLY | O_CLOEXEC);
        if (there < 0 || setns(there, CLONE_NEWNET) < 0)
            die("can not enter network namespace", netns);
        close(there);
    }
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI};
    if (strlen(device) >= sizeof request.ifr_name) {
        errno = ENAMETOOLONG;
        die("device", device);
    }
    memcpy(request.ifr_name, device, strlen(device));
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        die("can not open", "/dev/net/tun");
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        die("can not make TUN device", device);
    if (*netns && setns(home, CLONE_NEWNET) < 0)
        die("can not return from network namespace", netns);
    close(home);
    return fd;
}

static bool write_packet(void *context, int side, const struct held *packet)
{
    struct emulator *e = context;
    return write(e->tun[side], packet->bytes, packet->len) == (ssize_t)packet->len;
}

/* Takes what waits at one side, a batch at most.  True: there may be more. */
static bool read_side(struct emulator *e, int side)
{
    static uint8_t packet[PACKET_MAX];
    for (int i = 0; i < READ_BATCH; i++) {
        ssize_t len = read(e->tun[side], packet, sizeof packet);
        if (len <= 0)
            return false;
        link_arrive(&e->link, side == 0 ? DIR_AB : DIR_BA, clock_ns(), packet, (uint32_t)len);
    }
    return true;
}

static void report(struct emulator *e)
{
    FILE *out = e->report_path && strcmp(e->report_path, "-") ? fopen(e->report_path, "w") : stdout;
    if (!out) {
        fprintf(stderr, "link-emulator: can not write %s: %s\n", e->report_path, strerror(errno));
        return;
    }
    report_json(out, &e->link, clock_ns(), "");
    if (out != stdout)
        fclose(out);
}

/* Applies words to one direction or both.  `words` is used up. */
static const char *configure(struct link *link, bool ab, bool ba, char *words)
{
    char copy[COMMAND_MAX];
    const char *error = NULL;
    snprintf(copy, sizeof copy, "%s", words);
    if (ab)
        error = conf_apply(&link->dirs[DIR_AB].conf, copy);
    if (ba && !error)
        error = conf_apply(&link->dirs[DIR_BA].conf, words);
    return error;
}

/* One command; its answer is one line: "ok", "error: ..." or the report. */
static void obey(struct emulator *e, char *line)
{
    char *words = line, *verb = strsep(&words, " "), nothing[1] = "";
    const char *error = NULL;
    bool ab = !strcmp(verb, "ab"), ba = !strcmp(verb, "ba"), both = !strcmp(verb, "both");
    if (!strcmp(verb, "report")) {
        report_json(stdout, &e->link, clock_ns(), "");
        return;
    }
    if (ab || ba || both)
        error = configure(&e->link, ab || both, ba || both, words ? words : nothing);
    else if (!strcmp(verb, "heal"))
        link_heal(&e->link);
    else if (!strcmp(verb, "origin"))
        link_origin(&e->link, clock_ns());
    else if (!strcmp(verb, "quit"))
        e->done = true;
    else
        error = "no such command";
    if (error)
        printf("error: %s\n", error);
    else
        puts("ok");
    fflush(stdout);
}

static void read_commands(struct emulator *e)
{
    ssize_t len = read(0, e->command + e->command_len, COMMAND_MAX - 1 - e->command_len);
    if (len <= 0) {
        e->done = len == 0 || errno != EAGAIN;
        return;
    }
    e->command_len += (size_t)len;
    e->command[e->command_len] = 0;
    char *start = e->command, *end;
    while ((end = strchr(start, '\n'))) {
        *end = 0;
        obey(e, start);
        start = end + 1;
    }
    e->command_len = strlen(start);
    memmove(e->command, start, e->command_len + 1);
    if (e->command_len == COMMAND_MAX - 1)
        e->done = true;
}

/* Waits until a packet, a command, a signal or the next departure. */
static void wait_for_work(struct emulator *e, struct pollfd fds[3], bool busy, const sigset_t *mask)
{
    uint64_t next_ns = link_next_ns(&e->link), now_ns = clock_ns(), span_ns = 0;
    if (!busy && next_ns > now_ns)
        span_ns = next_ns - now_ns;
    struct timespec span = {(time_t)(span_ns / 1000000000u), (long)(span_ns % 1000000000u)};
    if (ppoll(fds, e->control ? 3 : 2, !busy && next_ns == UINT64_MAX ? NULL : &span, mask) < 0)
        for (int i = 0; i < 3; i++)
            fds[i].revents = 0;
}

static void run(struct emulator *e)
{
    sigset_t blocked, before;
    struct sigaction action = {.sa_handler = on_signal};
    const int numbers[] = {SIGUSR1, SIGTERM, SIGINT, SIGHUP};
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        sigaction(numbers[i], &action, NULL);
        sigaddset(&blocked, numbers[i]);
    }
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    struct pollfd fds[3] = {{e->tun[0], POLLIN, 0}, {e->tun[1], POLLIN, 0}, {0, POLLIN, 0}};
    bool busy = false;
    while (!e->done && !stop_wanted) {
        wait_for_work(e, fds, busy, &before);
        busy = false;
        for (int side = 0; side < 2; side++)
            if (fds[side].revents)
                busy |= read_side(e, side);
        link_emit(&e->link, clock_ns());
        if (e->control && fds[2].revents)
            read_commands(e);
        if (report_wanted) {
            report_wanted = 0;
            report(e);
        }
    }
    report(e);
}

static void usage(void)
{
    puts("usage: link-emulator --a-netns NS --a-dev NAME --b-netns NS --b-dev NAME [options]\n"
         "       link-emulator --simulate PACKETS [options]\n"
         "  --ab WORDS, --ba WORDS, --both WORDS   what a direction does (words below, separated by spaces)\n"
         "  --seed N          same seed, same packets lost (default 1)\n"
         "  --report FILE     where SIGUSR1 and the exit write the counters (default: standard output)\n"
         "  --control         obey lines on standard input:\n"
         "                    ab WORDS, ba WORDS, both WORDS, heal, origin, report, quit\n"
         "in a simulation:\n"
         "  --size BYTES (200)  --gap TIME (1ms)  --sim-dirs ab|ba|both (ab)  --first-byte HEX (00)\n"
         "  --port PORT (443)  --ipv6  --ect  --dont-fragment  --list: every delivered packet\n"
         "words:");
    conf_help();
}

static void wrong_usage(const char *message)
{
    fprintf(stderr, "link-emulator: %s (see --help)\n", message);
    exit(2);
}

enum option_code { O_A_NETNS, O_B_NETNS, O_A_DEV, O_B_DEV, O_AB, O_BA, O_BOTH, O_SEED, O_REPORT, O_CONTROL,
                   O_SIMULATE, O_SIZE, O_GAP, O_SIM_DIRS, O_IPV6, O_ECT, O_DF, O_FIRST_BYTE, O_PORT,
                   O_LIST, O_HELP };

static const struct option option_table[] = {
    {"a-netns", 1, 0, O_A_NETNS}, {"b-netns", 1, 0, O_B_NETNS}, {"a-dev", 1, 0, O_A_DEV},
    {"b-dev", 1, 0, O_B_DEV},
    {"ab", 1, 0, O_AB}, {"ba", 1, 0, O_BA}, {"both", 1, 0, O_BOTH}, {"seed", 1, 0, O_SEED},
    {"report", 1, 0, O_REPORT}, {"control", 0, 0, O_CONTROL}, {"simulate", 1, 0, O_SIMULATE},
    {"size", 1, 0, O_SIZE}, {"gap", 1, 0, O_GAP}, {"sim-dirs", 1, 0, O_SIM_DIRS}, {"ipv6", 0, 0, O_IPV6},
    {"ect", 0, 0, O_ECT}, {"dont-fragment", 0, 0, O_DF}, {"first-byte", 1, 0, O_FIRST_BYTE},
    {"port", 1, 0, O_PORT}, {"list", 0, 0, O_LIST}, {"help", 0, 0, O_HELP}, {0, 0, 0, 0},
};

static bool apply_words(struct link *link, bool ab, bool ba, const char *text)
{
    char words[COMMAND_MAX];
    snprintf(words, sizeof words, "%s", text);
    const char *error = strlen(text) < sizeof words ? configure(link, ab, ba, words) : "too long";
    if (error)
        wrong_usage(error);
    return true;
}

static bool take_simulation_option(struct simulation *sim, int code, const char *text)
{
    uint64_t value = 0;
    char *end;
    switch (code) {
    case O_SIMULATE: return parse_u64(text, 100000000, &sim->packets);
    case O_GAP: return parse_duration_ns(text, &sim->gap_ns);
    case O_IPV6: sim->ipv6 = true; return true;
    case O_ECT: sim->ect = true; return true;
    case O_DF: sim->dont_fragment = true; return true;
    case O_LIST: sim->list = true; return true;
    case O_SIM_DIRS:
        sim->dirs = !strcmp(text, "ab") ? 1 : !strcmp(text, "ba") ? 2 : !strcmp(text, "both") ? 3 : 0;
        return sim->dirs != 0;
    case O_FIRST_BYTE:
        sim->first_byte = (uint8_t)strtoul(text, &end, 16);
        return *text && !*end;
    case O_PORT:
    case O_SIZE:
        if (!parse_u64(text, 65535, &value) || (code == O_SIZE && value < 64))
            return false;
        *(code == O_PORT ? &sim->port : &sim->size_bytes) = (uint32_t)value;
        return true;
    default: return false;
    }
}

static bool take_option(struct options *o, struct link *link, int code, const char *text)
{
    switch (code) {
    case O_A_NETNS: o->netns[0] = text; return true;
    case O_B_NETNS: o->netns[1] = text; return true;
    case O_A_DEV: o->device[0] = text; return true;
    case O_B_DEV: o->device[1] = text; return true;
    case O_AB: return apply_words(link, true, false, text);
    case O_BA: return apply_words(link, false, true, text);
    case O_BOTH: return apply_words(link, true, true, text);
    case O_SEED: return parse_u64(text, UINT64_MAX, &link->seed);
    case O_REPORT: o->report_path = text; return true;
    case O_CONTROL: o->control = true; return true;
    case O_HELP: usage(); exit(0);
    case O_SIMULATE: o->simulate = true; /* fall through */
    default: return take_simulation_option(&o->sim, code, text);
    }
}

int main(int argc, char **argv)
{
    static struct emulator e;
    struct options o = {
        .netns = {"", ""},
        .sim = {.gap_ns = 1000000, .size_bytes = 200, .port = 443, .dirs = 1},
    };
    int code;
    link_init(&e.link, 1, clock_ns(), write_packet, &e);
    while ((code = getopt_long(argc, argv, "", option_table, NULL)) != -1) {
        if (code == '?')
            exit(2);
        if (!take_option(&o, &e.link, code, optarg))
            wrong_usage(optarg);
    }
    if (optind < argc)
        wrong_usage(argv[optind]);
    if (o.simulate) {
        int failed = simulate(&e.link, &o.sim);
        link_free(&e.link);
        return failed;
    }
    if (!o.device[0] || !o.device[1])
        wrong_usage("--a-dev and --b-dev are needed");
    e.report_path = o.report_path;
    e.control = o.control;
    for (int side = 0; side < 2; side++)
        e.tun[side] = open_tun(o.netns[side], o.device[side]);
    prctl(PR_SET_TIMERSLACK, 1);             /* wake up when asked, not 50 us later */
    setpriority(PRIO_PROCESS, 0, -15);       /* a link does not wait for the hosts it joins */
    puts("ready");
    fflush(stdout);
    run(&e);
    link_free(&e.link);
    return 0;
}
