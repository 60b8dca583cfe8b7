"""Names to addresses: literals without DNS, one thread a name, and nobody waits for a hanging resolver."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from oxidized.core.plane import Address
from oxidized.io import resolver
from oxidized.io.resolver import Resolver, endpoint_split

BOTH = {socket.AF_INET: 0, socket.AF_INET6: 1}


@pytest.mark.parametrize(
    ("endpoint", "parts"),
    [
        ("hub.example.net:443", ("hub.example.net", 443)),
        ("192.0.2.1:1", ("192.0.2.1", 1)),
        ("[2001:db8::10]:65535", ("2001:db8::10", 65535)),
        ("[fe80::1%eth0]:443", ("fe80::1%eth0", 443)),
    ],
)
def test_endpoints_are_split(endpoint: str, parts: tuple[str, int]) -> None:
    assert endpoint_split(endpoint) == parts


@pytest.mark.parametrize(
    "endpoint", ["", "hub", ":443", "hub:", "hub:0", "hub:65536", "hub:-1", "hub:4x", "[]:1"]
)
def test_no_endpoints(endpoint: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        endpoint_split(endpoint)


def test_literals_need_no_dns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolver, "_getaddrinfo", lambda host: pytest.fail(f"asked for {host}"))
    endpoints = ["192.0.2.1:443", "[2001:db8::1]:443", "192.0.2.1:443", "[fe80::1%7]:443"]
    assert asyncio.run(Resolver(BOTH).resolve(endpoints)) == (
        Address("192.0.2.1", 443, sock=0),
        Address("2001:db8::1", 443, sock=1),
        Address("fe80::1", 443, sock=1, scope_id=7),
    )


def test_families_without_a_socket_are_left_out() -> None:
    only_v4 = Resolver({socket.AF_INET: 0})
    found = asyncio.run(only_v4.resolve(["[2001:db8::1]:443", "192.0.2.1:443"]))
    assert found == (Address("192.0.2.1", 443),)


def test_names_keep_their_order_and_failures_are_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"a": [("192.0.2.2", 0), ("2001:db8::2", 0)], "b": [("192.0.2.3", 0), ("192.0.2.2", 0)]}
    monkeypatch.setattr(resolver, "_getaddrinfo", lambda host: names.get(host, []))
    found = asyncio.run(Resolver(BOTH).resolve(["a:1", "nowhere:1", "b:1"]))
    assert [str(address) for address in found] == ["192.0.2.2:1", "[2001:db8::2]:1", "192.0.2.3:1"]
    assert asyncio.run(Resolver(BOTH).resolve(["nowhere:1"])) == ()


def test_a_hanging_resolver_costs_one_thread_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    release, asked = threading.Event(), []

    def hang(host: str) -> list[tuple[str, int]]:
        asked.append(host)
        release.wait(30)
        return [("192.0.2.9", 0)]

    monkeypatch.setattr(resolver, "_getaddrinfo", hang)

    async def work() -> tuple[list[tuple[Address, ...]], tuple[Address, ...]]:
        resolving = Resolver(BOTH)
        in_vain = [await resolving.resolve(["slow:1"], timeout_s=0.001) for _ in range(3)]
        crowd = [f"name{i}:1" for i in range(resolver.THREADS_MAX)]
        await asyncio.gather(*(resolving.resolve([name], timeout_s=0.001) for name in crowd))
        assert len(asked) == resolver.THREADS_MAX, "and not one more"
        waiting = asyncio.ensure_future(resolving.resolve(["slow:1"], timeout_s=30))
        for _ in range(5):  # until it waits
            await asyncio.sleep(0)
        release.set()
        return in_vain, await waiting

    in_vain, found = asyncio.run(work())
    assert in_vain == [(), (), ()] and asked.count("slow") == 1
    assert found == (Address("192.0.2.9", 1),)


def test_getaddrinfo_itself() -> None:
    assert ("127.0.0.1", 0) in resolver._getaddrinfo("localhost")
    assert resolver._getaddrinfo("no such name") == []
    assert resolver._getaddrinfo("a" * 64 + ".example") == [], "a label too long for IDNA"
