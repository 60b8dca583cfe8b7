"""hello: a good link, a bit of everything, and not one packet or byte may be missing."""

from __future__ import annotations

import time

from lab.load import TRAFFIC_PORT, CheckedUdp, Pings, ping, tcp_transfer
from lab.scenarios.base import FAULT_KEYS, Outcome, Parameter, Run, Scenario

PINGS = 20
PING_INTERVAL_SECONDS = 0.02
SEARCH_SECONDS = 5.0  # for the MTU of a narrow link
OUTER_BYTES = 52  # IPv4, UDP and the tunnel: what a packet grows by on its way
GRANULE_BYTES = 8  # a search ends this close
REPEAT_BYTES = 8  # and so much is left free, that a full packet can be repeated


class Hello(Scenario):
    name = "hello"
    summary = "100 Mbit/s, 10 ms round trip; ping, TCP both ways, UDP, IPv6, large pings"
    seconds = 30.0
    link = {"rate": "100M", "delay": "5ms", "queue": "100ms"}
    parameters = {
        "megabytes": Parameter("50", "TCP each way, for IPv4 and again for IPv6, compared byte by byte")
    }

    def measure(self, run: Run) -> Outcome:
        outcome = Outcome()
        self._pings(run, outcome)
        if self._faults(run) == {"mtu"} and run.tunnel.system == "oxidized":
            self._narrow(run, outcome)
        self._tcp(run, outcome)
        self._udp(run, outcome)
        return outcome

    def _clean(self, run: Run) -> bool:
        """Whether the link is one on which nothing may be lost."""
        return not self._faults(run)

    def _faults(self, run: Run) -> set[str]:
        """Settings that may lose packets; an `mtu` that the devices of the link have is no narrow spot."""
        found = set()
        for key, value in run.settings.items():
            plain = key.removeprefix("ab.").removeprefix("ba.")
            carries_all = plain == "mtu" and int(value) >= run.lab.link_mtu_bytes
            if plain in FAULT_KEYS and not carries_all:
                found.add(plain)
        return found

    def _narrow(self, run: Run, outcome: Outcome) -> None:
        """A link that drops large packets without a word: what fits passes, and what does not in pieces."""
        link_bytes = min(int(value) for key, value in run.settings.items() if key.endswith("mtu"))
        full = link_bytes - OUTER_BYTES - REPEAT_BYTES - GRANULE_BYTES + 1
        time.sleep(SEARCH_SECONDS)
        for source, address in (
            (run.lab.edge, run.tunnel.hub4), (run.lab.edge, run.tunnel.hub6),
            (run.lab.hub, run.tunnel.edge4), (run.lab.hub, run.tunnel.edge6),
        ):  # fmt: skip
            for size, whole in ((full, True), (9000, False)):
                run.say(f"ping {address} {size} bytes through a link of {link_bytes}")
                found = ping(
                    source, address, PINGS, PING_INTERVAL_SECONDS, packet_bytes=size, dont_fragment=whole
                )
                outcome.check(
                    f"narrow-{address}-{size}", found.lost == 0, f"{found.lost} of {found.sent} lost"
                )

    def _pings(self, run: Run, outcome: Outcome) -> None:
        edge, tunnel = run.lab.edge, run.tunnel
        kinds = {
            "v4": (tunnel.hub4, 84, False), "v6": (tunnel.hub6, 104, False),
            "v4_1400": (tunnel.hub4, 1400, True), "v6_1400": (tunnel.hub6, 1400, True),
            "v4_9000": (tunnel.hub4, 9000, False), "v6_9000": (tunnel.hub6, 9000, False),
            "v4_mtu": (tunnel.hub4, run.lab.inner_mtu_bytes, True),
            "v6_mtu": (tunnel.hub6, run.lab.inner_mtu_bytes, True),
        }  # fmt: skip
        found: dict[str, Pings] = {}
        for kind, (address, size, whole) in kinds.items():
            run.say(f"ping {kind} {address} {size} bytes")
            found[kind] = ping(
                edge, address, PINGS, PING_INTERVAL_SECONDS, packet_bytes=size, dont_fragment=whole
            )
        sent, lost = sum(p.sent for p in found.values()), sum(p.lost for p in found.values())
        outcome.results["ping_loss_ratio"] = lost / sent
        outcome.results["rtt_p50_seconds"] = found["v4"].quantile(0.5)
        for kind, pings in found.items():
            outcome.results[f"ping_{kind}_lost_packets"] = pings.lost
            if self._clean(run):
                outcome.check(f"ping-{kind}", pings.lost == 0, f"{pings.lost} of {pings.sent} lost")

    def _tcp(self, run: Run, outcome: Outcome) -> None:
        lab, tunnel = run.lab, run.tunnel
        byte_count = int(run.number("megabytes") * 1e6)
        compared = wrong = 0
        flows = {
            "tcp_up_bps": (lab.edge, lab.hub, tunnel.hub4),
            "tcp_down_bps": (lab.hub, lab.edge, tunnel.edge4),
            "tcp6_up_bps": (lab.edge, lab.hub, tunnel.hub6),
            "tcp6_down_bps": (lab.hub, lab.edge, tunnel.edge6),
        }
        for number, (key, (source, target, address)) in enumerate(flows.items()):
            run.say(f"TCP {source.name} to {target.name} {address}, {byte_count / 1e6:g} MB")
            transfer = tcp_transfer(lab, source, target, address, byte_count, run.seed + number)
            outcome.results[key] = transfer.bps
            compared += transfer.bytes_compared
            wrong += transfer.bytes_wrong
            whole = transfer.complete and transfer.bytes_compared == byte_count
            outcome.check(
                key.removesuffix("_bps"), whole, f"{transfer.bytes_compared} of {byte_count} bytes arrived"
            )
        outcome.results["bytes_compared"] = compared
        outcome.results["bytes_wrong"] = wrong
        outcome.check("bytes", wrong == 0, f"{wrong} of {compared} bytes wrong")

    def _udp(self, run: Run, outcome: Outcome) -> None:
        lab, tunnel = run.lab, run.tunnel
        sizes = run.udp_sizes(spare_bytes=120)
        run.say(f"UDP both ways, {sizes} bytes")
        flows = [
            CheckedUdp(lab, source, target, address, port=TRAFFIC_PORT, seed=run.seed, sizes=sizes,
                       pps=2000, seconds=2)
            for source, target, address in (
                (lab.edge, lab.hub, tunnel.hub4), (lab.hub, lab.edge, tunnel.edge6),
            )
        ]  # fmt: skip
        found = [flow.finish() for flow in flows]
        sent = sum(flow["sender_sent_packets"] for flow in found)
        received = sum(flow["received_packets"] for flow in found)
        wrong = sum(flow["wrong_packets"] + flow["duplicate_packets"] for flow in found)
        outcome.results.update(
            udp_sent_packets=sent, udp_lost_packets=sent - received, udp_wrong_packets=wrong
        )
        outcome.check("udp-content", wrong == 0, f"{wrong} packets wrong or doubled")
        if self._clean(run):
            outcome.check("udp", received == sent, f"{sent - received} of {sent} lost")
