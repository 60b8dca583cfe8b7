"""odd-packets: what goes into the tunnel comes out, byte for byte, however odd, merged or split on the way.

Packets are sent raw at the edge to an address behind the hub, and captured there, on a veth pair whose
offloads are off: what the hub's kernel got as one super-packet it has cut again by then. The corpus goes
three times: one packet at a time, in bursts that the edge's daemon finds waiting, and in bursts that wait for
the hub's daemon too. Then ordinary sockets do theirs: TCP in writes of all sizes, UDP by UDP_SEGMENT.
"""

from __future__ import annotations

import random
import signal
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager

from lab.errors import LabError
from lab.odd_corpus import odd_packets
from lab.packets import Sent, Tally, compare
from lab.raw import IDLE_SECONDS, SO_RCVBUFFORCE, Capture, RawSender, family_of, offloads_off, socket_in
from lab.scenarios.base import Outcome, Parameter, Run, Scenario
from lab.topology import FAR_DEVICE, LINK_DEVICE, Site

# Nobody has these addresses: the far host captures what is for them and its kernel does not answer.
TARGETS = ("10.72.0.99", "fd72::99")
# A burst fits the queue of a TUN device (500 packets); what waits for both daemons fits a socket's buffer.
HELD_PACKETS = 60
HOLD_SECONDS = 0.03
LATE_SECONDS = 0.3
PORT = 7100
TCP_CORK_WRITES = 9
UDP_SEGMENT = 103
UDP_SENDS = 150
UDP_SEND_BYTES_MAX = 60_000
UDP_SEGMENTS_MAX = 64
SOCKET_BYTES = 32 << 20
SOCKET_SECONDS = 60.0


class OddPackets(Scenario):
    name = "odd-packets"
    summary = "bare veth; all kinds of packets and writes, in bursts; every byte the same behind the hub"
    seconds = 30.0
    has_far = True
    parameters = {
        "megabytes": Parameter("8", "TCP each way, for IPv4 and again for IPv6, in writes of all sizes"),
        "burst": Parameter("300", "packets that the edge's daemon finds waiting at once"),
        "mtu": Parameter("1500", "of the veth pair; the tunnel's is 80 less"),
    }

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        prepare(run)
        self._raw(run, outcome)
        self._tcp(run, outcome)
        self._udp(run, outcome)
        run.tunnel.expect_alive()
        return outcome

    def _raw(self, run: Run, outcome: Outcome) -> None:
        far, edge = far_of(run), (run.tunnel.edge4, run.tunnel.edge6)
        packets = odd_packets(run.seed, edge, TARGETS, run.lab.inner_mtu_bytes)
        total = Tally()
        raw, sniffer = RawSender(run.lab.edge), Capture(far, FAR_DEVICE, TARGETS)
        with closing(raw) as sender, closing(sniffer) as capture:
            bursts = int(run.number("burst"))
            for held, size in (((), 1), (("edge",), bursts), (("edge", "hub"), min(bursts, HELD_PACKETS))):
                run.say(f"{len(packets)} packets in bursts of {size}, seed {run.seed}")
                received: list[bytes] = []
                for at in range(0, len(packets), size):
                    received += burst(run, sender, capture, packets[at : at + size], held)
                received += capture.take(len(packets), LATE_SECONDS)
                total.add(compare(packets, received))
        outcome.results.update(
            odd_sent_packets=total.sent, odd_received_packets=total.received, odd_wrong_packets=total.wrong,
            odd_lost_packets=total.lost, odd_reordered_packets=total.reordered,
        )  # fmt: skip
        examples = "; ".join(total.examples)
        outcome.check("odd-content", total.wrong == 0, f"{total.wrong} wrong: {examples}")
        outcome.check("odd-lost", total.lost == 0, f"{total.lost} of {total.sent} lost: {examples}")
        outcome.check("odd-order", total.reordered == 0, f"{total.reordered} overtook within their flow")

    def _tcp(self, run: Run, outcome: Outcome) -> None:
        far, edge, tunnel = far_of(run), run.lab.edge, run.tunnel
        ways = ((edge, far, far.inner4), (far, edge, tunnel.edge4),
                (edge, far, far.inner6), (far, edge, tunnel.edge6))  # fmt: skip
        compared = wrong = 0
        for number, (source, target, address) in enumerate(ways):
            run.say(f"TCP {source.name} to {target.name} {address} in writes of all sizes")
            generator = random.Random(run.seed + number)
            data = generator.randbytes(int(run.number("megabytes") * 1e6))
            received = tcp_through(source, target, address, data, generator)
            compared += len(received)
            wrong += sum(a != b for a, b in zip(data, received, strict=False)) if data != received else 0
            whole = len(received) == len(data)
            outcome.check(f"tcp-{number}", whole, f"{len(received)} of {len(data)} bytes arrived")
        outcome.results.update(bytes_compared=compared, bytes_wrong=wrong)
        outcome.check("bytes", wrong == 0, f"{wrong} of {compared} bytes wrong")

    def _udp(self, run: Run, outcome: Outcome) -> None:
        far = far_of(run)
        sent = lost = wrong = 0
        for number, address in enumerate((far.inner4, far.inner6)):
            run.say(f"UDP edge to far {address} by UDP_SEGMENT")
            sizes = run.lab.inner_mtu_bytes - 48
            counts = udp_through(run.lab.edge, far, address, random.Random(run.seed + number), sizes)
            sent, lost, wrong = sent + counts[0], lost + counts[1], wrong + counts[2]
        outcome.results.update(
            udp_segment_sent_packets=sent, udp_segment_lost_packets=lost, udp_segment_wrong_packets=wrong
        )
        outcome.check("udp-segment", not lost and not wrong, f"{lost} lost, {wrong} wrong of {sent}")


