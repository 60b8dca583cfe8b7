"""The daemon: brings one tunnel up in order, keeps it turning, and takes all of it back in reverse order.

    config -> key -> TUN -> sockets -> DataPlane -> Tunnel -> netlink -> io thread
           -> control socket -> metrics -> READY

Each step leaves its undo on one stack, so whatever fails at whatever point, and whatever signal comes
when, what was done is undone. The loop is uvloop's where there is one (`uvloop.run`; its policy is
never installed, as pyroute2's own loop in the netlink thread must stay asyncio's).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Any

import oxidized
from oxidized import config as configuration
from oxidized.config import Config
from oxidized.core.events import (
    HandshakeRejected,
    MtuChanged,
    PeerDown,
    PeerUp,
    Rekeyed,
    Roamed,
    TransportChanged,
    TunnelEvent,
)
from oxidized.core.plane import Address, Offload, Suite
from oxidized.core.repair_health import RepairHealth
from oxidized.core.settings import PeerSettings, TunnelSettings
from oxidized.core.tunnel import Tunnel
from oxidized.errors import Absent, ConfigError, Exit, NativeError, Problem
from oxidized.ffi.dataplane import DataPlane, aead_library
from oxidized.io import clock, logs, sd_notify
from oxidized.io.control_socket import ControlSocket
from oxidized.io.driver import Driver
from oxidized.io.failure import StartError
from oxidized.io.flow_status import flows_document
from oxidized.io.metrics import MetricsServer, render
from oxidized.io.netlink import Netlink, reverse_path_is_strict
from oxidized.io.netplan import Plan, plan_make
from oxidized.io.offload import gro_enable, offloads_choose, wants_header
from oxidized.io.reload import Outcome, PeerSteps, Target, compare, peer_steps
from oxidized.io.resolver import Resolver, endpoint_split
from oxidized.io.room import bounds_of, compression_bounded, plane_make
from oxidized.io.sockets import UdpSockets
from oxidized.io.status import PeerFacts, Snapshot, document
from oxidized.io.steering import SteeringLoop
from oxidized.io.tun import tun_open
from oxidized.keys import public_of, public_text
from oxidized.ml.oracle import OracleChoice
from oxidized.ml.oracle import choose as oracle_choose

WATCH_S = 5.0  # without a watchdog; the C thread turns at least once a second
SUITE_NAMES = {Suite.AES_256_GCM: "aes-256-gcm", Suite.CHACHA20_POLY1305: "chacha20-poly1305"}

STRICT_REVERSE_PATH = (
    "a default route goes into the tunnel and the reverse-path filter is strict: set the sysctl "
    "net.ipv4.conf.all.src_valid_mark to 1, or what the hub answers is dropped"
)

log = logging.getLogger("oxidized.daemon")


class Daemon:
    """One tunnel. `run` is its whole life; the other methods are those of the control socket."""

    def __init__(self, config: Config, settings: TunnelSettings, config_path: str) -> None:
        self._config = config
        self._settings = replace(settings, compression=compression_bounded(settings))
        self._oracle = OracleChoice(None, "", "", "no payload is compressed, so it is not asked")
        self._config_path = config_path
        self._start_ns = clock.monotonic_ns()
        self._is_stopping = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._route_mtu_bytes: dict[str, int] = {}
        self._network_lock = asyncio.Lock()
        self._reload_lock = asyncio.Lock()
        self._last_reload: tuple[bool, float | None] = (True, None)
        self._waiting: set[asyncio.Future[None]] = set()
        self._heartbeats = -1
        self._is_beating = True
        self._repair_health = RepairHealth()

    # ---- life ----

    async def run(self) -> None:
        """Until SIGTERM or SIGINT. Raises StartError when it can not start; then nothing is left behind."""
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, task)
        loop.add_signal_handler(signal.SIGHUP, self._reload_soon)
        async with AsyncExitStack() as undo:
            try:
                await self._start(undo)
                await loop.create_future()
            except asyncio.CancelledError:
                if not self._is_stopping:
                    raise
            finally:
                sd_notify.notify("STOPPING=1")
                for each in self._tasks:
                    each.cancel()
        log.info("stopped")

    def _stop(self, task: asyncio.Task[Any]) -> None:
        """The first signal ends `run`; a second one must not disturb the undoing."""
        if not self._is_stopping:
            self._is_stopping = True
            log.info("stopping")
            task.cancel()

    async def _start(self, undo: AsyncExitStack) -> None:
        interface = self._config.interface
        has_header = wants_header(self._config.offload)
        tun_fds = tun_open(interface.name, queues=interface.workers, has_header=has_header)
        for fd in tun_fds:
            undo.callback(os.close, fd)
        self._offloads = offloads_choose(self._config.offload, tun_fds[0])
        self._sockets = UdpSockets(self._listen(), interface.fwmark, interface.workers)
        undo.callback(self._sockets.close)
        if self._offloads.on & Offload.GRO:
            gro_enable(self._sockets.all)
        self._plane = self._plane_make()
        undo.callback(self._plane.close)
        tunnel = Tunnel(self._settings, self._plane, os.urandom, clock.monotonic_ns())
        resolver = Resolver(self._sockets.families())
        self._tunnel = tunnel
        self._driver = Driver(tunnel, self._plane, self._sockets, resolver, self._event)
        undo.callback(self._driver.stop)
        self._netlink = Netlink(interface.name)
        undo.push_async_callback(self._netlink.close)
        await self._netlink.open()
        failures = await self._network_apply()
        if failures:
            raise StartError(f"interface {interface.name}: {failures[0]}")
        if socket.AF_INET in self._plan().rule_families and reverse_path_is_strict():
            log.warning("%s", STRICT_REVERSE_PATH)
        undo.callback(self._plane.stop)
        self._plane.offload_set(self._offloads.on)
        if self._settings.compression.rules:
            self._plane.compression_set(self._settings.compression.rules)
        self._repair_apply()
        self._steering = SteeringLoop(self._plane, self._settings.repair)
        self._plane.classes_set(self._settings.class_rules)
        self._plane.start(tun_fds, self._sockets.fds, tun_has_header=has_header)
        self._driver.start()
        await self._serve(undo)
        self._spawn(self._watch(), "watchdog")
        if self._settings.compression.rules:
            self._spawn(self._oracle_load(), "oracle")
        self._steering.start()
        undo.callback(self._steering.stop)
        log.info("%s is up: %s", interface.name, self._ports())
        log.info("offloads: %s", self._offloads)
        library = self._library()
        log.info("crypto library: %s %s", library["library"], library["library_version"])
        if library["library_reason"]:
            log.info("the faster crypto library is not used: %s", library["library_reason"])
        sd_notify.notify("READY=1", f"STATUS={self._summary()}")

    async def _serve(self, undo: AsyncExitStack) -> None:
        control = ControlSocket(self._config.control.socket, self)
        await control.start()
        undo.push_async_callback(control.close)
        self._metrics = MetricsServer(self.metrics)
        undo.push_async_callback(self._metrics.close)
        await self._metrics.listen(self._config.control.metrics)

    def _listen(self) -> list[tuple[str, int]]:
        return [endpoint_split(each) for each in self._config.listen.udp] if self._config.listen else []

    def _ports(self) -> str:
        return ", ".join(str(Address(ip=ip, port=port)) for ip, port in self._sockets.bound)

    def _plane_make(self) -> DataPlane:
        if trouble := aead_library("openssl").trouble:
            raise StartError(f"nothing here can be trusted with a key: openssl: {trouble}")
        self._bounds = bounds_of(self._settings)
        interface, crypto = self._config.interface, self._config.crypto
        return plane_make(self._settings, self._bounds, interface.workers, crypto.library)

    def _repair_apply(self) -> None:
        repair = self._settings.repair
        self._plane.repair_set(
            repair.mode, overhead=repair.overhead, overhead_ordered=repair.overhead_ordered
        )

    async def _oracle_load(self) -> None:
        """The oracle's model, which is checked in a process of its own, some 0.4 s after the tunnel is up."""
        found = await asyncio.get_running_loop().run_in_executor(None, oracle_choose, os.environ)
        self._plane.oracle_set(found.weights, int.from_bytes(os.urandom(8)))
        self._oracle = found
        if found.trouble:
            log.warning("compression oracle: the heuristic is used: %s", found.trouble)
        else:
            log.info("compression oracle: model %s of %s", found.digest[:16], found.path)

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """A task that the daemon cancels when it goes; its failure is logged, and is our bug."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("task %s failed", name, exc_info=error)

        task.add_done_callback(done)

    # ---- network ----

    def _plan(self) -> Plan:
        interface = self._config.interface
        return plan_make(
            mtu_bytes=self._settings.mtu_bytes,
            addresses=interface.address,
            table=interface.table,
            fwmark=interface.fwmark,
            peers=[
                (peer.allowed_ips, self._route_mtu_bytes.get(peer.name, 0))
                for peer in self._settings.peers
                if peer.enable
            ],
        )

    async def _network_apply(self) -> list[str]:
        """Make the kernel hold what the settings say now. One line for each thing that failed."""
        async with self._network_lock:
            return await self._netlink.apply(self._plan())

    async def _network_follow(self) -> None:
        for failure in await self._network_apply():
            log.warning("%s: %s", self._config.interface.name, failure)

    # ---- events of the tunnel ----

    def _event(self, event: TunnelEvent) -> None:
        match event:
            case PeerUp(peer):
                log.info("%s: up", peer, extra={"peer": peer})
                self._peers_moved()
            case PeerDown(peer, reason):
                log.info("%s: down (%s)", peer, reason, extra={"peer": peer, "reason": reason})
                self._peers_moved()
            case TransportChanged():
                self._transport_changed(event)
            case MtuChanged(peer, mtu_bytes):
                log.info("%s: path mtu %d", peer, mtu_bytes, extra={"peer": peer, "mtu_bytes": mtu_bytes})
                self._route_mtu_follow(peer, mtu_bytes)
            case Roamed(peer, address):
                log.info("%s: moved to %s", peer, address, extra={"peer": peer})
            case Rekeyed(peer, epoch):
                log.debug("%s: epoch %d", peer, epoch, extra={"peer": peer})
            case HandshakeRejected(peer, reason, source):
                who, extra = peer or "a stranger", {"reason": reason}
                log.warning("handshake of %s at %s rejected: %s", who, source, reason, extra=extra)
            case _:
                raise AssertionError(f"{event} belongs to the driver")

    def _transport_changed(self, event: TransportChanged) -> None:
        because = f" ({event.reason})" if event.reason else ""
        extra = {"peer": event.peer, "reason": event.reason}
        if event.transport != "none":
            log.info(
                "%s: transport %s%s, mtu %d",
                event.peer,
                event.transport,
                because,
                event.mtu_bytes,
                extra=extra,
            )
        self._route_mtu_follow(event.peer, event.mtu_bytes)

    def _route_mtu_follow(self, peer: str, mtu_bytes: int) -> None:
        """An mtu below the link's goes to the peer's routes, so that what is sent there is cut to it."""
        lower = mtu_bytes if 0 < mtu_bytes < self._settings.mtu_bytes else 0
        if self._route_mtu_bytes.get(peer, 0) != lower:
            self._route_mtu_bytes[peer] = lower
            self._spawn(self._network_follow(), "routes")

    def _peers_moved(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)
        sd_notify.notify(f"STATUS={self._summary()}")

    def _summary(self) -> str:
        peers = [peer for peer in self._tunnel.status(clock.monotonic_ns()) if peer.state != "disabled"]
        return f"{sum(peer.state == 'up' for peer in peers)}/{len(peers)} peers up"

    # ---- watchdog ----

    async def _watch(self) -> None:
        """Feeds the watchdog only while the C thread turns: this task running shows that the loop does."""
        interval_s = sd_notify.watchdog_interval_s() or WATCH_S
        while True:
            beats = int(self._plane.stats()["heartbeats"])
            self._is_beating = beats != self._heartbeats
            self._heartbeats = beats
            self._repair_health.sample(clock.monotonic_ns(), self._plane.repair_stats())
            if self._is_beating:
                sd_notify.notify("WATCHDOG=1")
            await asyncio.sleep(interval_s)

    # ---- what the control socket asks ----

    def status(self) -> dict[str, Any]:
        """`oxidized.status/1`."""
        now_ns = clock.monotonic_ns()
        is_good, reload_seconds = self._last_reload
        snapshot = Snapshot(
            now_ns=now_ns,
            start_ns=self._start_ns,
            name=self._config.name,
            version=oxidized.__version__,
            interface=self._interface(),
            peers=self._tunnel.status(now_ns),
            facts={peer.name: self._facts(peer) for peer in self._settings.peers},
            plane=self._plane,
            control={**self._tunnel.counters, **self._sockets.drops, "internal-errors": self._driver.faults},
            config={
                "last_reload_successful": is_good,
                "last_reload_timestamp_seconds": reload_seconds,
            },
            offloads=self._offloads,
            compression=self._compression(),
            repair=self._repair(),
            steered=self._steering.path,
            health=self._health(),
        )
        return document(snapshot)

    def _interface(self) -> dict[str, Any]:
        interface, settings = self._config.interface, self._settings
        suite = settings.suite
        return {
            "name": interface.name,
            "role": "hub" if settings.accept else "edge",
            "public_key": public_text(public_of(settings.private_key)),
            "mtu_bytes": settings.mtu_bytes,
            "listen": [str(Address(ip=ip, port=port)) for ip, port in self._sockets.bound],
            "addresses": [str(address) for address in interface.address],
            "suite": SUITE_NAMES[self._plane.suite_best()] if suite == "auto" else suite,
            **self._library(),
        }

    def _library(self) -> dict[str, str]:
        """The crypto library in use; where the faster one was looked for in vain, why."""
        used = self._plane.aead()
        wants_faster = self._config.crypto.library == "auto" and used.name == "openssl"
        reason = f"ipsec-mb: {aead_library('ipsec-mb').trouble}" if wants_faster else ""
        return {"library": used.name, "library_version": used.version, "library_reason": reason}

    def _compression(self) -> dict[str, Any]:
        """What of it is on; the counters are added by the document."""
        compression, oracle = self._settings.compression, self._oracle
        return {
            "headers": compression.headers,
            "flows": compression.flows,
            "payload_rules": len(compression.rules),
            "accept_payload": compression.accept_payload,
            "bundle": compression.bundle,
            "oracle": "model" if oracle.weights else "heuristic",
            "oracle_digest": oracle.digest,
            "oracle_reason": oracle.trouble,
        }

    def _repair(self) -> dict[str, Any]:
        """How it is configured, and what foretells loss; the counters are added by the document."""
        repair, settings = self._config.repair, self._settings.repair
        return {
            "mode": repair.mode,
            "max_overhead_ratio": settings.overhead,
            "max_overhead_bulk_ratio": settings.overhead_ordered,
            "order": settings.order,
            "predictor": self._steering.describe(),
        }

    def _facts(self, peer: PeerSettings) -> PeerFacts:
        return PeerFacts(
            allowed_ips=tuple(str(prefix) for prefix in peer.allowed_ips),
            keepalive_seconds=peer.keepalive_ns / 1e9,
            is_expected=peer.enable,
        )

    def _health(self) -> list[str]:
        lines = [] if self._is_beating else ["the packet path stands still"]
        if self._driver.faults:
            lines.append(f"{self._driver.faults} internal errors: see the log, and please report them")
        return lines + self._repair_health.lines() + self._steering.health()

    def flows(self, limit: int) -> dict[str, Any]:
        """`oxidized.flows/1`."""
        now_ns = clock.monotonic_ns()
        names = {peer.plane_peer: peer.name for peer in self._tunnel.status(now_ns)}
        return flows_document(self._plane.flows(now_ns), names, now_ns, limit)

    def metrics(self) -> str:
        return render(self.status())

    async def ping(self, peer: str, timeout_s: float) -> float | None:
        """Round-trip seconds; None: no session or no answer in time. Raises Absent."""
        self._known(peer)
        return await self._driver.ping(peer, timeout_s)

    async def wait(self, peer: str | None, timeout_s: float) -> bool:
        """Whether `peer` (None: every peer that is on) came up in time. Raises Absent."""
        if peer is not None:
            self._known(peer)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_s
        while not self._are_up(peer):
            future: asyncio.Future[None] = loop.create_future()
            self._waiting.add(future)
            try:
                await asyncio.wait_for(future, deadline - loop.time())
            except TimeoutError:
                return False
            finally:
                self._waiting.discard(future)
        return True

    def _are_up(self, peer: str | None) -> bool:
        return all(
            each.state == "up"
            for each in self._tunnel.status(clock.monotonic_ns())
            if each.name == peer or (peer is None and each.state != "disabled")
        )

    def _known(self, peer: str) -> None:
        if all(each.name != peer for each in self._settings.peers):
            raise Absent(f"no peer {peer}")

    def set_log_level(self, spec: str) -> None:
        logs.set_level(spec)

    # ---- reload ----

    def _reload_soon(self) -> None:
        self._spawn(self._reload_signalled(), "reload")

    async def _reload_signalled(self) -> None:
        await self.reload(False)

    async def reload(self, dry_run: bool) -> dict[str, Any]:
        """`oxidized.reload/1`. Reads the file again; changes nothing when it is wrong, or `dry_run`."""
        async with self._reload_lock:
            if not dry_run:
                sd_notify.reloading(clock.monotonic_ns())
            outcome = await self._reload(dry_run)
            if not dry_run:
                self._last_reload = (not outcome.failed, clock.wall_seconds())
                log.log(logging.ERROR if outcome.failed else logging.INFO, "reload: %s", outcome.summary())
                sd_notify.notify("READY=1", f"STATUS={self._summary()}")
            return outcome.document()

    async def _reload(self, dry_run: bool) -> Outcome:
        try:
            config = configuration.load(self._config_path)
            settings = config.to_settings()
        except ConfigError as error:
            return Outcome(failed=[("", str(error))])
        target = compare((self._config, self._settings), (config, settings), self._bounds)
        if not dry_run:
            await self._reload_apply(target)
        return target.outcome

    async def _reload_apply(self, target: Target) -> None:
        """Phase two. Each thing is tried, whatever became of the others."""
        outcome, old, new = target.outcome, self._settings, target.settings
        before = self._config
        new = replace(new, compression=self._settings.compression)  # needs a restart
        self._config, self._settings = target.config, new
        if target.config.log.level != before.log.level:
            logs.set_level(target.config.log.level)
        if new.repair != old.repair:
            self._repair_apply()
            self._steering.settings_set(new.repair)
        if new.class_rules != old.class_rules:
            self._plane.classes_set(new.class_rules)
        steps = peer_steps(old.peers, new.peers)
        self._driver.do(lambda tunnel, now_ns: _take(tunnel, new, steps, now_ns))
        for name in steps.remove:
            self._route_mtu_bytes.pop(name, None)
        for failure in await self._network_apply():
            outcome.fail("interface", failure)
        try:
            await self._metrics.listen(target.config.control.metrics)
        except StartError as error:
            outcome.fail("control.metrics", str(error))
            self._config = replace(target.config, control=before.control)
        self._peers_moved()


def _take(tunnel: Tunnel, settings: TunnelSettings, steps: PeerSteps, now_ns: int) -> None:
    tunnel.tunnel_update(settings, now_ns)
    for name in steps.remove:
        tunnel.peer_remove(name, now_ns)
    for peer in (*steps.narrow, *steps.update):
        tunnel.peer_update(peer, now_ns)
    for peer in steps.add:
        tunnel.peer_add(peer, now_ns)


def library_check(config: Config) -> None:
    """Raises ConfigError when the file wants a crypto library that can not be used here."""
    wanted = config.crypto.library
    if wanted != "auto" and (trouble := aead_library(wanted).trouble):
        message = f'"{wanted}" can not be used here: {trouble}; "auto" takes what can'
        raise ConfigError(Problem(config.file, config.library_line, "crypto.library", message))


def main(config_path: str) -> int:
    """Run the tunnel of one configuration file until it is told to stop; the exit status of the process."""
    try:
        config = configuration.load(config_path)
        settings = config.to_settings()
        library_check(config)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return Exit.CONFIG
    logs.setup(config.log.level, config.log.format)
    try:
        _loop_run(lambda: Daemon(config, settings, config_path).run())
    except StartError as error:
        log.error("%s", error)
        return error.exit_code
    except (OSError, NativeError) as error:
        log.error("can not start: %s", error)
        return Exit.FAILURE
    return Exit.OK


def _loop_run(life: Callable[[], Coroutine[Any, Any, None]]) -> None:
    try:
        import uvloop
    except ImportError:
        asyncio.run(life())
    else:
        uvloop.run(life())
