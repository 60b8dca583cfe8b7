"""The one file that touches aioquic's private API, and the one place where its own randomness enters.

aioquic has no TLS exporter, no way to say which key shares to offer, and an unbounded queue of
DATAGRAM frames whose length it does not show. The subclass below adds what is missing; the tests in
tests/security/test_exporter.py fail if a version of aioquic changes what it leans on:

- `QuicConnection._initialize` makes the TLS context `self.tls`;
- `QuicConnection._update_traffic_key` is called with the first 1-RTT key right after the transcript
  took the server's Finished and the key schedule moved on to the master secret, on both sides;
- `tls.KeySchedule.derive_secret`, `.algorithm`, `.hash_empty_value`; `tls.Context._supported_groups`;
- `QuicConnection._datagrams_pending`, `._remote_max_datagram_frame_size`, `._host_cids`, `._state`,
  `._close_event`.

aioquic draws connection ids, TLS randoms and its X25519 key from os.urandom. That is accepted here:
no decision of ours depends on them, so a simulation replays but for the bytes of these packets.
"""

from __future__ import annotations

import datetime
import logging
import ssl
from dataclasses import dataclass

from aioquic import tls
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection, QuicConnectionState
from aioquic.quic.packet import QuicProtocolVersion
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from oxidized.core.handshake import EXPORTER_BYTES, Entropy

ALPN = "oxidized/1"
EXPORTER_LABEL = b"EXPORTER-oxidized-1"
CID_BYTES = 8  # enough that nobody hits one of ours by chance; aioquic's default
DATAGRAM_BYTES_MAX = 1350  # UDP payload: carries a 1,304-byte data packet and fits 1,400-byte paths
DATAGRAM_FRAME_BYTES_MAX = 1500  # what we let others send; above anything that fits one UDP datagram
DATAGRAM_OVERHEAD_BYTES = 1 + CID_BYTES + 2 + 16 + 3  # short header, packet number, tag, frame header
IDLE_TIMEOUT_S = 180.0  # three missed QUIC PINGs (60 s)
STREAM_BYTES_MAX = 16384  # flow control of a stream: some dozen of the longest messages
CONNECTION_BYTES_MAX = 65536  # flow control of a connection: we use one stream

# Key log lines, warnings and info of aioquic speak of single packets of anybody: a remote could fill
# the log with them. What they would say is in our counters.
logging.getLogger("quic").setLevel(logging.CRITICAL)


@dataclass(frozen=True, slots=True, repr=False)
class Certificate:
    """The unnamed certificate of this process. It proves nothing; TLS wants one."""

    certificate: x509.Certificate
    key: Ed25519PrivateKey


def make_certificate(entropy: Entropy) -> Certificate:
    """A self-signed Ed25519 certificate without names, valid always (we have no clock, nobody looks)."""
    key = Ed25519PrivateKey.from_private_bytes(entropy(32))
    nobody = x509.Name([])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(nobody)
        .issuer_name(nobody)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2000, 1, 1))
        .not_valid_after(datetime.datetime(9999, 12, 31))
        .sign(key, None)
    )
    return Certificate(certificate, key)


class Connection(QuicConnection):
    """A QuicConnection with a TLS exporter, one key share, and the length of its DATAGRAM queue."""

    _exporter: bytes | None = None

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        # One share instead of four: P-384 and X448 cost milliseconds each, and both ends are ours.
        self.tls._supported_groups = [tls.Group.X25519]

    def _update_traffic_key(
        self,
        direction: tls.Direction,
        epoch: tls.Epoch,
        cipher_suite: tls.CipherSuite,
        secret: bytes,
    ) -> None:
        super()._update_traffic_key(direction, epoch, cipher_suite, secret)
        if epoch == tls.Epoch.ONE_RTT and self._exporter is None:
            self._exporter = self._derive_exporter()

    def _derive_exporter(self) -> bytes:
        """RFC 8446, section 7.5, with an empty context."""
        schedule = self.tls.key_schedule
        assert schedule is not None and schedule.generation == 3
        digest_bytes = schedule.algorithm.digest_size
        per_label = tls.hkdf_expand_label(
            algorithm=schedule.algorithm,
            secret=schedule.derive_secret(b"exp master"),
            label=EXPORTER_LABEL,
            hash_value=schedule.hash_empty_value,
            length=digest_bytes,
        )
        empty_context = hashes.Hash(schedule.algorithm).finalize()
        return tls.hkdf_expand_label(
            algorithm=schedule.algorithm,
            secret=per_label,
            label=b"exporter",
            hash_value=empty_context,
            length=EXPORTER_BYTES,
        )

    @property
    def exporter(self) -> bytes:
        """The exporter of this TLS connection; only once the handshake is complete."""
        assert self._exporter is not None and self._handshake_complete
        return self._exporter

    @property
    def datagrams_queued(self) -> int:
        return len(self._datagrams_pending)

    @property
    def takes_datagrams(self) -> bool:
        """Whether the other side said it takes DATAGRAM frames as long as ours."""
        return (self._remote_max_datagram_frame_size or 0) >= DATAGRAM_BYTES_MAX

    @property
    def is_untouched(self) -> bool:
        """No packet was opened yet."""
        return self._state == QuicConnectionState.FIRSTFLIGHT

    @property
    def is_draining(self) -> bool:
        """The other side closed; aioquic reports that only after three probe timeouts."""
        return self._close_event is not None and self._state == QuicConnectionState.DRAINING

    @property
    def close_reason(self) -> tuple[int, bool]:
        """Code of the other side's close, and whether it is the application's. Only when draining."""
        assert self._close_event is not None
        return self._close_event.error_code, self._close_event.frame_type is None

    @property
    def host_cids(self) -> list[bytes]:
        """The connection ids the other side may name us by."""
        return [connection_id.cid for connection_id in self._host_cids]


def _configuration(*, is_client: bool) -> QuicConfiguration:
    return QuicConfiguration(
        alpn_protocols=[ALPN],
        cipher_suites=[tls.CipherSuite.AES_256_GCM_SHA384, tls.CipherSuite.CHACHA20_POLY1305_SHA256],
        connection_id_length=CID_BYTES,
        idle_timeout=IDLE_TIMEOUT_S,
        is_client=is_client,
        max_data=CONNECTION_BYTES_MAX,
        max_datagram_frame_size=DATAGRAM_FRAME_BYTES_MAX,
        max_datagram_size=DATAGRAM_BYTES_MAX,
        max_stream_data=STREAM_BYTES_MAX,
        supported_versions=[QuicProtocolVersion.VERSION_1],
        verify_mode=ssl.CERT_NONE,
    )


def client_connection() -> Connection:
    """The edge's end of a new connection."""
    return Connection(configuration=_configuration(is_client=True))


class ServerConfiguration:
    """What all connections a hub takes have in common."""

    def __init__(self, certificate: Certificate) -> None:
        self._configuration = _configuration(is_client=False)
        self._configuration.certificate = certificate.certificate
        self._configuration.private_key = certificate.key

    def connection(self, original_cid: bytes, retry_cid: bytes | None) -> Connection:
        """The hub's end of a new connection; `retry_cid`: the id it was told to use by our Retry."""
        return Connection(
            configuration=self._configuration,
            original_destination_connection_id=original_cid,
            retry_source_connection_id=retry_cid,
        )
