"""Every function of oxi.h with every bad argument: an error, never a crash, and nothing changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from oxidized.ffi._oxi import ffi, lib

from tests.native.rig import KEY_A, KEY_B, S

NULL = ffi.NULL
GOOD_CONF = {
    "peers_max": 2, "routes_max": 8, "pool_pkts": 256, "mtu_bytes": 1420, "rekey_packets": 1 << 20,
    "key_packets_max": 1 << 28, "key_age_ns_max": 600 * S, "workers": 1,
}  # fmt: skip
NO_PEERS = (2, 3, 4096, 2**31, 2**32 - 1)  # 0 is the peer of the fixture, 1 is free
STRIDE = int(lib.OXI_DATAGRAM_MAX)


def conf(**changes: Any) -> Any:
    made = ffi.new("oxi_conf *")
    for name, value in {**GOOD_CONF, **changes}.items():
        setattr(made, name, value)
    return made


def address(family: int = lib.OXI_AF_INET, port: int = 1, sock: int = 0) -> Any:
    return ffi.new("oxi_addr *", {"family": family, "port": port, "sock": sock, "ip": [192, 0, 2, 1]})


def prefix(family: int = lib.OXI_AF_INET, bits: int = 8, peer: int = 0) -> Any:
    return ffi.new("oxi_prefix[1]", [{"family": family, "bits": bits, "peer": peer, "ip": [10]}])


def session(**changes: int) -> Any:
    made = ffi.new(
        "oxi_session *", {"rx_index": 5, "tx_index": 6, "suite": lib.OXI_SUITE_AES256GCM, "may_send": 1}
    )
    for name, value in changes.items():
        setattr(made, name, value)
    return made


FLOATS = ffi.new("float[8]")
FRAME = ffi.new("uint8_t[]", int(lib.OXI_RLC_FRAME_ROOM))
WHOLE = ffi.new("uint8_t[20]", b"\x45\0\0\x14" + bytes(16))


def oracle_model(weight: float = 0.0) -> Any:
    return ffi.new("oxi_oracle_model *", {"score_bias": [weight] * 4})


def oracle_packet(data: Any) -> Any:
    return ffi.new("oxi_oracle_packet *", {"data": data, "len": 20, "payload_at": 20})


def oracle_ticket(**changes: int) -> Any:
    return ffi.new("oxi_oracle_ticket *", changes)


def repair_conf(**changes: int) -> Any:
    return ffi.new("oxi_repair_conf *", {"mode": lib.OXI_REPAIR_AUTO, **changes})


def lz_rules(*rules: tuple[int, int, int]) -> Any:
    return ffi.new("oxi_lz_rule[]", list(rules))


def class_rules(*rules: dict[str, Any]) -> Any:
    return ffi.new("oxi_class_rule[]", list(rules))


class Door:
    """A plane with peer 0 (session, address, route), and buffers that fit every call."""

    def __init__(self) -> None:
        self.dp = lib.oxi_dp_new(conf())
        self.number = ffi.new("uint32_t *")
        self.buf = ffi.new("uint8_t[]", 64 * STRIDE)
        self.len = ffi.new("uint32_t[64]")
        self.addr = ffi.new("oxi_addr[64]")
        self.peers = ffi.new("uint32_t[64]")
        self.events = ffi.new("oxi_event[64]")
        self.stats = ffi.new("oxi_stats *")
        self.peer_stats = ffi.new("oxi_peer_stats *")
        self.errno = ffi.new("int *")
        self.how = ffi.new("oxi_super *")
        for each in self.addr:
            each.family, each.port = lib.OXI_AF_INET, 1
        assert lib.oxi_peer_add(self.dp, 0, S, 1, self.number) == lib.OXI_OK
        assert lib.oxi_routes_set(self.dp, prefix(), 1) == lib.OXI_OK
        assert lib.oxi_path_set(self.dp, 0, 0, address(), 1444) == lib.OXI_OK
        assert lib.oxi_session_install(self.dp, S, 0, session(rx_index=1)) == lib.OXI_OK

    def state(self) -> tuple[bytes, bytes]:
        lib.oxi_stats_read(self.dp, self.stats)
        lib.oxi_peer_stats_read(self.dp, 0, self.peer_stats)
        return bytes(ffi.buffer(self.stats)), bytes(ffi.buffer(self.peer_stats))


@pytest.fixture
def door() -> Iterator[Door]:
    made = Door()
    yield made
    lib.oxi_dp_free(made.dp)


Bad = Callable[[Door], int]
ARG: dict[str, Bad] = {
    "peer_add out": lambda d: lib.oxi_peer_add(d.dp, 0, S, 1, NULL),
    "peer_add dead_after": lambda d: lib.oxi_peer_add(d.dp, 0, 0, 1, d.number),
    "peer_timers dead_after": lambda d: lib.oxi_peer_timers(d.dp, 0, 0, 0),
    "routes_set null": lambda d: lib.oxi_routes_set(d.dp, NULL, 1),
    "routes_set family": lambda d: lib.oxi_routes_set(d.dp, prefix(family=5), 1),
    "routes_set no family": lambda d: lib.oxi_routes_set(d.dp, prefix(family=0), 1),
    "routes_set bits of v4": lambda d: lib.oxi_routes_set(d.dp, prefix(bits=33), 1),
    "routes_set bits of v6": lambda d: lib.oxi_routes_set(d.dp, prefix(lib.OXI_AF_INET6, 129), 1),
    "path_set path": lambda d: lib.oxi_path_set(d.dp, 0, 4, address(), 1444),
    "path_set family": lambda d: lib.oxi_path_set(d.dp, 0, 0, address(family=7), 1444),
    "path_set port": lambda d: lib.oxi_path_set(d.dp, 0, 0, address(port=0), 1444),
    "path_set sock": lambda d: lib.oxi_path_set(d.dp, 0, 0, address(sock=8), 1444),
    "path_set payload": lambda d: lib.oxi_path_set(d.dp, 0, 0, address(), STRIDE + 1),
    "path_payload path": lambda d: lib.oxi_path_payload(d.dp, 0, 4, 1444),
    "path_payload payload": lambda d: lib.oxi_path_payload(d.dp, 0, 0, STRIDE + 1),
    "index_pick out": lambda d: lib.oxi_index_pick(d.dp, 1, NULL),
    "index_pick random": lambda d: lib.oxi_index_pick(d.dp, 1 << 24, d.number),
    "session null": lambda d: lib.oxi_session_install(d.dp, S, 0, NULL),
    "session rx_index 0": lambda d: lib.oxi_session_install(d.dp, S, 0, session(rx_index=0)),
    "session rx_index": lambda d: lib.oxi_session_install(d.dp, S, 0, session(rx_index=1 << 24)),
    "session tx_index": lambda d: lib.oxi_session_install(d.dp, S, 0, session(tx_index=1 << 24)),
    "session suite 0": lambda d: lib.oxi_session_install(d.dp, S, 0, session(suite=0)),
    "session suite 3": lambda d: lib.oxi_session_install(d.dp, S, 0, session(suite=3)),
    "epoch rx_key": lambda d: lib.oxi_epoch_install(d.dp, S, 0, 1, NULL, KEY_B),
    "epoch tx_key": lambda d: lib.oxi_epoch_install(d.dp, S, 0, 1, KEY_A, NULL),
    "epoch same": lambda d: lib.oxi_epoch_install(d.dp, S, 0, 0, KEY_A, KEY_B),
    "epoch skips": lambda d: lib.oxi_epoch_install(d.dp, S, 0, 2, KEY_A, KEY_B),
    "ping path": lambda d: lib.oxi_ping(d.dp, S, 0, 4, NULL, 1, 0, 0),
    "ping flags": lambda d: lib.oxi_ping(d.dp, S, 0, 0, NULL, 1, 2, 0),
    "ping pad": lambda d: lib.oxi_ping(d.dp, S, 0, 0, NULL, 1, 0, lib.OXI_MTU_MAX + 1),
    "ping address": lambda d: lib.oxi_ping(d.dp, S, 0, 0, address(family=9), 1, 0, 0),
    "control_pop buf": lambda d: lib.oxi_control_pop(d.dp, NULL, STRIDE, d.len, d.addr, 1),
    "control_pop len": lambda d: lib.oxi_control_pop(d.dp, d.buf, STRIDE, NULL, d.addr, 1),
    "control_pop from": lambda d: lib.oxi_control_pop(d.dp, d.buf, STRIDE, d.len, NULL, 1),
    "control_pop stride": lambda d: lib.oxi_control_pop(
        d.dp, d.buf, lib.OXI_CONTROL_MAX - 1, d.len, d.addr, 1
    ),
    "carrier_pop buf": lambda d: lib.oxi_carrier_pop(d.dp, NULL, STRIDE, d.len, d.peers, 1),
    "carrier_pop len": lambda d: lib.oxi_carrier_pop(d.dp, d.buf, STRIDE, NULL, d.peers, 1),
    "carrier_pop peer": lambda d: lib.oxi_carrier_pop(d.dp, d.buf, STRIDE, d.len, NULL, 1),
    "carrier_pop stride": lambda d: lib.oxi_carrier_pop(
        d.dp, d.buf, lib.OXI_CONTROL_MAX - 1, d.len, d.peers, 1
    ),
    "event_pop events": lambda d: lib.oxi_event_pop(d.dp, NULL, 1),
    "carrier_push buf": lambda d: lib.oxi_carrier_push(d.dp, S, 0, NULL, STRIDE, d.len, 1),
    "carrier_push len": lambda d: lib.oxi_carrier_push(d.dp, S, 0, d.buf, STRIDE, NULL, 1),
    "carrier_push count": lambda d: lib.oxi_carrier_push(d.dp, S, 0, d.buf, STRIDE, d.len, 65),
    "inner_push buf": lambda d: lib.oxi_inner_push(d.dp, S, NULL, STRIDE, d.len, 1),
    "inner_push len": lambda d: lib.oxi_inner_push(d.dp, S, d.buf, STRIDE, NULL, 1),
    "inner_push count": lambda d: lib.oxi_inner_push(d.dp, S, d.buf, STRIDE, d.len, 65),
    "inner_push count huge": lambda d: lib.oxi_inner_push(d.dp, S, d.buf, STRIDE, d.len, 2**32 - 1),
    "outer_push buf": lambda d: lib.oxi_outer_push(d.dp, S, NULL, STRIDE, d.len, d.addr, 1),
    "outer_push len": lambda d: lib.oxi_outer_push(d.dp, S, d.buf, STRIDE, NULL, d.addr, 1),
    "outer_push from": lambda d: lib.oxi_outer_push(d.dp, S, d.buf, STRIDE, d.len, NULL, 1),
    "outer_push count": lambda d: lib.oxi_outer_push(d.dp, S, d.buf, STRIDE, d.len, d.addr, 65),
    "outer_push from nowhere": lambda d: lib.oxi_outer_push(d.dp, S, d.buf, STRIDE, d.len, address(0), 1),
    "outer_push from carrier": lambda d: lib.oxi_outer_push(d.dp, S, d.buf, STRIDE, d.len, address(1), 1),
    "outer_push family": lambda d: lib.oxi_outer_push(d.dp, S, d.buf, STRIDE, d.len, address(255), 1),
    "outer_push sock": lambda d: lib.oxi_outer_push(d.dp, S, d.buf, STRIDE, d.len, address(sock=8), 1),
    "inner_pop buf": lambda d: lib.oxi_inner_pop(d.dp, NULL, STRIDE, d.len, d.peers, 1),
    "inner_pop len": lambda d: lib.oxi_inner_pop(d.dp, d.buf, STRIDE, NULL, d.peers, 1),
    "inner_pop peer": lambda d: lib.oxi_inner_pop(d.dp, d.buf, STRIDE, d.len, NULL, 1),
    "inner_pop stride": lambda d: lib.oxi_inner_pop(d.dp, d.buf, STRIDE - 1, d.len, d.peers, 1),
    "outer_pop buf": lambda d: lib.oxi_outer_pop(d.dp, NULL, STRIDE, d.len, d.addr, 1),
    "train_pop buf": lambda d: lib.oxi_train_pop(d.dp, NULL, STRIDE, d.len, d.addr, 1),
    "outer_pop len": lambda d: lib.oxi_outer_pop(d.dp, d.buf, STRIDE, NULL, d.addr, 1),
    "train_pop len": lambda d: lib.oxi_train_pop(d.dp, d.buf, STRIDE, NULL, d.addr, 1),
    "outer_pop to": lambda d: lib.oxi_outer_pop(d.dp, d.buf, STRIDE, d.len, NULL, 1),
    "train_pop to": lambda d: lib.oxi_train_pop(d.dp, d.buf, STRIDE, d.len, NULL, 1),
    "outer_pop stride": lambda d: lib.oxi_outer_pop(d.dp, d.buf, STRIDE - 1, d.len, d.addr, 1),
    "train_pop stride": lambda d: lib.oxi_train_pop(d.dp, d.buf, STRIDE - 1, d.len, d.addr, 1),
    "super_push data": lambda d: lib.oxi_super_push(d.dp, S, NULL, 1, d.how),
    "super_push how": lambda d: lib.oxi_super_push(d.dp, S, d.buf, 1, NULL),
    "super_push length": lambda d: lib.oxi_super_push(d.dp, S, d.buf, lib.OXI_SUPER_MAX + 1, d.how),
    "super_pop buf": lambda d: lib.oxi_super_pop(d.dp, NULL, STRIDE * 8, d.len, d.number, d.how),
    "super_pop room": lambda d: lib.oxi_super_pop(
        d.dp, d.buf, lib.OXI_SUPER_MAX - 1, d.len, d.number, d.how
    ),
    "super_pop len": lambda d: lib.oxi_super_pop(d.dp, d.buf, STRIDE * 8, NULL, d.number, d.how),
    "super_pop packets": lambda d: lib.oxi_super_pop(d.dp, d.buf, STRIDE * 8, d.len, NULL, d.how),
    "super_pop how": lambda d: lib.oxi_super_pop(d.dp, d.buf, STRIDE * 8, d.len, d.number, NULL),
    "offload_set": lambda d: lib.oxi_offload_set(d.dp, lib.OXI_OFFLOAD_ALL + 1),
    "oracle_features packet": lambda d: lib.oxi_oracle_features(NULL, 1, 0, 0, FLOATS),
    "oracle_features len": lambda d: lib.oxi_oracle_features(d.buf, lib.OXI_SUPER_MAX + 1, 0, 0, FLOATS),
    "oracle_features out": lambda d: lib.oxi_oracle_features(d.buf, 1, 0, 0, NULL),
    "oracle_scores model": lambda d: lib.oxi_oracle_scores(NULL, FLOATS, FLOATS),
    "oracle_scores features": lambda d: lib.oxi_oracle_scores(oracle_model(), NULL, FLOATS),
    "oracle_scores out": lambda d: lib.oxi_oracle_scores(oracle_model(), FLOATS, NULL),
    "oracle_judge features": lambda d: lib.oxi_oracle_judge(NULL, NULL, 1, d.number),
    "oracle_judge out": lambda d: lib.oxi_oracle_judge(NULL, FLOATS, 1, NULL),
    "oracle_set model": lambda d: lib.oxi_oracle_set(d.dp, oracle_model(float("nan")), 1),
    "oracle_stats_read out": lambda d: lib.oxi_oracle_stats_read(d.dp, NULL),
    "oracle_ask packet": lambda d: lib.oxi_oracle_ask(d.dp, NULL, d.number, oracle_ticket()),
    "oracle_ask data": lambda d: lib.oxi_oracle_ask(d.dp, oracle_packet(NULL), d.number, oracle_ticket()),
    "oracle_ask no IP": lambda d: lib.oxi_oracle_ask(d.dp, oracle_packet(d.buf), d.number, oracle_ticket()),
    "oracle_ask out": lambda d: lib.oxi_oracle_ask(d.dp, oracle_packet(WHOLE), NULL, oracle_ticket()),
    "oracle_ask ticket": lambda d: lib.oxi_oracle_ask(d.dp, oracle_packet(WHOLE), d.number, NULL),
    "oracle_learn ticket": lambda d: lib.oxi_oracle_learn(d.dp, NULL, 1),
    "oracle_learn bare": lambda d: lib.oxi_oracle_learn(d.dp, oracle_ticket(bare=4), 1),
    "repair_set null": lambda d: lib.oxi_repair_set(d.dp, NULL),
    "repair_set mode": lambda d: lib.oxi_repair_set(d.dp, repair_conf(mode=lib.OXI_REPAIR_AUTO + 1)),
    "repair_set overhead": lambda d: lib.oxi_repair_set(d.dp, repair_conf(overhead_permille=4001)),
    "repair_set ordered": lambda d: lib.oxi_repair_set(d.dp, repair_conf(overhead_ordered_permille=4001)),
    "repair_wish path": lambda d: lib.oxi_repair_wish(d.dp, S, 0, 4, 0, 0, 1),
    "repair_wish regime": lambda d: lib.oxi_repair_wish(d.dp, S, 0, 0, lib.OXI_REGIME_CONGESTED + 1, 0, 1),
    "repair_wish redundancy": lambda d: lib.oxi_repair_wish(d.dp, S, 0, 0, 0, 1001, 1),
    "repair_wish no copies": lambda d: lib.oxi_repair_wish(d.dp, S, 0, 0, 0, 0, 0),
    "repair_wish copies": lambda d: lib.oxi_repair_wish(d.dp, S, 0, 0, 0, 0, 4),
    "repair_stats_read out": lambda d: lib.oxi_repair_stats_read(d.dp, NULL),
    "paths_read rows": lambda d: lib.oxi_paths_read(d.dp, 0, NULL, 1),
    "compression_set null": lambda d: lib.oxi_compression_set(d.dp, NULL, 1),
    "compression_set without room": lambda d: lib.oxi_compression_set(d.dp, lz_rules((53, 17, 0)), 1),
    "compression_stats_read out": lambda d: lib.oxi_compression_stats_read(d.dp, NULL),
    "classes_set null": lambda d: lib.oxi_classes_set(d.dp, NULL, 1),
    "classes_set many": lambda d: lib.oxi_classes_set(d.dp, class_rules(*[{}] * 65), 65),
    "classes_set class": lambda d: lib.oxi_classes_set(d.dp, class_rules({"traffic_class": 6}), 1),
    "classes_set dscp": lambda d: lib.oxi_classes_set(d.dp, class_rules({"dscp": 65}), 1),
    "classes_set family": lambda d: lib.oxi_classes_set(d.dp, class_rules({"family": 1}), 1),
    "classes_set any/1": lambda d: lib.oxi_classes_set(d.dp, class_rules({"bits": 1}), 1),
    "classes_set /33": lambda d: lib.oxi_classes_set(d.dp, class_rules({"family": 4, "bits": 33}), 1),
    "classes_set /129": lambda d: lib.oxi_classes_set(d.dp, class_rules({"family": 6, "bits": 129}), 1),
    "flows_read out": lambda d: lib.oxi_flows_read(d.dp, S, NULL, 1),
    "flows_read many": lambda d: lib.oxi_flows_read(d.dp, S, ffi.new("oxi_flow *"), 16 * 1024 + 1),
    "stats_read out": lambda d: lib.oxi_stats_read(d.dp, NULL),
    "peer_stats_read out": lambda d: lib.oxi_peer_stats_read(d.dp, 0, NULL),
    "stage_times_read out": lambda d: lib.oxi_stage_times_read(d.dp, NULL),
    "io_start conf": lambda d: lib.oxi_io_start(d.dp, NULL, d.errno),
    "io_start errno": lambda d: lib.oxi_io_start(d.dp, io_conf(), NULL),
    "io_start tun": lambda d: lib.oxi_io_start(d.dp, io_conf(tun_fds=[-1] * 16), d.errno),
    "io_start notify": lambda d: lib.oxi_io_start(d.dp, io_conf(notify_fd=-1), d.errno),
    "io_start no sock": lambda d: lib.oxi_io_start(d.dp, io_conf(sock_count=0), d.errno),
    "io_start socks": lambda d: lib.oxi_io_start(d.dp, io_conf(sock_count=9), d.errno),
    "io_start sock": lambda d: lib.oxi_io_start(d.dp, io_conf(sock_fds=[-1] * 128), d.errno),
}


def io_conf(**changes: Any) -> Any:
    return ffi.new(
        "oxi_io_conf *", {"notify_fd": 0, "sock_count": 1, **changes}
    )


@pytest.mark.parametrize("name", ARG)
def test_bad_argument_is_refused_and_changes_nothing(door: Door, name: str) -> None:
    before = door.state()
    assert ARG[name](door) == lib.OXI_E_ARG
    assert door.state() == before


ABSENT: dict[str, Callable[[Door, int], int]] = {
    "peer_timers": lambda d, n: lib.oxi_peer_timers(d.dp, n, 0, S),
    "peer_remove": lambda d, n: lib.oxi_peer_remove(d.dp, n),
    "routes_set": lambda d, n: lib.oxi_routes_set(d.dp, prefix(peer=n), 1),
    "path_set": lambda d, n: lib.oxi_path_set(d.dp, n, 0, address(), 1444),
    "path_payload": lambda d, n: lib.oxi_path_payload(d.dp, n, 0, 1444),
    "session_install": lambda d, n: lib.oxi_session_install(d.dp, S, n, session()),
    "session_send": lambda d, n: lib.oxi_session_send(d.dp, S, n),
    "session_drop": lambda d, n: lib.oxi_session_drop(d.dp, n),
    "epoch_install": lambda d, n: lib.oxi_epoch_install(d.dp, S, n, 1, KEY_A, KEY_B),
    "epoch_send": lambda d, n: lib.oxi_epoch_send(d.dp, S, n, 0),
    "ping": lambda d, n: lib.oxi_ping(d.dp, S, n, 0, NULL, 1, 0, 0),
    "repair_wish": lambda d, n: lib.oxi_repair_wish(d.dp, S, n, 0, 0, 0, 1),
    "carrier_push": lambda d, n: lib.oxi_carrier_push(d.dp, S, n, d.buf, STRIDE, d.len, 1),
    "peer_stats_read": lambda d, n: lib.oxi_peer_stats_read(d.dp, n, d.peer_stats),
}


@pytest.mark.parametrize("name", ABSENT)
def test_peer_that_is_not_there(door: Door, name: str) -> None:
    before = door.state()
    for number in (1, *NO_PEERS):
        assert ABSENT[name](door, number) == lib.OXI_E_ABSENT
    assert door.state() == before


NO_PLANE: dict[str, Callable[[], int]] = {
    "peer_add": lambda: lib.oxi_peer_add(NULL, 0, S, 1, ffi.new("uint32_t *")),
    "peer_timers": lambda: lib.oxi_peer_timers(NULL, 0, 0, S),
    "peer_remove": lambda: lib.oxi_peer_remove(NULL, 0),
    "routes_set": lambda: lib.oxi_routes_set(NULL, prefix(), 1),
    "path_set": lambda: lib.oxi_path_set(NULL, 0, 0, address(), 1444),
    "path_payload": lambda: lib.oxi_path_payload(NULL, 0, 0, 1444),
    "index_pick": lambda: lib.oxi_index_pick(NULL, 1, ffi.new("uint32_t *")),
    "session_install": lambda: lib.oxi_session_install(NULL, S, 0, session()),
    "session_send": lambda: lib.oxi_session_send(NULL, S, 0),
    "session_drop": lambda: lib.oxi_session_drop(NULL, 0),
    "epoch_install": lambda: lib.oxi_epoch_install(NULL, S, 0, 1, KEY_A, KEY_B),
    "epoch_send": lambda: lib.oxi_epoch_send(NULL, S, 0, 1),
    "ping": lambda: lib.oxi_ping(NULL, S, 0, 0, NULL, 1, 0, 0),
    "control_pop": lambda: lib.oxi_control_pop(NULL, *some_buffers("oxi_addr[1]"), 1),
    "event_pop": lambda: lib.oxi_event_pop(NULL, ffi.new("oxi_event[1]"), 1),
    "carrier_pop": lambda: lib.oxi_carrier_pop(NULL, *some_buffers("uint32_t[1]"), 1),
    "carrier_push": lambda: lib.oxi_carrier_push(NULL, S, 0, b"x" * STRIDE, STRIDE, [1], 1),
    "stats_read": lambda: lib.oxi_stats_read(NULL, ffi.new("oxi_stats *")),
    "peer_stats_read": lambda: lib.oxi_peer_stats_read(NULL, 0, ffi.new("oxi_peer_stats *")),
    "inner_push": lambda: lib.oxi_inner_push(NULL, S, b"x" * STRIDE, STRIDE, [1], 1),
    "inner_pop": lambda: lib.oxi_inner_pop(NULL, *some_buffers("uint32_t[1]"), 1),
    "outer_push": lambda: lib.oxi_outer_push(NULL, S, b"x" * STRIDE, STRIDE, [1], address(), 1),
    "outer_pop": lambda: lib.oxi_outer_pop(NULL, *some_buffers("oxi_addr[1]"), 1),
    "train_pop": lambda: lib.oxi_train_pop(NULL, *some_buffers("oxi_addr[1]"), 1),
    "super_push": lambda: lib.oxi_super_push(NULL, S, b"x", 1, ffi.new("oxi_super *")),
    "super_pop": lambda: lib.oxi_super_pop(
        NULL, b"x" * 9 * STRIDE, 9 * STRIDE, *[ffi.new("uint32_t *")] * 2, ffi.new("oxi_super *")
    ),
    "offload_set": lambda: lib.oxi_offload_set(NULL, 0),
    "repair_set": lambda: lib.oxi_repair_set(NULL, repair_conf()),
    "repair_wish": lambda: lib.oxi_repair_wish(NULL, S, 0, 0, 0, 0, 1),
    "repair_stats_read": lambda: lib.oxi_repair_stats_read(NULL, ffi.new("oxi_repair_stats *")),
    "paths_read": lambda: lib.oxi_paths_read(NULL, 0, ffi.new("oxi_path_row[1]"), 1),
    "classes_set": lambda: lib.oxi_classes_set(NULL, NULL, 0),
    "flows_read": lambda: lib.oxi_flows_read(NULL, S, NULL, 0),
    "compression_set": lambda: lib.oxi_compression_set(NULL, NULL, 0),
    "compression_stats_read": lambda: lib.oxi_compression_stats_read(
        NULL, ffi.new("oxi_compression_stats *")
    ),
    "oracle_set": lambda: lib.oxi_oracle_set(NULL, NULL, 1),
    "oracle_stats_read": lambda: lib.oxi_oracle_stats_read(NULL, ffi.new("oxi_oracle_stats *")),
    "oracle_ask": lambda: lib.oxi_oracle_ask(
        NULL, oracle_packet(WHOLE), ffi.new("uint32_t *"), oracle_ticket()
    ),
    "oracle_learn": lambda: lib.oxi_oracle_learn(NULL, oracle_ticket(), 1),
    "stage_times_read": lambda: lib.oxi_stage_times_read(NULL, ffi.new("oxi_stage_time[48]")),
    "io_start": lambda: lib.oxi_io_start(NULL, io_conf(), ffi.new("int *")),
    "io_stop": lambda: lib.oxi_io_stop(NULL),
    "hdr_ack": lambda: lib.oxi_hdr_ack(NULL, 0, 0),
    "hdr_compress": lambda: lib.oxi_hdr_compress(NULL, 0, 0, b"x", 1, *hdr_buffers()),
    "hdr_restore": lambda: lib.oxi_hdr_restore(NULL, 0, 0, b"x", 1, hdr_buffers()[0], 9, hdr_buffers()[1]),
    "hdr_run": lambda: lib.oxi_hdr_run(
        NULL, b"x", ffi.new("uint64_t[2]"), 1, ffi.new("oxi_hdr_event[1]"), 0, *hdr_buffers()
    ),
    "lz_class": lambda: lib.oxi_lz_class(NULL, b"x", 1),
    "lz_compress": lambda: lib.oxi_lz_compress(
        NULL, 0, 0, 0, b"x", 1, ffi.new("uint8_t[9]"), 9, ffi.new("uint32_t *")
    ),
    "lz_restore": lambda: lib.oxi_lz_restore(NULL, 0, ffi.new("uint8_t[9]"), 9, ffi.new("uint32_t *")),
    "rlc_known": lambda: lib.oxi_rlc_known(NULL, 0, 0, b"x", 1),
    "rlc_repair": lambda: lib.oxi_rlc_repair(NULL, 0, 0, 1, FRAME, ffi.new("uint32_t *")),
    "rlc_add": lambda: lib.oxi_rlc_add(NULL, 0, 0, FRAME, 9, 0),
    "rlc_next": lambda: lib.oxi_rlc_next(
        NULL, ffi.new("uint64_t *"), ffi.new("uint32_t *"), FRAME, ffi.new("uint32_t *")
    ),
    "rlc_expire": lambda: lib.oxi_rlc_expire(NULL, 0, 0),
    "rlc_state_read": lambda: lib.oxi_rlc_state_read(NULL, *[ffi.new("uint32_t *")] * 2),
}


def some_buffers(third: str) -> tuple[Any, ...]:
    return ffi.new("uint8_t[]", STRIDE), STRIDE, ffi.new("uint32_t[1]"), ffi.new(third)


def hdr_buffers() -> tuple[Any, Any]:
    return ffi.new("uint8_t[]", int(lib.OXI_HDR_CODED_MAX)), ffi.new("oxi_hdr_row *")


@pytest.mark.parametrize("name", NO_PLANE)
def test_no_plane(name: str) -> None:
    assert NO_PLANE[name]() == lib.OXI_E_ARG


def test_no_plane_where_there_is_no_error_code() -> None:
    lib.oxi_dp_free(NULL)
    assert lib.oxi_tick(NULL, 5) == 2**64 - 1
    assert lib.oxi_aead_used(NULL) == lib.OXI_AEAD_AUTO


def test_every_function_is_tried() -> None:
    """A new function of oxi.h comes with its bad arguments."""
    functions = {name.removeprefix("oxi_") for name in dir(lib) if name.startswith("oxi_")}
    others = {
        "abi",
        "aead_name",
        "aead_trouble",
        "aead_used",
        "aead_version",
        "clock_ns",
        "drop_help",
        "drop_name",
        "class_name",
        "why_name",
        "dp_free",
        "dp_new",
        "gf256_inverse",
        "gf256_mul_add",
        "gf256_trouble",
        "hdr_free",
        "hdr_new",
        "hdr_profile_name",
        "hdr_verdict_name",
        "lz_digest",
        "lz_free",
        "lz_name",
        "lz_new",
        "lz_result_name",
        "lz_text",
        "oracle_feature_help",
        "oracle_feature_max",
        "oracle_feature_name",
        "oracle_features",
        "oracle_is_worth",
        "oracle_judge",
        "oracle_scores",
        "oracle_verdict_name",
        "rlc_coefficient",
        "rlc_expand",
        "rlc_free",
        "rlc_new",
        "rlc_result_name",
        "stage_name",
        "suite_best",
        "tick",
    }
    assert functions == set(NO_PLANE) | others


BAD_RULES: dict[str, tuple[tuple[int, int, int], ...]] = {
    "port 0": ((0, 17, 0),),
    "protocol": ((53, 1, 0),),
    "dictionary": ((53, 17, 6),),
    "one twice": ((53, 17, 0), (54, 17, 0), (53, 17, 1)),
    "too many": tuple((n + 1, 17, 0) for n in range(lib.OXI_LZ_RULES_MAX + 1)),
}


@pytest.mark.parametrize("name", BAD_RULES)
def test_bad_rules_change_nothing(name: str) -> None:
    plane = ffi.gc(lib.oxi_dp_new(conf(compress_payload=1, workers=2)), lib.oxi_dp_free)
    rules = BAD_RULES[name]
    assert lib.oxi_compression_set(plane, lz_rules(*rules), len(rules)) == lib.OXI_E_ARG
    assert lib.oxi_compression_set(plane, lz_rules(*rules), 2**32 - 1) == lib.OXI_E_ARG
    assert lib.oxi_compression_set(plane, lz_rules((53, 17, 5), (53, 6, 1)), 2) == lib.OXI_OK
    assert lib.oxi_compression_set(plane, NULL, 0) == lib.OXI_OK


def test_repair_needs_room(door: Door) -> None:
    """Without it nothing can be kept; with it every mode and all limits themselves are good."""
    assert lib.oxi_repair_set(door.dp, repair_conf(mode=lib.OXI_REPAIR_OFF)) == lib.OXI_OK
    assert lib.oxi_repair_set(door.dp, repair_conf()) == lib.OXI_E_ABSENT
    plane = ffi.gc(lib.oxi_dp_new(conf(repair_bytes=65536, workers=2)), lib.oxi_dp_free)
    most = {"overhead_permille": 4000, "overhead_ordered_permille": 4000}
    for mode in range(lib.OXI_REPAIR_AUTO + 1):
        assert lib.oxi_repair_set(plane, repair_conf(mode=mode, **most)) == lib.OXI_OK
    assert lib.oxi_peer_add(plane, 0, S, 1, door.number) == lib.OXI_OK
    assert lib.oxi_repair_wish(plane, S, 0, 3, lib.OXI_REGIME_CONGESTED, 1000, 3) == lib.OXI_OK
    assert lib.oxi_paths_read(plane, 0, ffi.new("oxi_path_row[1]"), 0) == 0, "nothing was sent"


BAD_HOLDS = [[5 * 10**6 + 1], [0, 2**64 - 1], [0, 0, 5 * 10**6 + 1], [0, 0, 0, 0, 0, 5 * 10**6 + 1]]
BAD_CONF: dict[str, Any] = {
    "hold_ns": BAD_HOLDS,
    "flows": (lib.OXI_HDR_FLOWS_MAX + 1, 2**32 - 1),
    "headers": (2, 2**32 - 1),
    "compress_payload": (2, 2**32 - 1),
    "repair_bytes": (1, 65535, (1 << 26) + 1, 2**32 - 1),
    "order": (3, 2**32 - 1),
    "peers_max": (0, lib.OXI_PEERS_LIMIT + 1, 2**32 - 1),
    "routes_max": (0, 65537, 2**32 - 1),
    "pool_pkts": (0, 255, 8193, 2**32 - 1),
    "workers": (0, 17, 2**32 - 1),
    "mtu_bytes": (0, lib.OXI_MTU_MIN - 1, lib.OXI_MTU_MAX + 1, 2**32 - 1),
    "rekey_packets": (0, (1 << 28) + 1, 2**64 - 1),
    "key_packets_max": (0, (1 << 20) - 1, (1 << 28) + 1, 2**64 - 1),
    "aead": (3, 2**32 - 1),
}


@pytest.mark.parametrize(("name", "value"), [(name, v) for name, values in BAD_CONF.items() for v in values])
def test_bad_configuration(name: str, value: Any) -> None:
    assert lib.oxi_dp_new(conf(**{name: value})) == NULL


def test_no_configuration() -> None:
    assert lib.oxi_dp_new(NULL) == NULL


@pytest.mark.parametrize(
    "limits",
    [
        {},
        {"peers_max": 1, "routes_max": 1},
        {"repair_bytes": 65536, "order": 1},
        {"repair_bytes": 1 << 26},
        {"mtu_bytes": 9000, "pool_pkts": 8192},
        {
            "flows": lib.OXI_HDR_FLOWS_MAX, "headers": 1, "compress_payload": 1, "order": 1,
            "hold_ns": [5 * 10**6] * 6,
        },
        {"order": 1, "peers_max": 300},
    ],
)
def test_limits_themselves_are_good(limits: dict[str, Any]) -> None:
    plane = lib.oxi_dp_new(conf(**limits))
    assert plane != NULL
    lib.oxi_dp_free(plane)


def test_names_end() -> None:
    for function in (lib.oxi_drop_name, lib.oxi_drop_help, lib.oxi_class_name, lib.oxi_why_name):
        assert function(0) != NULL
        assert function(lib.OXI_DROPS_MAX) == function(2**32 - 1) == NULL
    for function in (lib.oxi_oracle_feature_name, lib.oxi_oracle_feature_help):
        assert function(lib.OXI_ORACLE_FEATURES - 1) != NULL
        assert function(lib.OXI_ORACLE_FEATURES) == function(2**32 - 1) == NULL
    assert lib.oxi_oracle_feature_max(lib.OXI_ORACLE_FEATURES) == lib.oxi_oracle_feature_max(2**32 - 1) == 0
    assert lib.oxi_oracle_verdict_name(3) != NULL
    assert lib.oxi_oracle_verdict_name(4) == lib.oxi_oracle_verdict_name(2**32 - 1) == NULL
    for function in (lib.oxi_aead_name, lib.oxi_aead_version, lib.oxi_aead_trouble):
        assert function(lib.OXI_AEAD_AUTO) == function(3) == function(2**32 - 1) == NULL
    assert lib.oxi_stage_name(lib.OXI_DIR_OUT, 2**32 - 1) == lib.oxi_stage_name(77, 2**32 - 1) == NULL


def test_lengths_beyond_the_stride(door: Door) -> None:
    door.len[1] = 41
    before = door.state()
    assert lib.oxi_inner_push(door.dp, S, door.buf, 40, door.len, 2) == lib.OXI_E_ARG
    assert lib.oxi_outer_push(door.dp, S, door.buf, 40, door.len, door.addr, 2) == lib.OXI_E_ARG
    assert lib.oxi_carrier_push(door.dp, S, 0, door.buf, 40, door.len, 2) == lib.OXI_E_ARG
    assert door.state() == before


def test_no_more_peers_than_were_asked_for(door: Door) -> None:
    assert lib.oxi_peer_add(door.dp, 0, S, 1, door.number) == lib.OXI_OK
    assert lib.oxi_peer_add(door.dp, 0, S, 1, door.number) == lib.OXI_E_FULL
    assert lib.oxi_peer_remove(door.dp, 0) == lib.OXI_OK
    assert lib.oxi_peer_add(door.dp, 0, S, 1, door.number) == lib.OXI_OK
    assert door.number[0] == 0


def test_an_index_can_be_had_whatever_sessions_there_are(door: Door) -> None:
    """All peers with a session before, one that sends and one being made: the next still finds its place."""
    assert lib.oxi_peer_add(door.dp, 0, S, 1, door.number) == lib.OXI_OK
    for turn in range(40):
        assert lib.oxi_index_pick(door.dp, turn % 3 * 0x7FFFFF, door.number) == lib.OXI_OK
        made = session(rx_index=door.number[0], may_send=int(turn % 5 > 1))
        assert lib.oxi_session_install(door.dp, S, turn % 2, made) == lib.OXI_OK
