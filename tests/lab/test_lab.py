"""netns-lab/run with real namespaces, as a user starts it: output, exit codes, nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

RUN = Path(__file__).resolve().parents[2] / "netns-lab/run"
DEMO = RUN.with_name("demo")
TUN = Path("/dev/net/tun")

pytestmark = pytest.mark.lab

HELLO_KEYS = {
    "ping_loss_ratio", "rtt_p50_seconds", "tcp_up_bps", "tcp_down_bps", "bytes_compared", "bytes_wrong",
}  # fmt: skip
STRESS_KEYS = {"wrong_packets", "unaccounted_packets", "recovery_seconds", "sessions_up"}


def lab(*words: str, timeout: float = 120.0) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(RUN), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)


def measured(*words: str) -> dict[str, Any]:
    """The document of a run that must pass."""
    done = lab(*words, "--json", "-")
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["schema"] == "oxidized.lab/1"
    assert document["passed"] is True
    return document


def namespaces_of(pid: int) -> list[str]:
    return [path.name for path in Path("/run/netns").glob(f"oxlab-{pid}-*")]


def need_namespaces() -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root for network namespaces")
    if not TUN.exists():
        pytest.skip("needs /dev/net/tun")


def test_list_names_scenarios_and_systems() -> None:
    done = lab("--list")
    assert done.returncode == 0
    scenarios = ("hello", "random-loss", "line-rate", "stress", "odd-packets", "voice-trunk", "text-classes",
                 "burst-loss-voip", "cellular")  # fmt: skip
    systems = ("direct", "oxidized", "wireguard-go", "openvpn", "udpspeeder", "kcptun")
    for name in scenarios + systems:
        assert name in done.stdout


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ((), "--list"),
        (("nosuch",), "nosuch"),
        (("hello", "--system", "nosuch"), "nosuch"),
        (("hello", "--set", "nosuch=1"), "nosuch"),
        (("hello", "--set", "megabytes"), "KEY=VALUE"),
        (("line-rate", "--set", "loss=1%"), "loss"),
        (("voice-trunk", "--set", "cell=g722/1"), "g729"),
        (("voice-trunk", "--set", "daemon.headers=1"), "daemon.TABLE.KEY"),
        (("text-classes", "--set", "cell=dns"), "syslog"),
        (("burst-loss-voip", "--set", "loss=5%"), "LOSS-IN-BAD"),
        (("burst-loss-voip", "--set", "repair=on"), "arq"),
        (("burst-loss-voip", "--system", "kcptun"), "TCP alone"),
        (("random-loss", "--set", "cell=0.03/cubic"), "0.01/cubic"),
        (("hello", "--seconds", "-1"), "positive"),
        (("hello", "--set", "mtu=12000"), "9080"),
        (("line-rate", "--peer-binary", "direct=/bin/true"), "--peer-binary"),
        (("line-rate", "--peer-binary", "openvpn=/a", "--peer-binary", "openvpn=/b"), "one binary"),
        (("line-rate", "--variant", "mine:nokey"), "--variant"),
        (("line-rate", "--variant", "oxidized:crypto.suite=1"), "--variant"),
    ],
)
def test_wrong_usage_is_exit_code_2(words: tuple[str, ...], named: str) -> None:
    done = lab(*words)
    assert done.returncode == 2
    assert named in done.stderr
    assert done.stdout == ""


def test_a_peer_that_is_not_installed_is_exit_code_5(tmp_path: Path) -> None:
    """With a PATH on which everything is but the peer."""
    need_namespaces()
    for name in ("ip", "ping", "sysctl", "iperf3"):
        program = shutil.which(name)
        assert program is not None, f"{name} is needed to test"
        (tmp_path / name).symlink_to(program)
    command = [sys.executable, str(RUN), "hello", "--system", "wireguard-go"]
    environment = {"PATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=30)
    assert done.returncode == 5
    assert "wireguard-go" in done.stderr


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (("--peer-binary", "wireguard-go=/nonexistent"), "/nonexistent is not an executable"),
        (("--peer-binary", f"openvpn={__file__}"), f"{__file__} is not an executable"),
        (("--peer-binary", "udpspeeder=/nonexistent"), "/nonexistent is not an executable"),
        (("--variant", 'mine:crypto.nosuch="x"'), "crypto.nosuch"),
        (("--set", "daemon.crypto.nosuch=1"), "crypto.nosuch"),
    ],
)
def test_what_can_not_run_is_exit_code_5(words: tuple[str, ...], named: str) -> None:
    need_namespaces()
    done = lab("line-rate", *words)
    assert done.returncode == 5
    assert named in done.stderr


def test_one_daemon_with_two_configurations() -> None:
    """A variant is a system of its own, and each is set against the bare link."""
    need_namespaces()
    words = ("--system", "oxidized,oxidized-chacha20,direct", "--variant", 'mine:log.level="error"')
    settings = ("pings=5", "pps=2000", "gso=16")
    document = measured("line-rate", *words, "--seconds", "1", "--rounds", "1", "--set", *settings)
    names = ["oxidized", "oxidized-chacha20", "direct", "mine"]
    assert [run["system"] for run in document["runs"]] == names
    assert all(run["results"]["udp200_received_pps"] > 0 for run in document["runs"])
    assert all(("datapath_memory_bytes" in run["results"]) == (run["system"] != "direct")
               for run in document["runs"])  # fmt: skip
    costs = [r for r in document["bare_ratios"] if r["result"] == "cpu_seconds_per_gb"]
    assert {r["over"] for r in costs} == {"machine_cpu_seconds_per_gb"}
    assert [r["systems"] for r in costs] == [[n, "direct"] for n in names if n != "direct"]


def test_hello_without_a_tunnel() -> None:
    need_namespaces()
    document = measured("hello", "--system", "direct", "--set", "megabytes=1")
    results = document["runs"][0]["results"]
    assert results.keys() >= HELLO_KEYS
    assert results["ping_loss_ratio"] == 0
    assert results["bytes_compared"] == 4_000_000
    assert results["bytes_wrong"] == 0


@pytest.mark.parametrize("link_mtu_bytes", [1500, 9000])
def test_hello_through_oxidized(link_mtu_bytes: int) -> None:
    need_namespaces()
    settings = ("megabytes=2", f"mtu={link_mtu_bytes}")
    results = measured("hello", "--set", *settings)["runs"][0]["results"]
    assert results["ping_v4_mtu_lost_packets"] == results["ping_v6_mtu_lost_packets"] == 0
    assert results.keys() >= HELLO_KEYS
    assert results["ping_loss_ratio"] == 0
    assert results["bytes_compared"] == 8_000_000
    assert results["bytes_wrong"] == 0


def test_hello_through_a_narrow_link() -> None:
    need_namespaces()
    document = measured("hello", "--set", "mtu=1400", "--set", "megabytes=1")
    names = {check["name"] for check in document["runs"][0]["checks"]}
    assert len({name for name in names if name.startswith("narrow-")}) == 8
    assert document["runs"][0]["results"]["bytes_compared"] == 4_000_000


def test_stress_through_oxidized() -> None:
    need_namespaces()
    results = measured("stress", "--seconds", "12")["runs"][0]["results"]
    assert results.keys() >= STRESS_KEYS
    assert results["wrong_packets"] == results["bytes_wrong"] == results["unaccounted_packets"] == 0
    assert results["sessions_up"] == 1
    assert results["udp_received_packets"] > 0


def test_odd_packets_through_oxidized() -> None:
    need_namespaces()
    results = measured("odd-packets", "--set", "megabytes=0.5")["runs"][0]["results"]
    assert results["odd_sent_packets"] == results["odd_received_packets"] > 10_000
    assert results["odd_wrong_packets"] == results["odd_reordered_packets"] == results["bytes_wrong"] == 0
    assert results["udp_segment_sent_packets"] > 0


VOICE_KEYS = {
    "codec", "calls", "wire_bytes_per_packet", "delay_p50_seconds", "delay_p99_seconds", "lost_ratio",
    "sent_packets", "received_packets", "wrong_packets",
}  # fmt: skip
RTP_UDP_IP4_BYTES, RTP_UDP_IP6_BYTES = 40, 60
PING_PACKETS = 2  # by which the lab knows that a system is up


def cells_of(document: dict[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    return {run["system"]: {cell["cell"]: cell for cell in run["results"]["cells"]}
            for run in document["runs"]}  # fmt: skip


def test_calls_through_oxidized_and_on_the_bare_link() -> None:
    """The bare link counts what the packets are; the tunnel carries each, and its delay is set beside."""
    need_namespaces()
    words = ("--system", "oxidized,direct", "--seconds", "1", "--rounds", "1", "--set")
    words += ("cell=g729/1,g711/4", "settle=1")
    cells = cells_of(measured("voice-trunk", *words))
    for name, calls, payload in (("g729/1", 1, 20), ("g711/4", 4, 160)):
        mine, bare = cells["oxidized"][name], cells["direct"][name]
        assert mine.keys() >= VOICE_KEYS
        assert mine["sent_packets"] == mine["received_packets"] == 2 * 50 * calls
        assert mine["wrong_packets"] == mine["lost_ratio"] == 0
        assert mine["calls"] == calls
        assert bare["wire_bytes_per_packet"] == RTP_UDP_IP4_BYTES + payload
        assert bare["wire_packets_per_packet"] == 1
        assert "delay_added_p99_seconds" in mine
        assert "delay_added_p99_seconds" not in bare


def test_calls_each_with_a_phase_of_its_own_over_ipv6() -> None:
    need_namespaces()
    settings = ("cell=opus/4,opus40/2", "ip=6", "pattern=spread", 'daemon.log.level="error"', "settle=0")
    document = measured("voice-trunk", "--system", "oxidized,direct", "--seconds", "1", "--rounds", "1",
                        "--set", *settings)  # fmt: skip
    assert document["daemon_settings"] == {"log.level": '"error"'}
    bare = cells_of(document)["direct"]
    assert [bare[name]["wire_bytes_per_packet"] for name in ("opus/4", "opus40/2")] == [
        RTP_UDP_IP6_BYTES + 60, RTP_UDP_IP6_BYTES + 40,
    ]  # fmt: skip


def test_calls_are_rtp_to_others(tmp_path: Path) -> None:
    """What leaves is read by a foreign library: one SSRC a direction, numbers by one, time stamps by 160."""
    need_namespaces()
    if shutil.which("tcpdump") is None:
        pytest.skip("needs tcpdump to record the packets")
    from scapy.layers.inet import UDP
    from scapy.layers.rtp import RTP
    from scapy.utils import rdpcap

    words = ("--system", "direct", "--seconds", "1", "--pcap", str(tmp_path), "--set", "cell=g729/2")
    measured("voice-trunk", *words)
    flows: dict[tuple[int, int], list[Any]] = {}
    for packet in rdpcap(str(next(tmp_path.glob("*edge.pcap")))):
        if UDP in packet and packet[UDP].dport % 2 == 0:
            ports = (packet[UDP].sport, packet[UDP].dport)
            flows.setdefault(ports, []).append(RTP(bytes(packet[UDP].payload)))
    assert len(flows) == 4
    for packets in flows.values():
        first = packets[0]
        assert len(packets) == 50
        assert [p.marker for p in packets] == [1] + [0] * 49
        for number, p in enumerate(packets):
            assert (p.version, p.padding, p.extension, p.numsync) == (2, 0, 0, 0)
            assert (p.payload_type, p.sourcesync, len(p.payload)) == (18, first.sourcesync, 20)
            assert p.sequence == (first.sequence + number) % 2**16
            assert p.timestamp == (first.timestamp + 160 * number) % 2**32
    assert len({packets[0].sourcesync for packets in flows.values()}) == 4
    assert len({packets[0].sequence for packets in flows.values()}) == 4


def test_voice_that_was_lost_is_counted_and_voice_that_was_changed_fails(tmp_path: Path) -> None:
    """Every packet in which the link flipped a bit is wrong to the receiver, wherever the bit was."""
    need_namespaces()
    words = ("--system", "direct", "--seconds", "2", "--set", "cell=g729/4")
    lossy = cells_of(measured("voice-trunk", *words, "loss=20%"))["direct"]["g729/4"]
    assert 0 < lossy["lost_packets"] < lossy["sent_packets"] / 2
    assert lossy["received_packets"] == lossy["sent_packets"] - lossy["lost_packets"]
    done = lab("voice-trunk", *words, "corrupt=10%", "--json", "-", "--keep-logs", str(tmp_path))
    assert done.returncode == 1
    document = json.loads(done.stdout)
    cell = document["runs"][0]["results"]["cells"][0]
    link = json.loads((tmp_path / "direct-1/link.json").read_text())
    corrupted = sum(link[way]["corrupted_packets"] for way in ("ab", "ba"))
    assert corrupted > 50
    assert 0 <= corrupted - cell["wrong_packets"] <= PING_PACKETS
    assert cell["received_packets"] == cell["sent_packets"] - cell["wrong_packets"]
    failed = [check["name"] for check in document["runs"][0]["checks"] if not check["ok"]]
    assert failed == ["g729/4-content"]


def test_calls_that_are_lost_or_late_and_what_carries_them() -> None:
    """All of a call are too late where the link alone takes longer than the budget; nothing is lost here."""
    need_namespaces()
    words = ("--system", "direct,oxidized", "--seconds", "1", "--rounds", "1", "--set")
    words += ("cell=400ms", "loss=none/both", "settle=0", "warm-up=0.3")
    document = measured("burst-loss-voip", *words)
    assert "ge-time" not in document["link"]["edge_to_hub"]
    cells = cells_of(document)
    for system in ("direct", "oxidized"):
        cell = cells[system]["400ms"]
        assert (cell["offered_packets"], cell["lost_packets"], cell["dropped_packets"]) == (50, 0, 0)
        assert cell["over_budget_packets"] == 50
        assert cell["residual_loss_ratio"] == 1
        assert cell["wrong_packets"] == cell["duplicate_packets"] == 0
    bare = cells["direct"]["400ms"]
    assert bare["extra_packets_ratio"] == bare["extra_bytes_ratio"] == bare["feedback_packets_ratio"] == 0
    assert cells["oxidized"]["400ms"]["feedback_packets"] > 0


def test_calls_that_the_link_lost_are_missing_one_for_one() -> None:
    need_namespaces()
    words = ("--system", "direct", "--seconds", "2", "--set", "cell=20ms", "calls=3", "settle=0", "warm-up=0")
    document = measured("burst-loss-voip", *words, "loss=ge:0.3,100,0.9")
    assert document["link"]["edge_to_hub"]["ge-time"] == "100ms/200ms/0.9"
    assert document["link"]["hub_to_edge"]["loss"] == "1%"
    cell = cells_of(document)["direct"]["20ms"]
    assert cell["offered_packets"] == cell["wire_packets"] == 300
    assert 0 < cell["lost_packets"] == cell["dropped_packets"] < 300


# Stands where UDPspeeder stands, with its options, and hands datagrams on as they are.
RELAY = """
import select, socket, sys
def place(flag):
    host, _, port = sys.argv[sys.argv.index(flag) + 1].partition(":")
    return host, int(port)
