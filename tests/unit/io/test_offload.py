"""Which offloads are on: as the operator wishes, as the kernel says, and as the self-test finds it."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import socket
from collections.abc import Callable
from typing import Any

import pytest

from oxidized.config_schema import OffloadConfig
from oxidized.core.plane import Offload
from oxidized.errors import Exit
from oxidized.io import offload
from oxidized.io.failure import StartError
from oxidized.io.offload import TSO_FLAGS, UDP_GRO, UDP_SEGMENT, USO_FLAGS, offloads_choose, wants_header

ALL = Offload.TSO | Offload.USO | Offload.GSO | Offload.GRO
NAMES = ("tso", "uso", "gso", "gro")
TUN_FD = 77

Receive = Callable[[socket.socket, int, int], Any]


def wish(**wishes: str) -> OffloadConfig:
    return OffloadConfig(**{name: wishes.get(name, "auto") for name in NAMES})  # type: ignore[arg-type]


class Tun:
    """The ioctls of a TUN device; `refuses` some flags."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, refuses: int = 0, why: int = errno.EINVAL) -> None:
        self.set: list[int] = []
        self.refuses, self.why = refuses, why
        monkeypatch.setattr(fcntl, "ioctl", self.ioctl)

    def ioctl(self, fd: int, request: int, flags: int) -> int:
        assert (fd, request) == (TUN_FD, offload.TUNSETOFFLOAD)
        if flags & self.refuses:
            raise OSError(self.why, os.strerror(self.why))
        self.set.append(flags)
        return 0


def test_all_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    tun = Tun(monkeypatch)
    found = offloads_choose(wish(), TUN_FD)
    assert (found.on, found.why_off) == (ALL, {})
    assert tun.set == [TSO_FLAGS, TSO_FLAGS | USO_FLAGS], "the last one counts, and has both"
    assert str(found) == "tso, uso, gso, gro"


