"""The TLS exporter, and every private name of aioquic that oxidized/core/quic_tls.py leans on.

When a new version of aioquic fails here, read quic_tls.py before anything else.
"""

from __future__ import annotations

import ast
import hashlib
import hmac
import random
import re
from pathlib import Path

import pytest
from aioquic import tls
from aioquic.quic.connection import QuicConnectionState
from aioquic.quic.packet import QuicPreferredAddress

import oxidized
from oxidized.core.plane import Address
from oxidized.core.quic_tls import (
    ALPN,
    EXPORTER_LABEL,
    Connection,
    ServerConfiguration,
    client_connection,
    make_certificate,
)

CLIENT, SERVER = Address("192.0.2.1", 1), Address("192.0.2.2", 2)


def connect(client: Connection | None = None) -> tuple[Connection, Connection]:
    """Both ends of a complete handshake."""
    client = client or client_connection()
    configuration = ServerConfiguration(make_certificate(random.Random(1).randbytes))
    client.connect(SERVER, 0.0)
    server = configuration.connection(client.original_destination_connection_id, None)
    for turn in range(6):
        for data, _ in client.datagrams_to_send(turn * 0.1):
            server.receive_datagram(data, CLIENT, turn * 0.1)
        for data, _ in server.datagrams_to_send(turn * 0.1):
            client.receive_datagram(data, SERVER, turn * 0.1)
    return client, server


def test_both_ends_export_the_same_and_each_connection_another() -> None:
    exporters = set()
    for _ in range(3):
        client, server = connect()
        assert client.exporter == server.exporter
        assert len(client.exporter) == 32
        exporters.add(client.exporter)
    assert len(exporters) == 3


def test_there_is_no_exporter_before_the_handshake_is_complete() -> None:
    client = client_connection()
    with pytest.raises(AssertionError):
        _ = client.exporter


def expand_label_by_hand(secret: bytes, label: bytes, context: bytes, length: int, name: str) -> bytes:
    """RFC 8446, section 7.1, from hmac alone."""
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
    return hmac.new(secret, info + b"\x01", name).digest()[:length]


def test_the_exporter_is_that_of_rfc_8446() -> None:
    """Recomputed by hand from the master secret and the transcript up to the server's Finished."""
    seen: dict[str, object] = {}

    class Watched(Connection):
        def _derive_exporter(self) -> bytes:
            schedule = self.tls.key_schedule
            assert schedule is not None
            seen.update(master=schedule.secret, transcript=schedule.hash.copy().finalize())
            seen["hash"] = schedule.algorithm.name
            return super()._derive_exporter()

    configuration = client_connection().configuration
    client, server = connect(Watched(configuration=configuration))
    name = seen["hash"]
    assert name == "sha384"
    empty = hashlib.new(name).digest()
    exp_master = expand_label_by_hand(seen["master"], b"exp master", seen["transcript"], 48, name)
    by_label = expand_label_by_hand(exp_master, EXPORTER_LABEL, empty, 48, name)
    assert expand_label_by_hand(by_label, b"exporter", empty, 32, name) == client.exporter == server.exporter


def test_no_tickets_no_early_data_one_version_one_protocol() -> None:
    client, server = connect()
    assert server.tls.new_session_ticket_cb is None and server.tls.get_session_ticket_cb is None
    assert not client.tls.session_resumed and not client.tls.early_data_accepted
    assert client.tls.alpn_negotiated == ALPN == "oxidized/1"
    assert client.configuration.supported_versions == [1]


def test_only_one_key_share_is_offered() -> None:
    client, server = connect()
    assert client.tls._supported_groups == server.tls._supported_groups == [tls.Group.X25519]
    assert client.tls._ec_private_keys == [] and client.tls._x448_private_key is None


def test_the_certificate_names_nobody() -> None:
    certificate = make_certificate(random.Random(1).randbytes).certificate
    assert certificate.subject.rfc4514_string() == certificate.issuer.rfc4514_string() == ""
    assert len(list(certificate.extensions)) == 0


def test_a_close_of_the_other_side_is_seen_at_once() -> None:
    client, server = connect()
    server.close(error_code=0x10)
    for data, _ in server.datagrams_to_send(1.0):
        client.receive_datagram(data, SERVER, 1.0)
    assert client._state == QuicConnectionState.DRAINING
    assert client.is_draining and client.close_reason == (0x10, True)
    assert not server.is_draining


def test_the_datagram_queue_and_the_peers_wish_can_be_read() -> None:
    client, server = connect()
    assert client.takes_datagrams and server.takes_datagrams
    client.send_datagram_frame(b"x")
    assert client.datagrams_queued == 1
    client.datagrams_to_send(2.0)
    assert client.datagrams_queued == 0
    assert client_connection().takes_datagrams is False
    assert len(client.host_cids) >= 1 and all(len(cid) == 8 for cid in client.host_cids)


def test_a_preferred_address_is_not_followed() -> None:
    """A hub that is not proved yet must not make an edge send elsewhere."""
    client, _ = connect()
    client._remote_preferred_address = QuicPreferredAddress(("203.0.113.1", 53), None, bytes(8), bytes(16))
    assert client._find_preferred_address() is None


PRIVATE = re.compile(r"\b_(?:quic|connection|tls)\._\w+|aioquic\.\w*\._|\btls\.(?:key_schedule|_\w+)")


def test_private_names_of_aioquic_stay_in_one_file() -> None:
    package = Path(oxidized.__file__).parent
    for file in package.rglob("*.py"):
        if file.name == "quic_tls.py":
            continue
        assert not PRIVATE.search(file.read_text()), file


def test_the_core_has_no_clock_no_socket_and_no_randomness_of_its_own() -> None:
    banned = {"time", "socket", "asyncio", "os", "random", "secrets", "select", "threading", "subprocess"}
    for file in (Path(oxidized.__file__).parent / "core").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            assert not banned & {name.split(".")[0] for name in names}, f"{file.name}: {names}"