if "-h" in sys.argv:
    sys.exit(print("git version:relay"))
assert sys.argv[1] in ("-s", "-c") and sys.argv[-1] == "-f20:10"
near, far, client = (*(socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in "ab"), None)
near.bind(place("-l"))
far.connect(place("-r"))
while True:
    for ready in select.select([near, far], [], [])[0]:
        try:
            if ready is near:
                data, client = near.recvfrom(65536)
                far.send(data)
            elif client is not None:
                near.sendto(far.recv(65536), client)
        except ConnectionRefusedError:
            continue
"""


def test_what_stands_around_wireguard_carries_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_namespaces()
    if shutil.which("wireguard-go") is None or shutil.which("wg") is None:
        pytest.skip("needs wireguard-go and wireguard-tools")
    relay = tmp_path / "speederv2"
    relay.write_text(f"#!{sys.executable}{RELAY}")
    relay.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    words = ("--system", "udpspeeder", "--seconds", "1", "--set")
    words += ("cell=20ms", "loss=none/both", "settle=0", "warm-up=0")
    document = measured("burst-loss-voip", *words)
    assert document["runs"][0]["version"].startswith("relay -f20:10, wireguard-go")
    cell = cells_of(document)["udpspeeder"]["20ms"]
    assert cell["offered_packets"] == cell["received_packets"] == 50
    assert cell["wire_bytes"] >= cell["offered_bytes"] + 50 * 60


def test_a_flow_with_a_call_beside_it() -> None:
    """On the bare link every packet is a segment of the flow, by the kernel's count, or one of the call."""
    need_namespaces()
    settings = ("cell=0/cubic/beside", "beside-rate=10M", "warm-up=1", "start-up=1")
    cells = cells_of(measured("random-loss", "--system", "direct", "--seconds", "1", "--set", *settings))
    cell = cells["direct"]["0/cubic/beside"]
    assert cell["beside_sent_packets"] == 100, "from the flow's beginning, and none in the flow before"
    assert cell["start_up_bps"] > 0
    assert cell["beside_lost_packets"] == cell["beside_wrong_packets"] == 0
    assert cell["goodput_of_lossless_ratio"] == 1
    assert cell["wire_packets"] == cell["inner_packets"]


