"""The packet path, seen from Python.

Buffers are made once and filled by C in batches; a negative return becomes an exception in one
place (`names.check`). With the io thread started no packet of a user passes through here: only QUIC
datagrams, events and, in carrier mode, data packets that travel inside QUIC.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final

from oxidized.core.flows import TRAFFIC_CLASSES, ClassRule, Flow
from oxidized.core.oracle import OracleCounters, OracleWeights, Verdict
from oxidized.core.plane import (
    CARRIER,
    Address,
    EventType,
    Network,
    Offload,
    Order,
    PathCounters,
    PathRow,
    PayloadRule,
    PeerCounters,
    PlaneEvent,
    Regime,
    RepairMode,
    SessionKeys,
    Suite,
    Super,
)
from oxidized.errors import NativeError
from oxidized.ffi._oxi import ffi, lib
from oxidized.ffi.flows import CLASS_NAMES, FLOWS_MAX, flow_read, rules_write
from oxidized.ffi.headers import HEADER_PROFILES
from oxidized.ffi.lz import LZ_DICTIONARIES, LZ_DIGEST
from oxidized.ffi.names import BATCH_MAX, DATAGRAM_MAX, DROP_REASONS, STAGES, check
from oxidized.ffi.oracle import oracle_model

_CONTROL_STRIDE: Final = int(lib.OXI_CONTROL_MAX)
_BY_DICTIONARY: Final = {"payload_packets", "payload_bytes", "pressed_bytes"}  # of oxi_compression_stats
_ROW_FIELDS: Final = [name for name, _ in ffi.typeof("oxi_path_row").fields]
_ROW_WORDS: Final = len(_ROW_FIELDS)
assert _ROW_FIELDS == list(PathRow.__dataclass_fields__) and ffi.sizeof("oxi_path_row") == 8 * _ROW_WORDS
PATH_ROWS_MAX: Final = 256
_DIRECTIONS: Final = ("transmit", "receive_datagram", "receive")
_ARRAYS: Final = {"class_packets", "drops"}  # of oxi_stats


@dataclass(frozen=True, slots=True)
class AeadLibrary:
    """A crypto library. `version`: "" not found; `trouble`: why it can not be used, "": it can."""

    name: str
    version: str
    trouble: str


_AEADS: Final = {"auto": int(lib.OXI_AEAD_AUTO)} | {
    ffi.string(lib.oxi_aead_name(number)).decode(): int(number)
    for number in (lib.OXI_AEAD_OPENSSL, lib.OXI_AEAD_IPSEC_MB)
}


def aead_library(name: str) -> AeadLibrary:
    """What is known of "openssl" or "ipsec-mb"; the first call loads that library and checks it."""
    number = _AEADS[name]
    trouble = lib.oxi_aead_trouble(number)
    return AeadLibrary(
        name=name,
        version=ffi.string(lib.oxi_aead_version(number)).decode("ascii", "replace"),
        trouble="" if trouble == ffi.NULL else ffi.string(trouble).decode("utf-8", "replace"),
    )


def _address_write(native: Any, address: Address) -> Any:
    """Fills the `oxi_addr` that `native` points to; returns it."""
    ffi.memmove(native, b"\0" * ffi.sizeof("oxi_addr"), ffi.sizeof("oxi_addr"))
    if address.is_carrier:
        native.family = lib.OXI_AF_CARRIER
        return native
    ip = ip_address(address.ip)
    native.family = lib.OXI_AF_INET if ip.version == 4 else lib.OXI_AF_INET6
    ffi.memmove(native.ip, ip.packed, len(ip.packed))
    if address.local:
        local = ip_address(address.local).packed
        ffi.memmove(native.local, local, len(local))
    native.port = address.port
    native.sock = address.sock
    native.scope_id = address.scope_id
    return native


def _address_read(native: Any) -> Address | None:
    if native.family == lib.OXI_AF_NONE:
        return None
    if native.family == lib.OXI_AF_CARRIER:
        return CARRIER
    width = 4 if native.family == lib.OXI_AF_INET else 16
    local = bytes(ffi.buffer(native.local, width))
    return Address(
        ip=str(ip_address(bytes(ffi.buffer(native.ip, width)))),
        port=native.port,
        sock=native.sock,
        local=str(ip_address(local)) if any(local) else "",
        scope_id=native.scope_id,
    )


def _path_counters(native: Any) -> PathCounters:
    names = PathCounters.__dataclass_fields__
    values = {name: int(getattr(native, name)) for name in names if name != "address"}
    return PathCounters(address=_address_read(native.addr), **values)


class DataPlane:
    """Owner of one C data plane. Implements `core.plane.Plane`.

    In: peer_*, routes_set, path_set, session_*, epoch_*, ping, carrier_push.
    Out: poll_control, poll_events, poll_carrier, stats, peer_counters.
    Shell: start/stop run the io thread; without it inner_*/outer_*/tick feed the core (simulator, tests).
    """

    def __init__(
        self,
        *,
        peers_max: int = 8,
        routes_max: int = 1024,
        pool_pkts: int = 1024,
        workers: int = 1,
        mtu_bytes: int = 1420,
        rekey_packets: int = 1 << 26,
        key_packets_max: int = 1 << 28,
        key_age_ns_max: int = 600 * 10**9,
        hold_ns: tuple[int, int, int] = (0, 0, 0),
        flows: int = 0,
        all_headers: bool = False,
        order: int = Order.OFF,
        compress_payload: bool = False,
        repair_bytes: int = 0,
        hash_key: int = 0,
        library: str = "auto",
    ) -> None:
        conf = ffi.new("oxi_conf *")
        conf.peers_max = peers_max
        conf.routes_max = routes_max
        conf.pool_pkts = pool_pkts
        conf.workers = workers
        conf.mtu_bytes = mtu_bytes
        conf.rekey_packets = rekey_packets
        conf.key_packets_max = key_packets_max
        conf.key_age_ns_max = key_age_ns_max
        voip_ns, gaming_ns, other_ns = hold_ns
        conf.hold_ns = (voip_ns, gaming_ns, other_ns, other_ns, other_ns, other_ns)
        conf.flows = flows
        conf.headers = lib.OXI_HEADERS_ALL if all_headers else lib.OXI_HEADERS_AUTO
        conf.order = order
        conf.compress_payload = compress_payload
        conf.repair_bytes = repair_bytes
        conf.hash_key = hash_key
        conf.aead = _AEADS[library]
        self._dp = lib.oxi_dp_new(conf)
        if self._dp == ffi.NULL:
            raise NativeError(
                "oxi_dp_new: bad configuration, out of memory or no such crypto library",
                code=int(lib.OXI_E_NOMEM),
            )
        self.workers = workers
        self.notify_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._buf = ffi.new("uint8_t[]", BATCH_MAX * DATAGRAM_MAX)
        self._len = ffi.new("uint32_t[]", BATCH_MAX)
        self._peer = ffi.new("uint32_t[]", BATCH_MAX)
        self._addr = ffi.new("oxi_addr[]", BATCH_MAX)
        self._events = ffi.new("oxi_event[]", BATCH_MAX)
        self._one_addr = ffi.new("oxi_addr *")
        self._peer_stats = ffi.new("oxi_peer_stats *")
        self._stats = ffi.new("oxi_stats *")
        self._out = ffi.new("uint32_t *")
        self._rows = ffi.new("oxi_path_row[]", PATH_ROWS_MAX)
        self._row_words = ffi.cast("uint64_t *", self._rows)

    def close(self) -> None:
        """Stops the io thread and frees everything; idempotent."""
        if self._dp != ffi.NULL:
            lib.oxi_dp_free(self._dp)
            self._dp = ffi.NULL
            os.close(self.notify_fd)

    # ---- peers, routes, paths ----

    def peer_add(self, *, keepalive_ns: int, dead_after_ns: int, is_initiator: bool) -> int:
        check(lib.oxi_peer_add(self._dp, keepalive_ns, dead_after_ns, is_initiator, self._out), "peer_add")
        return int(self._out[0])

    def peer_timers(self, peer: int, *, keepalive_ns: int, dead_after_ns: int) -> None:
        check(lib.oxi_peer_timers(self._dp, peer, keepalive_ns, dead_after_ns), "peer_timers")

    def peer_remove(self, peer: int) -> None:
        check(lib.oxi_peer_remove(self._dp, peer), "peer_remove")

    def routes_set(self, routes: Sequence[tuple[Network, int]]) -> None:
        prefixes = ffi.new("oxi_prefix[]", max(len(routes), 1))
        for native, (network, peer) in zip(prefixes, routes, strict=False):
            packed = network.network_address.packed
            ffi.memmove(native.ip, packed, len(packed))
            native.family = lib.OXI_AF_INET if network.version == 4 else lib.OXI_AF_INET6
            native.bits = network.prefixlen
            native.peer = peer
        check(lib.oxi_routes_set(self._dp, prefixes, len(routes)), "routes_set")

    def path_set(self, peer: int, path: int, address: Address | None, payload_max: int) -> None:
        native = ffi.NULL if address is None else _address_write(self._one_addr, address)
        check(lib.oxi_path_set(self._dp, peer, path, native, payload_max), "path_set")

    def path_payload(self, peer: int, path: int, payload_max: int) -> None:
        check(lib.oxi_path_payload(self._dp, peer, path, payload_max), "path_payload")

    # ---- keys ----

    def index_pick(self, random24: int) -> int:
        check(lib.oxi_index_pick(self._dp, random24 & 0xFFFFFF, self._out), "index_pick")
        return int(self._out[0])

    def session_install(self, now_ns: int, peer: int, keys: SessionKeys) -> None:
        assert len(keys.rx_key) == len(keys.tx_key) == lib.OXI_KEY_BYTES
        native = ffi.new("oxi_session *")
        native.rx_index = keys.rx_index
        native.tx_index = keys.tx_index
        native.suite = keys.suite
        native.may_send = keys.may_send
        native.may_bundle = keys.may_bundle
        native.tx_flows, native.rx_flows = keys.compression.tx_flows, keys.compression.rx_flows
        native.tx_payload = keys.compression.tx_dictionaries == LZ_DIGEST
        native.rx_payload = keys.compression.rx_dictionaries == LZ_DIGEST
        ffi.memmove(native.rx_key, keys.rx_key, lib.OXI_KEY_BYTES)
        ffi.memmove(native.tx_key, keys.tx_key, lib.OXI_KEY_BYTES)
        result = lib.oxi_session_install(self._dp, now_ns, peer, native)
        ffi.memmove(native, b"\0" * ffi.sizeof("oxi_session"), ffi.sizeof("oxi_session"))
        check(result, "session_install")

    def session_send(self, now_ns: int, peer: int) -> None:
        check(lib.oxi_session_send(self._dp, now_ns, peer), "session_send")

    def session_drop(self, peer: int) -> None:
        check(lib.oxi_session_drop(self._dp, peer), "session_drop")

    def epoch_install(self, now_ns: int, peer: int, epoch: int, rx_key: bytes, tx_key: bytes) -> None:
        assert len(rx_key) == len(tx_key) == lib.OXI_KEY_BYTES
        check(lib.oxi_epoch_install(self._dp, now_ns, peer, epoch, rx_key, tx_key), "epoch_install")

    def epoch_send(self, now_ns: int, peer: int, epoch: int) -> None:
        check(lib.oxi_epoch_send(self._dp, now_ns, peer, epoch), "epoch_send")

    def aead(self) -> AeadLibrary:
        """The crypto library that seals and opens."""
        number = int(lib.oxi_aead_used(self._dp))
        return aead_library(ffi.string(lib.oxi_aead_name(number)).decode())

    def suite_best(self) -> Suite:
        return Suite(lib.oxi_suite_best())

    def dictionaries(self) -> int:
        """Digest of the static dictionaries that payloads are compressed with; never 0."""
        return LZ_DIGEST

    def compression_set(self, rules: Sequence[PayloadRule]) -> None:
        """Which payloads are compressed; needs `compress_payload`. Replaces all."""
        native = ffi.new("oxi_lz_rule[]", [(r.port, r.protocol, r.dictionary) for r in rules] or 1)
        check(lib.oxi_compression_set(self._dp, native, len(rules)), "compression_set")

    def compression_stats(self) -> dict[str, Any]:
        """Every field of `oxi_compression_stats`; arrays as profile or dictionary -> number."""
        native = ffi.new("oxi_compression_stats *")
        check(lib.oxi_compression_stats_read(self._dp, native), "compression_stats_read")
        found: dict[str, Any] = {}
        for name, field in ffi.typeof("oxi_compression_stats").fields:
            value = getattr(native, name)
            names = LZ_DICTIONARIES if name in _BY_DICTIONARY else HEADER_PROFILES
            is_array = field.type.kind == "array"
            found[name] = dict(zip(names, map(int, value), strict=True)) if is_array else int(value)
        return found

    def repair_set(self, mode: RepairMode, *, overhead: float = 1.0, overhead_ordered: float = 0.15) -> None:
        """How lost packets come back; needs `repair_bytes`. `overhead*`: repair packets per packet sent, of
        classes with a deadline and of the others.
        """
        conf = ffi.new("oxi_repair_conf *")
        conf.mode = mode
        conf.overhead_permille = round(1000 * overhead)
        conf.overhead_ordered_permille = round(1000 * overhead_ordered)
        check(lib.oxi_repair_set(self._dp, conf), "repair_set")

    def repair_wish(
        self, now_ns: int, peer: int, path: int, *, regime: Regime, redundancy: float, copies: int
    ) -> None:
        """What is wanted of a path for the next 1.5 s; `redundancy` 0..1 repair symbols per packet."""
        permille = round(1000 * redundancy)
        result = lib.oxi_repair_wish(self._dp, now_ns, peer, path, regime, permille, copies)
        check(result, "repair_wish")

    def repair_stats(self) -> dict[str, Any]:
        """Every field of `oxi_repair_stats`; arrays as traffic class -> number."""
        native = ffi.new("oxi_repair_stats *")
        check(lib.oxi_repair_stats_read(self._dp, native), "repair_stats_read")
        found: dict[str, Any] = {}
        for name, field in ffi.typeof("oxi_repair_stats").fields:
            value = getattr(native, name)
            is_array = field.type.kind == "array"
            found[name] = dict(zip(TRAFFIC_CLASSES, map(int, value), strict=True)) if is_array else int(value)
        return found

    def path_rows(self, since_ns: int) -> list[PathRow]:
        """Of paths that have kept something for repair, and whose peer was sent anything since then; at most
        PATH_ROWS_MAX.
        """
        count = check(lib.oxi_paths_read(self._dp, since_ns, self._rows, PATH_ROWS_MAX), "paths_read")
        words = ffi.unpack(self._row_words, count * _ROW_WORDS)
        return [PathRow(*words[at : at + _ROW_WORDS]) for at in range(0, len(words), _ROW_WORDS)]

    # ---- pings, events, control and carrier datagrams ----

    def ping(
        self,
        now_ns: int,
        peer: int,
        path: int,
        *,
        token: int,
        address: Address | None = None,
        is_probe: bool = False,
        pad_bytes: int = 0,
    ) -> bool:
        native = ffi.NULL if address is None else _address_write(self._one_addr, address)
        flags = lib.OXI_PING_PROBE if is_probe else 0
        result = lib.oxi_ping(self._dp, now_ns, peer, path, native, token, flags, pad_bytes)
        if result == lib.OXI_E_ABSENT:
            return False
        check(result, "ping")
        return True

    def poll_events(self) -> list[PlaneEvent]:
        events = []
        while (count := check(lib.oxi_event_pop(self._dp, self._events, BATCH_MAX), "event_pop")) > 0:
            for i in range(count):
                ev = self._events[i]
                address = _address_read(ev.addr) or CARRIER
                events.append(
                    PlaneEvent(EventType(ev.type), ev.peer, ev.path, ev.value, ev.rtt_ns, address)
                )
        return events

    def poll_control(self) -> list[tuple[bytes, Address]]:
        """QUIC datagrams that came in on the UDP sockets, at most one batch."""
        count = check(
            lib.oxi_control_pop(self._dp, self._buf, _CONTROL_STRIDE, self._len, self._addr, BATCH_MAX),
            "control_pop",
        )
        found = []
        for i, data in enumerate(self._datagrams(count, _CONTROL_STRIDE)):
            address = _address_read(self._addr[i])
            assert address is not None
            found.append((data, address))
        return found

    def poll_carrier(self) -> list[tuple[int, bytes]]:
        count = check(
            lib.oxi_carrier_pop(self._dp, self._buf, _CONTROL_STRIDE, self._len, self._peer, BATCH_MAX),
            "carrier_pop",
        )
        return [(int(self._peer[i]), d) for i, d in enumerate(self._datagrams(count, _CONTROL_STRIDE))]

    def carrier_push(self, now_ns: int, peer: int, datagrams: Sequence[bytes]) -> None:
        for start in range(0, len(datagrams), BATCH_MAX):
            count = self._fill(datagrams[start : start + BATCH_MAX])
            result = lib.oxi_carrier_push(self._dp, now_ns, peer, self._buf, DATAGRAM_MAX, self._len, count)
            check(result, "carrier_push")

    def _datagrams(self, count: int, stride: int) -> list[bytes]:
        return [bytes(ffi.buffer(self._buf + i * stride, self._len[i])) for i in range(count)]

    def _fill(self, packets: Sequence[bytes]) -> int:
        assert len(packets) <= BATCH_MAX
        for i, data in enumerate(packets):
            assert len(data) <= DATAGRAM_MAX
            ffi.memmove(self._buf + i * DATAGRAM_MAX, data, len(data))
            self._len[i] = len(data)
        return len(packets)

    # ---- counters ----

    def stats(self) -> dict[str, Any]:
        """Every scalar of `oxi_stats` by its name, "class_packets": class -> packets, and "drops":
        direction -> reason -> packets."""
        check(lib.oxi_stats_read(self._dp, self._stats), "stats_read")
        native = self._stats
        fields = [name for name, _ in ffi.typeof("oxi_stats").fields if name not in _ARRAYS]
        found: dict[str, Any] = {name: int(getattr(native, name)) for name in fields}
        found["class_packets"] = dict(zip(CLASS_NAMES, map(int, native.class_packets), strict=True))
        found["drops"] = {
            direction: {reason: int(native.drops[d][r]) for r, reason in enumerate(DROP_REASONS)}
            for d, direction in enumerate(_DIRECTIONS)
        }
        return found

    def stage_times(self) -> list[dict[str, Any]]:
        """`path` (out, in, shell), `stage`, `packets` and `ns`, in the order of the packet path.

        Of those turns of the loop that were timed, one in 64.
        """
        times = ffi.new("oxi_stage_time[]", int(lib.OXI_TIMES * lib.OXI_STAGES_MAX))
        check(lib.oxi_stage_times_read(self._dp, times), "stage_times_read")
        return [
            {
                "path": path,
                "stage": stage,
                "packets": int(times[which * lib.OXI_STAGES_MAX + i].packets),
                "ns": int(times[which * lib.OXI_STAGES_MAX + i].ns),
            }
            for which, (path, stages) in enumerate(STAGES.items())
            for i, stage in enumerate(stages)
        ]

    def peer_counters(self, peer: int) -> PeerCounters:
        native = self._peer_stats
        check(lib.oxi_peer_stats_read(self._dp, peer, native), "peer_stats_read")
        return PeerCounters(
            tx_packets=native.tx_packets,
            tx_bytes=native.tx_bytes,
            rx_packets=native.rx_packets,
            rx_bytes=native.rx_bytes,
            last_rx_ns=native.last_rx_ns,
            last_tx_ns=native.last_tx_ns,
            is_silent=bool(native.is_silent),
            epoch=native.epoch,
            epoch_packets=native.epoch_packets,
            paths=tuple(_path_counters(native.paths[i]) for i in range(lib.OXI_PATHS_MAX)),
        )

    @property
    def offload(self) -> Offload:
        """What is in use now: the packet path gives up what the kernel refuses."""
        return Offload(self.stats()["offload"])

    # ---- traffic classes ----

    def classes_set(self, rules: Sequence[ClassRule]) -> None:
        """The first rule that applies decides on the class of a flow. Replaces all."""
        check(lib.oxi_classes_set(self._dp, rules_write(rules), len(rules)), "classes_set")

    def flows(self, now_ns: int) -> list[Flow]:
        """All flows that are known of those we send, in no order."""
        room = self.workers * FLOWS_MAX
        native = ffi.new("oxi_flow[]", room)
        count = check(lib.oxi_flows_read(self._dp, now_ns, native, room), "flows_read")
        return [flow_read(native[i]) for i in range(count)]

    # ---- the compression oracle ----

    def oracle_set(self, weights: OracleWeights | None, seed: int) -> None:
        """From now on with this net, or without weights with the heuristic. `seed`: 64 random bits."""
        check(lib.oxi_oracle_set(self._dp, oracle_model(weights), seed), "oracle_set")

    def oracle_counters(self) -> OracleCounters:
        native = ffi.new("oxi_oracle_stats *")
        check(lib.oxi_oracle_stats_read(self._dp, native), "oracle_stats_read")
        return OracleCounters(
            verdicts={verdict: int(native.verdicts[verdict]) for verdict in Verdict},
            looked_packets=native.looked_packets,
            missed_attempts=native.missed_attempts,
            given_up_flows=native.given_up_flows,
        )

    def oracle_ask(
        self,
        packet: bytes,
        payload_at: int,
        *,
        peer: int = 0,
        is_allowed: bool = True,
        is_urgent: bool = False,
    ) -> tuple[Verdict, Any]:
        """Of the first worker, without the io thread: the verdict, and the ticket for `oracle_learn`."""
        data = ffi.from_buffer(packet)
        native = ffi.new("oxi_oracle_packet *")
        native.data, native.len, native.payload_at = data, len(packet), payload_at
        native.peer, native.is_allowed, native.is_urgent = peer, is_allowed, is_urgent
        ticket = ffi.new("oxi_oracle_ticket *")
        check(lib.oxi_oracle_ask(self._dp, native, self._out, ticket), "oracle_ask")
        return Verdict(self._out[0]), ticket

    def oracle_learn(self, ticket: Any, *, has_saved: bool) -> None:
        check(lib.oxi_oracle_learn(self._dp, ticket, has_saved), "oracle_learn")

    # ---- the io thread ----

    def offload_set(self, offload: Offload) -> None:
        check(lib.oxi_offload_set(self._dp, int(offload)), "offload_set")

    def start(
        self, tun_fds: Sequence[int], sock_fds: Sequence[Sequence[int]], *, tun_has_header: bool = False
    ) -> None:
        """Starts the C threads over these descriptors: for each worker one queue of the TUN, and its sockets.

        They stay the caller's to close, after `stop`.
        """
        assert len(tun_fds) == len(sock_fds) == self.workers
        conf = ffi.new("oxi_io_conf *")
        conf.tun_has_header = tun_has_header
        conf.notify_fd = self.notify_fd
        conf.sock_count = len(sock_fds[0])
        for worker, (tun_fd, fds) in enumerate(zip(tun_fds, sock_fds, strict=True)):
            conf.tun_fds[worker] = tun_fd
            for i, fd in enumerate(fds):
                conf.sock_fds[worker * lib.OXI_SOCKETS_MAX + i] = fd
        errno_out = ffi.new("int *")
        result = lib.oxi_io_start(self._dp, conf, errno_out)
        if result == lib.OXI_E_SYS:
            raise OSError(errno_out[0], os.strerror(errno_out[0]))
        check(result, "io_start")

    def stop(self) -> None:
        """Stops the C thread; packets it still holds are counted as `stopped`. Idempotent."""
        if self._dp != ffi.NULL:
            check(lib.oxi_io_stop(self._dp), "io_stop")

    # ---- without the io thread: the caller is the shell ----

    def inner_push(self, now_ns: int, packets: Sequence[bytes]) -> None:
        count = self._fill(packets)
        check(lib.oxi_inner_push(self._dp, now_ns, self._buf, DATAGRAM_MAX, self._len, count), "inner_push")

    def inner_pop(self) -> list[tuple[int, bytes]]:
        """Delivered inner packets, (peer, packet), at most one batch."""
        result = lib.oxi_inner_pop(self._dp, self._buf, DATAGRAM_MAX, self._len, self._peer, BATCH_MAX)
        count = check(result, "inner_pop")
        return [(int(self._peer[i]), data) for i, data in enumerate(self._datagrams(count, DATAGRAM_MAX))]

    def outer_push(self, now_ns: int, datagrams: Sequence[tuple[bytes, Address]]) -> None:
        count = self._fill([data for data, _ in datagrams])
        for i, (_, source) in enumerate(datagrams):
            _address_write(self._addr + i, source)
        result = lib.oxi_outer_push(self._dp, now_ns, self._buf, DATAGRAM_MAX, self._len, self._addr, count)
        check(result, "outer_push")

    def outer_pop(self) -> list[tuple[bytes, Address]]:
        """Datagrams to send, with their target, at most one batch."""
        result = lib.oxi_outer_pop(self._dp, self._buf, DATAGRAM_MAX, self._len, self._addr, BATCH_MAX)
        count = check(result, "outer_pop")
        return self._addressed(count)

    def train_pop(self) -> list[tuple[bytes, Address]]:
        """The same for what leaves in one message: one datagram or a train; empty: nothing waits."""
        result = lib.oxi_train_pop(self._dp, self._buf, DATAGRAM_MAX, self._len, self._addr, BATCH_MAX)
        count = check(result, "train_pop")
        return self._addressed(count)

    def _addressed(self, count: int) -> list[tuple[bytes, Address]]:
        found = []
        for i, data in enumerate(self._datagrams(count, DATAGRAM_MAX)):
            address = _address_read(self._addr[i])
            assert address is not None
            found.append((data, address))
        return found

    def super_push(self, now_ns: int, data: bytes, how: Super) -> None:
        """One packet or super-packet as the TUN gives it."""
        native = ffi.new("oxi_super *", {name: int(getattr(how, name)) for name in Super.__slots__})
        check(lib.oxi_super_push(self._dp, now_ns, data, len(data), native), "super_push")

    def super_pop(self) -> tuple[bytes, int, Super] | None:
        """The next thing to write to the TUN, the number of packets in it, and its header; None: nothing."""
        buf = ffi.new("uint8_t[]", int(lib.OXI_SUPER_MAX))
        numbers = ffi.new("uint32_t[2]")
        native = ffi.new("oxi_super *")
        result = lib.oxi_super_pop(self._dp, buf, len(buf), numbers, numbers + 1, native)
        check(result, "super_pop")
        if numbers[0] == 0:
            return None
        how = Super(
            kind=native.kind,
            needs_csum=bool(native.needs_csum),
            segment_bytes=native.segment_bytes,
            csum_start=native.csum_start,
            csum_offset=native.csum_offset,
            header_bytes=native.header_bytes,
        )
        return bytes(ffi.buffer(buf, numbers[0])), int(numbers[1]), how

    def tick(self, now_ns: int) -> int | None:
        """Runs due timers; returns when to call again, None for never."""
        at_ns = int(lib.oxi_tick(self._dp, now_ns))
        return None if at_ns == 2**64 - 1 else at_ns
