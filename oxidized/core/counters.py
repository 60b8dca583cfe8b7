"""The named results of the control plane: everything a remote can cause ends in one of these.

The names are the `reason` labels of the metrics; they are few and fixed, so that nobody outside can
make new ones.
"""

from __future__ import annotations

COUNTERS: dict[str, str] = {
    "carrier-early": "data packets in a QUIC connection that was not authenticated yet",
    "carrier-full": "data packets that found the queue of the QUIC connection full",
    "carrier-no-control": "data packets for the QUIC carrier while there was no control connection",
    "control-silent": "control connections given up because nothing answered",
    "ephemeral-bad": "handshakes with an X25519 key of small order",
    "half-open-evicted": "unauthenticated connections thrown out to make room for newer ones",
    "handshake-limit": "new connections refused by max_handshakes_per_second or the limit per source",
    "handshake-timeout": "connections that were not authenticated in time",
    "hub-unknown": "hubs that presented another static key than configured",
    "index-taken": "handshakes whose receiver index was taken by another one meanwhile",
    "knock-bad": "callers that do not know our public key",
    "message-bad": "control messages that are malformed, too long, unknown or out of order",
    "quic-bad": "QUIC datagrams or connections that are malformed or broke the QUIC library",
    "quic-misused": "connections that used a stream or a frame the protocol does not know",
    "quic-unexpected": "new connections to us though we do not listen",
    "quic-unknown": "QUIC datagrams for no connection of ours",
    "rejected": "handshakes the other side rejected",
    "replaced": "sessions replaced by a newer one of the same key",
    "retry-sent": "QUIC Retry packets sent under load",
    "signature-bad": "handshakes with a signature that does not fit (wrong key or man in the middle)",
    "suite-none": "handshakes without a common cipher suite",
    "token-bad": "connections with a Retry token that is not ours, too old or from elsewhere",
    "unknown-peer": "good callers whose key is not configured here",
    "version": "control messages of another protocol version",
    "version-negotiated": "QUIC version negotiations sent",
}


class Counters(dict[str, int]):
    """One number per name of COUNTERS; counting anything else is our bug."""

    def __init__(self) -> None:
        super().__init__(dict.fromkeys(COUNTERS, 0))

    def count(self, name: str) -> None:
        assert name in self, name
        self[name] += 1