def test_a_flow_over_what_carries_tcp_alone() -> None:
    need_namespaces()
    if shutil.which("kcptun-client") is None:
        pytest.skip("needs kcptun, which not every distribution has")
    settings = ("cell=0/cubic,0/cubic/beside", "settle=0", "warm-up=0", "start-up=0")
    cells = cells_of(measured("random-loss", "--system", "kcptun", "--seconds", "1", "--set", *settings))
    assert cells["kcptun"]["0/cubic"]["received_bytes"] > 0
    assert "UDP" in cells["kcptun"]["0/cubic/beside"]["left_out"]


def test_text_through_oxidized_costs_what_the_bare_link_says_and_more() -> None:
    need_namespaces()
    words = ("--system", "oxidized,direct", "--seconds", "0.4", "--set", "settle=0")
    cells = cells_of(measured("text-classes", *words))
    assert list(cells["oxidized"]) == ["sip", "syslog", "mqtt", "http"]
    for name, bare in cells["direct"].items():
        mine = cells["oxidized"][name]
        assert mine["messages"] == bare["messages"] == 20
        assert mine["offered_bytes"] == bare["offered_bytes"]
        assert mine["lost_messages"] == mine["wrong_messages"] == 0
        assert mine["payload_cost_ratio"] == pytest.approx(
            1 + (mine["wire_bytes"] - bare["wire_bytes"]) / bare["offered_bytes"]
        )
    bare = cells["direct"]
    assert bare["sip"]["wire_bytes"] == bare["sip"]["offered_bytes"] + 2 * 20 * 28
    assert bare["syslog"]["wire_bytes"] == bare["syslog"]["offered_bytes"] + 20 * 28
    assert bare["http"]["wire_bytes"] > bare["http"]["offered_bytes"] + 2 * 20 * 52


