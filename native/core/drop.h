/* drop.h - every way a packet can end other than sent or delivered. One list: the enum, the name in
 * metrics and the help text cannot drift apart. To add one: here, and the table in docs/metrics.md
 * follows by `./dev lint`. */
#ifndef OXI_DROP_H
#define OXI_DROP_H
#include "limits.h"

#define OXI_DROPS(X)                                                                               \
    X(SHORT, "short", "fewer bytes than a data packet's header and tag")                           \
    X(OVERSIZED, "oversized", "larger than the largest datagram we take")                          \
    X(NOT_OURS, "not-ours", "neither QUIC nor a data packet by its first byte")                    \
    X(BAD_TYPE, "bad-type", "data packet of an unknown type")                                      \
    X(NO_SESSION, "no-session", "no session: unknown receiver index, or peer without keys")        \
    X(NO_KEY, "no-key", "key phase of an epoch we have no key for")                                \
    X(TOO_OLD, "too-old", "packet number below the replay window")                                 \
    X(REPLAYED, "replayed", "packet number seen before")                                           \
    X(FORGED, "forged", "authentication failed: corrupted, wrong key or forged")                   \
    X(CONTROL_FULL, "control-full", "control plane behind: QUIC datagram ring full or too large")  \
    X(BAD_FRAME, "bad-frame", "unknown or truncated frame in an authentic packet")                 \
    X(BAD_ACK, "bad-ack", "acknowledgement of what was never sent, or contradicting itself")       \
    X(BAD_REPAIR, "bad-repair", "repetition or repair symbol of what can not have been sent")          \
    X(BAD_HEADER, "bad-header", "compressed header that no compressor writes, or one too long")       \
    X(NO_CONTEXT, "no-context", "compressed header that refers to what is not known here (any more)") \
    X(BAD_LZ, "bad-lz", "compressed payload that is truncated or corrupt, or of an unknown dictionary") \
    X(LZ_TOO_LONG, "lz-too-long", "compressed payload that would become larger than a packet")        \
    X(LZ_REFUSED, "lz-refused", "compressed payload, though we said that we take none")               \
    X(BAD_IP, "bad-ip", "not a whole IPv4 or IPv6 packet")                                         \
    X(BAD_SUPER, "bad-super", "the TUN's offload header contradicts the packet behind it")         \
    X(CE_NOT_ECT, "ce-not-ect", "marked congested outside, the inner packet bears no mark (RFC 6040)") \
    X(WRONG_SOURCE, "wrong-source", "inner source address not in the peer's allowed_ips")          \
    X(NO_ROUTE, "no-route", "inner destination in nobody's allowed_ips")                           \
    X(WORKER_FULL, "worker-full", "the worker that sends to this peer is behind: its ring is full")   \
    X(NO_ADDRESS, "no-address", "peer's address not known")                                        \
    X(TOO_BIG, "too-big", "inner packet larger than the path carries")                             \
    X(KEY_WORN, "key-worn", "send key past its packet or age limit; waiting for a rekey")          \
    X(CARRIER_FULL, "carrier-full", "QUIC carrier behind: ring full or packet too large")          \
    X(SEND_FAILED, "send-failed", "the kernel refused the datagram (no route, firewall, size)")    \
    X(TUN_WRITE, "tun-write", "the TUN device refused the packet")                                 \
    X(POOL_EMPTY, "pool-empty", "no free packet buffer")                                           \
    X(STOPPED, "stopped", "held when the peer was removed or the plane stopped")

typedef enum {
#define X(id, name, help) DROP_##id,
    OXI_DROPS(X)
#undef X
        DROP_COUNT
} drop_reason;

static_assert((int)DROP_COUNT <= (int)OXI_DROPS_MAX, "oxi_stats has room for every reason");
#endif
