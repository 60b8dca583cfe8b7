/* io.h - the kernel side: TUN, UDP sockets, one thread with one loop. No decisions about packets. */
#ifndef OXI_IO_H
#define OXI_IO_H
#include <netinet/in.h>
#include <semaphore.h>
#include <pthread.h>
#include <sys/socket.h>

#include "../core/dp.h"

/* Ancillary data of one datagram: packet info, ECN byte, receive-queue overflow count. */
enum { CMSG_ROOM = 128 };

typedef union io_addr {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
} io_addr;

/* Everything sendmmsg and recvmmsg need, made once. */
typedef struct io_vectors {
    struct mmsghdr msgs[OXI_BATCH_MAX];
    struct iovec iov[OXI_BATCH_MAX];
    io_addr names[OXI_BATCH_MAX];
    _Alignas(struct cmsghdr) uint8_t cmsgs[OXI_BATCH_MAX][CMSG_ROOM];
} io_vectors;

typedef struct io_call {
    void (*run)(void *arg);
    void *arg;
} io_call;

typedef struct io {
    dp *core;
    oxi_io_conf conf;
    pthread_t thread;
    pthread_mutex_t callers; /* one Python call at a time */
    sem_t done;
    io_call call;            /* run == NULL: none waits */
    int wake_fd;
    bool stop;
    uint64_t tun_retry_ns;   /* the device refused to be read: not before this */
    uint32_t blocked_socks;  /* bit per socket: send would block */
    uint64_t sock_overflows[OXI_SOCKETS_MAX];
    io_vectors rx;
    io_vectors tx;
    pkt *rx_pkts[OXI_BATCH_MAX]; /* buffers waiting for recvmmsg */
} io;

int io_start(dp *d, const oxi_io_conf *conf, io **out, int *errno_out);
void io_stop(io *o);
/* Run f(arg) on the thread that owns the plane and wait for it. The thread never waits for us. */
void io_run(io *o, void (*f)(void *), void *arg);

uint64_t io_clock_ns(void);
bool io_cpu_has_aes(void);

/* tun.c: one batch. Returns whether there may be more. */
bool tun_read(io *o, uint64_t now_ns);
void tun_write(io *o);

/* udp.c */
bool udp_read(io *o, uint32_t sock, uint64_t now_ns);
void udp_flush(io *o);
#endif
