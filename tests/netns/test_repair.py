"""Two real daemons on a network that loses: what is lost comes back, is seen, and follows a reload."""

from __future__ import annotations

import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.netns.harness import Namespace
from tests.netns.test_daemon import EDGE, Pair, edge_peer

pytestmark = pytest.mark.netns

PACKETS_MAX = 6000
CALL = bytes([0x80, 0]) + bytes(170)
EF = 0xB8  # DSCP EF in the TOS byte


@pytest.fixture
def pair(namespace: Callable[[str], Namespace], tmp_path: Path) -> Iterator[Pair]:
    """One in ten datagrams is lost on the way to the hub, once the tunnel is up."""
    made = Pair(namespace("hub"), namespace("edge"), tmp_path).start()
    rules = "type filter hook prerouting priority -300;"
    made.hub_ns.run("nft", f"add table inet lossy; add chain inet lossy in {{ {rules} }}")
    made.hub_ns.run("nft", 'add rule inet lossy in iifname "eth0" numgen random mod 10 < 1 drop')
    yield made
    for daemon in (made.edge, made.hub):
        daemon.kill()


def call_until(pair: Pair, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """A call from the edge to the hub, until the edge's status says so; that status."""
    with pair.edge_ns.entered(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        phone.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, EF)
        for _ in range(PACKETS_MAX // 50):
            for _ in range(50):
                phone.sendto(CALL, ("10.70.0.1", 5004))
                _pause(0.01)
            status = pair.edge.ask("status")
            if is_so(status):
                return status
    raise AssertionError(f"never: {status['repair']}\n{pair.edge.log()}")


def _pause(seconds: float) -> None:
    """Calls are sent at their rate; nothing is asserted of the time it takes."""
    select.select([], [], [], seconds)


def total(status: dict[str, Any], name: str) -> int:
    return sum(status["repair"][name].values())


def test_a_call_is_repaired_and_steered_and_a_reload_ends_it(pair: Pair) -> None:
    steered = call_until(
        pair,
        lambda status: (
            status["peers"][0]["paths"][0]["repair_by"] == "predictor"
            and status["repair"]["predictor"]["steps"] > 100
            and total(status, "repaired_packets") > 20
        ),
    )
    path = steered["peers"][0]["paths"][0]
    assert path["repair_regime"] in ("random", "bursty") and path["repair_loss_ratio"] > 0.01
    assert steered["repair"]["predictor"]["active"] in ("lstm", "ge", "ewma")
    assert pair.edge.ask("metrics")["text"].count("oxidized_repair_") > 50
    pair.edge.write(f'{EDGE}[repair]\nmode = "off"\n{edge_peer(pair.hub)}')
    applied = pair.edge.ask("reload", dry_run=False)["applied"]
    assert [change["key"] for change in applied] == ["repair.mode"]
    before = total(pair.edge.ask("status"), "kept_packets")
    after = call_until(pair, lambda status: status["plane"]["inner_sent_packets"] > 0)
    assert total(after, "kept_packets") == before, "at once"
    assert after["peers"][0]["paths"][0]["repair_regime"] is None
    assert after["repair"]["predictor"]["active"] == "off"
