/* loop.c - the thread that owns the plane: wait, read, run the core, write, and do what Python asks.
 *
 * It never waits for Python. A call from there lies in `call` with wake_fd written; the thread runs
 * it between two batches and posts `done`. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "io.h"

/* The loop turns at least this often, so that the watchdog sees it live. */
#define HEARTBEAT_NS NS_PER_S

/* One turn of so many is timed, stage by stage: the clock costs as much as a small stage. */
enum { TIMED_TURNS = 64 };

enum { FD_WAKE = 0, FD_TUN = 1, FD_SOCKS = 2, FDS_MAX = FD_SOCKS + OXI_SOCKETS_MAX };

static void eventfd_signal(int fd)
{
    uint64_t one = 1;
    ssize_t n = write(fd, &one, sizeof one);
    (void)n; /* EAGAIN: the counter is full, so the reader is woken anyway */
}

static void calls_run(io *o)
{
    uint64_t count;
    ssize_t n = read(o->wake_fd, &count, sizeof count);
    (void)n;
    void (*run)(void *) = __atomic_load_n(&o->call.run, __ATOMIC_ACQUIRE);
    if (!run)
        return;
    run(o->call.arg);
    __atomic_store_n(&o->call.run, NULL, __ATOMIC_RELEASE);
    sem_post(&o->done);
}

void io_run(io *o, void (*f)(void *), void *arg)
{
    pthread_mutex_lock(&o->callers);
    o->call.arg = arg;
    __atomic_store_n(&o->call.run, f, __ATOMIC_RELEASE);
    eventfd_signal(o->wake_fd);
    while (sem_wait(&o->done) != 0)
        OXI_ASSERT(errno == EINTR);
    pthread_mutex_unlock(&o->callers);
}

/* Packets stay in the outbox while a socket is full, so nothing more is taken from the TUN then. */
static uint32_t fds_fill(io *o, struct pollfd *fds, uint64_t now_ns)
{
    fds[FD_WAKE] = (struct pollfd){ .fd = o->wake_fd, .events = POLLIN };
    bool reads_tun = o->core->outbox.count == 0 && now_ns >= o->tun_retry_ns;
    fds[FD_TUN] = (struct pollfd){ .fd = reads_tun ? o->tun_fd : -1, .events = POLLIN };
    for (uint32_t i = 0; i < o->sock_count; i++) {
        short events = (short)(POLLIN | ((o->blocked_socks >> i) & 1 ? POLLOUT : 0));
        fds[FD_SOCKS + i] = (struct pollfd){ .fd = o->sock_fds[i], .events = events };
    }
    return FD_SOCKS + o->sock_count;
}

static void wait_for_work(io *o, struct pollfd *fds, uint32_t count, uint64_t now_ns)
{
    uint64_t until = min_u64(o->core->wake_ns, now_ns + HEARTBEAT_NS);
    if (o->tun_retry_ns > now_ns)
        until = min_u64(until, o->tun_retry_ns);
    uint64_t left = until > now_ns ? until - now_ns : 0;
    struct timespec t = { .tv_sec = (time_t)(left / NS_PER_S), .tv_nsec = (long)(left % NS_PER_S) };
    if (ppoll(fds, count, &t, NULL) < 0)
        for (uint32_t i = 0; i < count; i++)
            fds[i].revents = 0;
}

const char *io_step_name(uint32_t i)
{
    static const char *const names[STEP_COUNT] = { [STEP_TUN_READ] = "tun-read",
                                                   [STEP_SPLIT] = "split",
                                                   [STEP_UDP_SEND] = "udp-send",
                                                   [STEP_UDP_READ] = "udp-read",
                                                   [STEP_TUN_WRITE] = "tun-write" };
    return i < STEP_COUNT ? names[i] : NULL;
}

/* What other workers left for us; as much as one batch each turn, so that our own queue is not starved. */
static void handovers(io *o, uint64_t now_ns)
{
    dp *d = o->core;
    if (d->handover.workers == 1)
        return;
    if (d->pool.free_count < POOL_RESERVE)
        udp_flush(o);
    /* Else a socket is full: it wakes us, and until then the packets wait in the ring. */
    if (d->pool.free_count >= POOL_RESERVE && handover_take(d, now_ns))
        eventfd_signal(o->wake_fd); /* there may be more */
}