def far_of(run: Run) -> Site:
    assert run.lab.far is not None, "this scenario has a host behind the hub"
    return run.lab.far


def prepare(run: Run) -> None:
    """Routes to what is behind the hub, a neighbour that does not answer, and a pair without offloads."""
    far, edge, hub = far_of(run), run.lab.edge, run.lab.hub
    device = run.tunnel.devices["edge"]
    for network in hub.behind:
        family = "-6" if ":" in network else "-4"
        gateway = hub.link6 if family == "-6" else hub.link4
        via = ["via", gateway] if device == LINK_DEVICE else []
        edge.run("ip", family, "route", "replace", network, *via, "dev", device)
    hardware = far.run("cat", f"/sys/class/net/{FAR_DEVICE}/address").strip()
    for target in TARGETS:
        hub.run("ip", "neigh", "replace", target, "lladdr", hardware, "nud", "permanent", "dev", FAR_DEVICE)
    for site in (hub, far):
        offloads_off(site, FAR_DEVICE)
    for address in (far.inner4, far.inner6):
        if " 1 received" not in edge.run("ping", "-n", "-c", "1", "-W", "3", address, check=False):
            raise LabError(f"the edge does not reach {address} behind the hub")


@contextmanager
def stopped(run: Run, site: str) -> Iterator[None]:
    """The daemon of the site stands still, if it has one."""
    daemons = [daemon for daemon in run.tunnel.daemons if daemon.name.endswith(site)]
    for daemon in daemons:
        daemon.popen.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for daemon in daemons:
            daemon.popen.send_signal(signal.SIGCONT)


def burst(run: Run, sender: RawSender, capture: Capture, packets: list[Sent],
          held: tuple[str, ...]) -> list[bytes]:  # fmt: skip
    """Sends the packets while the daemons named in `held` stand still, and returns what came out."""
    with ExitStack() as hub:
        if "hub" in held:
            hub.enter_context(stopped(run, "hub"))
        with ExitStack() as edge:
            if "edge" in held:
                edge.enter_context(stopped(run, "edge"))
            for packet in packets:
                sender.send(packet.data)
        if "hub" in held:
            time.sleep(HOLD_SECONDS)
    return capture.take(len(packets))


def tcp_through(source: Site, target: Site, address: str, data: bytes, generator: random.Random) -> bytes:
    """Sends the data from site to site and returns what arrived before the end of the stream."""
    with socket_in(target, family_of(address), socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, PORT))
        listener.listen(1)
        listener.settimeout(SOCKET_SECONDS)
        with socket_in(source, family_of(address), socket.SOCK_STREAM) as out:
            out.settimeout(SOCKET_SECONDS)
            out.connect((address, PORT))
            incoming, _ = listener.accept()
            with incoming:
                incoming.settimeout(SOCKET_SECONDS)
                thread = threading.Thread(target=write_oddly, args=(out, data, generator))
                thread.start()
                received = bytearray()
                try:
                    while piece := incoming.recv(1 << 18):
                        received += piece
                except TimeoutError:
                    incoming.close()
                thread.join()
    return bytes(received)


def write_oddly(out: socket.socket, data: bytes, generator: random.Random) -> None:
    """Large writes, corked ones (MSG_MORE), and tiny ones that leave at once (TCP_NODELAY); then the end."""
    view, at = memoryview(data), 0
    try:
        while at < len(data):
            way = generator.randrange(3)
            out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, way == 2)
            for number in range(1 if way == 0 else TCP_CORK_WRITES):
                size = generator.randrange(1, 300_000 if way == 0 else 3000 if way == 1 else 40)
                is_last = number == TCP_CORK_WRITES - 1
                out.sendall(view[at : at + size], socket.MSG_MORE if way == 1 and not is_last else 0)
                at += size
        out.shutdown(socket.SHUT_WR)
    except OSError:
        out.close()


def udp_through(source: Site, target: Site, address: str, generator: random.Random,
                size_max: int) -> tuple[int, int, int]:  # fmt: skip
    """Datagrams cut by the kernel from sends of mixed sizes, one send at a time: (sent, lost, wrong)."""
    sent, received = Counter[bytes](), Counter[bytes]()
    with (socket_in(target, family_of(address), socket.SOCK_DGRAM) as sink,
          socket_in(source, family_of(address), socket.SOCK_DGRAM) as out):  # fmt: skip
        sink.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, SOCKET_BYTES)
        sink.bind((address, PORT))
        sink.settimeout(IDLE_SECONDS)
        out.connect((address, PORT))
        for _ in range(UDP_SENDS):
            size = generator.choice((generator.randrange(8, size_max + 1), 200, size_max))
            count = generator.randrange(1, min(UDP_SEGMENTS_MAX, UDP_SEND_BYTES_MAX // size) + 1)
            data = generator.randbytes(size * count - generator.randrange(size))
            out.sendmsg([data], [(socket.SOL_UDP, UDP_SEGMENT, struct.pack("H", size))])
            expected = [data[at : at + size] for at in range(0, len(data), size)]
            sent.update(expected)
            received.update(collect(sink, len(expected)))
    return sent.total(), max(0, sent.total() - received.total()), (received - sent).total()


def collect(sink: socket.socket, count: int) -> list[bytes]:
    """So many datagrams, or those that came before a silence."""
    found: list[bytes] = []
    try:
        while len(found) < count:
            found.append(sink.recv(1 << 16))
    except TimeoutError:
        return found
    return found
