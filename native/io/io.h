/* io.h - the kernel side: TUN, UDP sockets, one thread with one loop. No decisions about packets. */
#ifndef OXI_IO_H
#define OXI_IO_H
#include <netinet/in.h>
#include <semaphore.h>
#include <pthread.h>
#include <sys/socket.h>

#include "../core/dp.h"

enum {
    /* Ancillary data of one message: packet info 40, ECN byte 24, overflow count 24, train size 24. */
    CMSG_ROOM = 128,
    /* One read of a socket: so many messages, each a datagram or a train of at most 64 KB. */
    RX_MESSAGES = 32,
    RX_SLAB_BYTES = 65536,
    /* One write to a socket: so many messages made of so many packets. */
    TX_MESSAGES = 64,
    TX_PKTS = 512,
    /* struct virtio_net_hdr, without the count of buffers that only virtio itself has */
    TUN_HEADER_BYTES = 10
};

typedef union io_addr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} io_addr;

/* Everything recvmmsg needs, made once. */
typedef struct io_rx {
    struct mmsghdr msgs[RX_MESSAGES];
    struct iovec iov[RX_MESSAGES];
    io_addr names[RX_MESSAGES];
    _Alignas(struct cmsghdr) uint8_t cmsgs[RX_MESSAGES][CMSG_ROOM];
    uint8_t slabs[RX_MESSAGES][RX_SLAB_BYTES];
} io_rx;

/* Everything sendmmsg needs: message i is the train of counts[i] packets at the head of the outbox. */
typedef struct io_tx {
    struct mmsghdr msgs[TX_MESSAGES];
    struct iovec iov[TX_PKTS];
    io_addr names[TX_MESSAGES];
    _Alignas(struct cmsghdr) uint8_t cmsgs[TX_MESSAGES][CMSG_ROOM];
    uint32_t counts[TX_MESSAGES];
} io_tx;

typedef struct io_call {
    void (*run)(void *arg);
    void *arg;
} io_call;

typedef struct io {
    dp *core;
    int tun_fd;
    int notify_fd;
    uint32_t tun_has_header;
    uint32_t sock_count;
    int sock_fds[OXI_SOCKETS_MAX];
    int worker_fds[OXI_WORKERS_MAX]; /* wake_fd of each worker */
    bool is_running;
    pthread_t thread;
    pthread_mutex_t callers; /* one Python call at a time */
    sem_t done;
    io_call call;            /* run == NULL: none waits */
    int wake_fd;
    bool stop;
    uint64_t tun_retry_ns;   /* the device refused to be read: not before this */
    uint32_t blocked_socks;  /* bit per socket: send would block */
    uint32_t tx_singles;     /* packets at the head of the outbox that must go one by one */
    uint32_t refused_supers; /* in a row */
    uint32_t turns;
    uint64_t sock_overflows[OXI_SOCKETS_MAX];
    io_rx rx;
    io_tx tx;
    uint8_t tun_buf[OXI_SUPER_MAX + TUN_HEADER_BYTES];
} io;

/* The shell of one worker, without its thread. */
int io_new(dp *d, const oxi_io_conf *conf, uint32_t worker, io **out, int *errno_out);
/* Start the threads of all workers; 0, or the error with which one could not be started. */
int io_start(io **ios, uint32_t count);
void io_join(io *o); /* ends the thread, if it runs */
void io_free(io *o); /* after the threads of all workers; what it still holds is counted as dropped */
/* Run f(arg) on the thread that owns the plane and wait for it. The thread never waits for us. */
void io_run(io *o, void (*f)(void *), void *arg);

/* What the shell does, where its time is taken: the index into times[OXI_TIMES_SHELL]. */
enum { STEP_TUN_READ, STEP_SPLIT, STEP_UDP_SEND, STEP_UDP_READ, STEP_TUN_WRITE, STEP_COUNT };
const char *io_step_name(uint32_t i); /* NULL past the last */

uint64_t io_clock_ns(void);
bool io_cpu_has_aes(void);

/* tun.c: a bounded number of packets. */
void tun_read(io *o, uint64_t now_ns);
void tun_write(io *o);

/* udp.c */
void udp_read(io *o, uint32_t sock, uint64_t now_ns);
void udp_flush(io *o);
#endif