def test_text_that_was_changed_fails() -> None:
    need_namespaces()
    words = ("--system", "direct", "--seconds", "1", "--set", "cell=syslog", "corrupt=30%", "ip=6")
    done = lab("text-classes", *words, "--json", "-")
    assert done.returncode == 1
    assert json.loads(done.stdout)["runs"][0]["results"]["cells"][0]["wrong_messages"] > 0


def test_a_failed_check_is_exit_code_1() -> None:
    """Without a tunnel the link's duplicates come out, and that is not what hello allows."""
    need_namespaces()
    settings = ("megabytes=0.1", "duplicate=10%")
    done = lab("hello", "--system", "direct", "--set", *settings, "--json", "-")
    assert done.returncode == 1
    document = json.loads(done.stdout)
    assert document["passed"] is False
    failed = [check["name"] for check in document["runs"][0]["checks"] if not check["ok"]]
    assert failed == ["udp-content"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_nothing(number: signal.Signals) -> None:
    need_namespaces()
    command = [sys.executable, str(RUN), "hello", "--system", "direct"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    while "TCP" not in process.stdout.readline():
        assert process.poll() is None
    assert len(namespaces_of(process.pid)) == 2
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert namespaces_of(process.pid) == []
    assert list(Path("/tmp").glob(f"oxlab-{process.pid}-*")) == []


def test_what_a_killed_run_left_is_removed_by_the_next() -> None:
    need_namespaces()
    command = [sys.executable, str(RUN), "hello", "--system", "direct"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    while "TCP" not in process.stdout.readline():
        assert process.poll() is None
    process.kill()
    process.communicate(timeout=10)
    assert len(namespaces_of(process.pid)) == 2
    time.sleep(0.5)
    measured("hello", "--system", "direct", "--set", "megabytes=0.1")
    assert namespaces_of(process.pid) == []


def test_the_demo_proves_what_it_says() -> None:
    need_namespaces()
    done = subprocess.run(
        [sys.executable, str(DEMO)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout
    assert "What this proves" in done.stdout


@pytest.mark.parametrize("load", ["bulk", "video"])
def test_a_call_over_measured_opportunities(tmp_path: Path, load: str) -> None:
    """Two networks of 12 and 6 Mbit/s, one after the other; on the bare link nothing is sent besides."""
    need_namespaces()
    for name, every_ms in (("fast", 1), ("slow", 2)):
        (tmp_path / f"{name}.mm").write_text("".join(f"{ms}\n" for ms in range(every_ms, 3001, every_ms)))
    settings = (f"traces={tmp_path}", f"load={load}", "warm-up=0.3")
    cells = cells_of(measured("cellular", "--system", "direct", "--seconds", "1", "--set", *settings))[
        "direct"
    ]
    assert list(cells) == ["fast", "slow"]
    for name, mean_bps in (("fast", 12e6), ("slow", 6e6)):
        cell = cells[name]
        assert cell["mean_bps"] == pytest.approx(mean_bps, rel=0.01)
        assert cell["voip_sent_packets"] == 50 and cell["wrong_packets"] == 0
        assert 0 < cell["utilisation_ratio"] < 1.2
        if load == "video":
            assert cell["load_lost_ratio"] == cell["voip_lost_packets"] == cell["dropped_packets"] == 0
            assert cell["wire_packets"] == cell["offered_packets"]
