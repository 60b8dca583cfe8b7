"""Names to addresses, without ever holding up the loop.

getaddrinfo() can hang for half a minute in a dead resolver and can not be called off. So each name
is looked up in a thread of its own that nobody waits for at exit; while one hangs, a second question
for the same name waits for the same thread; and there are never more than THREADS_MAX.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping, Sequence
from ipaddress import IPv6Address, ip_address

from oxidized.core.plane import Address

TIMEOUT_S = 5.0
THREADS_MAX = 16
ADDRESSES_MAX = 16  # per question; a name with more is cut

_Answer = list[tuple[str, int]]  # (ip, scope id)


def endpoint_split(endpoint: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` to its parts; ValueError when it is neither."""
    host, colon, port_text = endpoint.rpartition(":")
    if not colon or not port_text.isascii() or not port_text.isdigit():
        raise ValueError(f"{endpoint}: not HOST:PORT")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    port = int(port_text)
    if not host or not 0 < port < 65536:
        raise ValueError(f"{endpoint}: not HOST:PORT")
    return host, port


class Resolver:
    """`families` maps an address family to the index of the socket that serves it."""

    def __init__(self, families: Mapping[socket.AddressFamily, int]) -> None:
        self._families = families
        self._under_way: dict[str, asyncio.Future[_Answer]] = {}

    async def resolve(self, endpoints: Sequence[str], timeout_s: float = TIMEOUT_S) -> tuple[Address, ...]:
        """All addresses of `endpoints` that we have a socket for, in order, each once. Empty: none
        resolved in time."""
        parts = [endpoint_split(endpoint) for endpoint in endpoints]
        answers = await asyncio.gather(*(self._host(host, timeout_s) for host, _port in parts))
        found: dict[Address, None] = {}
        for (_host, port), answer in zip(parts, answers, strict=True):
            for ip, scope_id in answer:
                family = socket.AF_INET6 if ":" in ip else socket.AF_INET
                if family in self._families:
                    found[Address(ip=ip, port=port, sock=self._families[family], scope_id=scope_id)] = None
        return tuple(found)[:ADDRESSES_MAX]

    async def _host(self, host: str, timeout_s: float) -> _Answer:
        try:
            literal = ip_address(host)
        except ValueError:
            return await self._name(host, timeout_s)
        if isinstance(literal, IPv6Address):
            return [(str(literal).partition("%")[0], _scope_id(literal.scope_id))]
        return [(str(literal), 0)]

    async def _name(self, host: str, timeout_s: float) -> _Answer:
        waiting = self._under_way.get(host)
        if waiting is None:
            if len(self._under_way) >= THREADS_MAX:
                return []
            waiting = self._look_up(host)
        try:
            return await asyncio.wait_for(asyncio.shield(waiting), timeout_s)
        except TimeoutError:
            return []

    def _look_up(self, host: str) -> asyncio.Future[_Answer]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[_Answer] = loop.create_future()
        self._under_way[host] = future

        def answered(answer: _Answer) -> None:
            del self._under_way[host]
            if not future.done():
                future.set_result(answer)

        def work() -> None:
            answer = _getaddrinfo(host)
            try:
                loop.call_soon_threadsafe(answered, answer)
            except RuntimeError:
                pass  # the loop is closed: nobody wants to know any more

        threading.Thread(target=work, name="oxidized-resolve", daemon=True).start()
        return future


def _getaddrinfo(host: str) -> _Answer:
    """Runs in a thread of its own. Empty when the name does not resolve."""
    try:
        infos = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return []
    answer: _Answer = []
    for family, _type, _proto, _name, sockaddr in infos:
        if family == socket.AF_INET6:
            answer.append((str(sockaddr[0]).partition("%")[0], int(sockaddr[3])))  # type: ignore[misc]
        elif family == socket.AF_INET:
            answer.append((str(sockaddr[0]), 0))
    return answer


def _scope_id(zone: str | None) -> int:
    """Index of a link-local address's zone (`%eth0` or `%2`); 0 when there is none such."""
    if not zone:
        return 0
    if zone.isdigit():
        return int(zone)
    try:
        return socket.if_nametoindex(zone)
    except OSError:
        return 0