@pytest.mark.parametrize("name", NAMES)
def test_off_is_off(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    tun = Tun(monkeypatch)
    found = offloads_choose(wish(**{name: "off"}), TUN_FD)
    lost = Offload[name.upper()] | (Offload.USO if name == "tso" else Offload(0))
    assert found.on == ALL & ~lost
    assert found.why_off[name] == "switched off"
    assert found.why_off.get("uso", "") == {"tso": "needs tso", "uso": "switched off"}.get(name, "")
    assert tun.set == {"tso": [], "uso": [TSO_FLAGS]}.get(name, [TSO_FLAGS, TSO_FLAGS | USO_FLAGS])


@pytest.mark.parametrize("name", NAMES)
def test_on_is_on(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    Tun(monkeypatch)
    assert offloads_choose(wish(**{name: "on"}), TUN_FD).on == ALL


def test_everything_off_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    tun = Tun(monkeypatch)
    monkeypatch.setattr(offload, "_train_test", lambda **_: pytest.fail("nobody asked for a test"))
    found = offloads_choose(wish(**dict.fromkeys(NAMES, "off")), TUN_FD)
    assert (found.on, tun.set) == (Offload(0), [])
    assert str(found) == ", ".join(f"{name} off (switched off)" for name in NAMES)


def test_the_header_goes_with_tso() -> None:
    assert [wants_header(wish(tso=each)) for each in ("auto", "on", "off")] == [True, True, False]
    assert wants_header(wish(uso="off"))


@pytest.mark.parametrize(
    ("refuses", "on"),
    [(offload.TUN_F_USO4, ALL & ~Offload.USO), (offload.TUN_F_CSUM, Offload.GSO | Offload.GRO)],
)
def test_a_device_that_refuses(monkeypatch: pytest.MonkeyPatch, refuses: int, on: Offload) -> None:
    Tun(monkeypatch, refuses)
    found = offloads_choose(wish(), TUN_FD)
    assert found.on == on
    assert "the TUN device refused: Invalid argument" in found.why_off.values()


@pytest.mark.parametrize("name", ["tso", "uso"])
def test_on_and_refused_is_one_line(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    Tun(monkeypatch, offload.TUN_F_USO6 if name == "uso" else offload.TUN_F_TSO4)
    with pytest.raises(StartError) as refused:
        offloads_choose(wish(**{name: "on"}), TUN_FD)
    assert str(refused.value) == (
        f'[offload] {name} = "on", but it does not work here: the TUN device refused: Invalid argument'
    )
    assert refused.value.exit_code == Exit.FAILURE == 1


def test_uso_on_without_tso(monkeypatch: pytest.MonkeyPatch) -> None:
    Tun(monkeypatch)
    with pytest.raises(StartError, match=re.escape('[offload] uso = "on", but') + ".*: needs tso$"):
        offloads_choose(wish(tso="off", uso="on"), TUN_FD)


# ---- a kernel that says yes and does otherwise ----


def real(sock: socket.socket, size: int, room: int) -> Any:
    return socket.socket.__base__.recvmsg(sock, size, room)  # type: ignore[union-attr]


def corrupted(sock: socket.socket, size: int, room: int) -> Any:
    data, *rest = real(sock, size, room)
    return (data[:-1] + bytes([data[-1] ^ 1]), *rest)


def told_wrong(sock: socket.socket, size: int, room: int) -> Any:
    """Says that the parts are one byte smaller."""
    data, ancillary, *rest = real(sock, size, room)
    wrong = [(level, kind, bytes([value[0] - 1]) + value[1:]) for level, kind, value in ancillary]
    return (data, wrong, *rest)


def not_told(sock: socket.socket, size: int, room: int) -> Any:
    data, _, *rest = real(sock, size, room)
    return (data, [], *rest)


class Glued:
    """Hands over all datagrams as one."""

    def __call__(self, sock: socket.socket, size: int, room: int) -> Any:
        data = b""
        while len(data) < offload._TEST_SEGMENT_BYTES * 5 // 2:
            part, *rest = real(sock, size, room)
            data += part
        return (data, [], *rest[1:])


class Recut:
    """As many bytes, cut elsewhere, and none larger than was asked for."""

    def __init__(self) -> None:
        self.left = b""

    def __call__(self, sock: socket.socket, size: int, room: int) -> Any:
        if not self.left:
            self.left, *_ = Glued()(sock, size, room)
        part, self.left = self.left[:500], self.left[500:]
        return part, [], 0, None


def broken(monkeypatch: pytest.MonkeyPatch, receive: Receive) -> None:
    class Broken(socket.socket):
        def recvmsg(self, size: int, room: int = 0, flags: int = 0) -> Any:
            return receive(self, size, room)

    monkeypatch.setattr(offload.socket, "socket", Broken)


@pytest.mark.parametrize(
    ("receive", "lost"),
    [
        (real, Offload(0)),
        (corrupted, Offload.GSO | Offload.GRO),
        (told_wrong, Offload.GRO),
        (not_told, Offload.GRO),
        (Glued(), Offload.GSO | Offload.GRO),
        (Recut(), Offload.GSO | Offload.GRO),
    ],
    ids=["right", "corrupted", "told-wrong", "not-told", "glued", "recut"],
)
def test_the_self_test_sees_what_the_kernel_does(
    monkeypatch: pytest.MonkeyPatch, receive: Receive, lost: Offload
) -> None:
    Tun(monkeypatch)
    with monkeypatch.context() as patch:
        broken(patch, receive)
        found = offloads_choose(wish(), TUN_FD)
    assert found.on == ALL & ~lost
    assert set(found.why_off.values()) <= {"self-test over loopback: what came is not what was sent"}


def test_what_never_comes_is_given_up_after_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(sock: socket.socket, size: int, room: int) -> Any:
        assert sock.gettimeout() == 1.0
        raise TimeoutError("timed out")

    Tun(monkeypatch)
    with monkeypatch.context() as patch:
        broken(patch, nothing)
        found = offloads_choose(wish(), TUN_FD)
    assert found.why_off == dict.fromkeys(("gso", "gro"), "self-test over loopback: timed out")


class Old(socket.socket):
    """Of a kernel before Linux 4.18: UDP knows neither of the two."""

    def sendmsg(self, buffers: Any, ancillary: Any = (), *rest: Any) -> int:
        assert all(kind == UDP_SEGMENT for _, kind, _ in ancillary)
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    def setsockopt(self, level: int, option: int, *value: Any) -> None:
        assert option == UDP_GRO
        raise OSError(errno.ENOPROTOOPT, os.strerror(errno.ENOPROTOOPT))


class Middling(Old):
    """It can be asked for trains, and takes none."""

    setsockopt = socket.socket.setsockopt  # type: ignore[assignment]


@pytest.mark.parametrize(("kernel", "gro"), [(Old, Offload(0)), (Middling, Offload.GRO)])
def test_an_old_kernel(monkeypatch: pytest.MonkeyPatch, kernel: type[socket.socket], gro: Offload) -> None:
    Tun(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(offload.socket, "socket", kernel)
        found = offloads_choose(wish(), TUN_FD)
        assert found.on == Offload.TSO | Offload.USO | gro
        assert found.why_off["gso"] == "self-test over loopback: Invalid argument"
        with pytest.raises(StartError, match=r'\[offload\] gso = "on"') as refused:
            offloads_choose(wish(gso="on"), TUN_FD)
    assert refused.value.exit_code == Exit.FAILURE