/* Wake those for whom we have left something. */
static void handovers_tell(io *o)
{
    handover *h = &o->core->handover;
    for (uint32_t w = 0; h->pending != 0; w++, h->pending >>= 1)
        if (h->pending & 1)
            eventfd_signal(o->worker_fds[w]);
}

static void turn(io *o)
{
    struct pollfd fds[FDS_MAX];
    o->core->timing_clock = o->turns++ % TIMED_TURNS == 0 ? io_clock_ns : NULL;
    uint64_t now_ns = io_clock_ns();
    uint32_t count = fds_fill(o, fds, now_ns);
    wait_for_work(o, fds, count, now_ns);
    now_ns = io_clock_ns();
    COUNT_ADD(o->core->stats.heartbeats, 1);
    uint64_t written = o->core->stats.tun_writes;
    if (fds[FD_WAKE].revents)
        calls_run(o);
    o->blocked_socks = 0;
    udp_flush(o); /* what a call or an earlier turn left */
    tun_write(o);
    for (uint32_t i = 0; i < o->sock_count; i++)
        if (fds[FD_SOCKS + i].revents & (POLLIN | POLLERR))
            udp_read(o, i, now_ns);
    handovers(o, now_ns);
    /* What we write to the TUN the kernel often answers on the spot: that saves a look at the descriptors. */
    bool is_answered = o->core->stats.tun_writes != written && fds[FD_TUN].fd >= 0;
    if (fds[FD_TUN].revents || is_answered)
        tun_read(o, now_ns);
    tun_write(o); /* what was answered at once */
    handovers_tell(o);
    dp_tick(o->core, now_ns);
    tun_write(o); /* what waited in `order` until now */
    udp_flush(o);
    if (o->core->wants_notify) {
        o->core->wants_notify = false;
        eventfd_signal(o->notify_fd);
    }
}

static void *thread_main(void *arg)
{
    io *o = arg;
    pthread_setname_np(pthread_self(), "oxi-plane");
    while (!__atomic_load_n(&o->stop, __ATOMIC_ACQUIRE))
        turn(o);
    return NULL;
}

/* Signals belong to Python's main thread. */
static int thread_start(io *o)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int err = pthread_create(&o->thread, NULL, thread_main, o);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    o->is_running = err == 0;
    return err;
}

int io_new(dp *d, const oxi_io_conf *conf, uint32_t worker, io **out, int *errno_out)
{
    io *o = calloc(1, sizeof *o);
    if (!o)
        return OXI_E_NOMEM;
    o->core = d;
    o->tun_fd = conf->tun_fds[worker];
    o->notify_fd = conf->notify_fd;
    o->tun_has_header = conf->tun_has_header;
    o->sock_count = conf->sock_count;
    memcpy(o->sock_fds, conf->sock_fds + worker * OXI_SOCKETS_MAX, sizeof o->sock_fds);
    o->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    *errno_out = o->wake_fd < 0 ? errno : 0;
    if (o->wake_fd < 0) {
        free(o);
        return OXI_E_SYS;
    }
    pthread_mutex_init(&o->callers, NULL);
    sem_init(&o->done, 0, 0);
    COUNT_ADD(d->stats.memory_bytes, sizeof *o);
    *out = o;
    return OXI_OK;
}

int io_start(io **ios, uint32_t count)
{
    int err = 0;
    for (uint32_t w = 0; w < count; w++)
        for (uint32_t v = 0; v < count; v++)
            ios[w]->worker_fds[v] = ios[v]->wake_fd;
    for (uint32_t w = 0; w < count && err == 0; w++)
        err = thread_start(ios[w]);
    return err;
}

void io_join(io *o)
{
    if (!o->is_running)
        return;
    __atomic_store_n(&o->stop, true, __ATOMIC_RELEASE);
    eventfd_signal(o->wake_fd);
    pthread_join(o->thread, NULL);
    o->is_running = false;
}

void io_free(io *o)
{
    dp *d = o->core;
    pkt *p;
    d->timing_clock = NULL;
    handover_drain(d);
    dp_held_end(d);
    while ((p = fifo_take(&d->outbox)))
        drop_out(d, p, DROP_STOPPED);
    tun_write(o);
    COUNT_ADD(d->stats.memory_bytes, -(uint64_t)sizeof *o);
    close(o->wake_fd);
    sem_destroy(&o->done);
    pthread_mutex_destroy(&o->callers);
    free(o);
}
