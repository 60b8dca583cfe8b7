"""Names, units and meanings of all metrics: one table, from which docs/metrics.md is made."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Metric:
    """One family. `labels` come after `interface`, which all but the process have."""

    name: str
    kind: str  # "counter", "gauge"
    help: str
    labels: tuple[str, ...] = ()


_PEER = ("peer",)
_PATH = ("peer", "path")
_DIRECTION = ("direction",)

METRICS: tuple[Metric, ...] = (
    Metric("oxidized_build_info", "gauge", "1; the version that runs.", ("version",)),
    Metric(
        "oxidized_interface_info",
        "gauge",
        "1; what this end is. The key's first 8 characters.",
        ("role", "suite", "library", "library_version", "public_key"),
    ),
    Metric("oxidized_interface_mtu_bytes", "gauge", "Largest inner packet."),
    Metric("oxidized_peers", "gauge", "Configured peers by state.", ("state",)),
    Metric("oxidized_peer_up", "gauge", "1 while the peer answers.", _PEER),
    Metric("oxidized_peer_expected", "gauge", "1 when the peer is enabled and so ought to be up.", _PEER),
    Metric(
        "oxidized_peer_info",
        "gauge",
        "1; text about the peer. The key's first 8 characters.",
        ("peer", "public_key", "transport", "endpoint"),
    ),
    Metric(
        "oxidized_peer_last_handshake_timestamp_seconds",
        "gauge",
        "When keys were last agreed on; absent: never.",
        _PEER,
    ),
    Metric(
        "oxidized_peer_last_receive_timestamp_seconds",
        "gauge",
        "When an authentic packet last came; absent: never.",
        _PEER,
    ),
    Metric("oxidized_peer_receive_bytes_total", "counter", "Inner bytes delivered from the peer.", _PEER),
    Metric("oxidized_peer_transmit_bytes_total", "counter", "Inner bytes sent to the peer.", _PEER),
    Metric("oxidized_peer_receive_packets_total", "counter", "Inner packets delivered from the peer.", _PEER),
    Metric("oxidized_peer_transmit_packets_total", "counter", "Inner packets sent to the peer.", _PEER),
    Metric("oxidized_peer_rekeys_total", "counter", "Keys replaced within sessions.", _PEER),
    Metric(
        "oxidized_handshakes_total",
        "counter",
        "Handshakes with the peer by result: completed, failed (no answer), rejected (refused by one end).",
        ("peer", "result"),
    ),
    Metric(
        "oxidized_path_state", "gauge", "1 for the state the path is in, 0 for the others.", (*_PATH, "state")
    ),
    Metric("oxidized_path_rtt_seconds", "gauge", "Smoothed round-trip time; absent: not known.", _PATH),
    Metric("oxidized_path_rtt_variation_seconds", "gauge", "Mean deviation of it (RFC 9002).", _PATH),
    Metric("oxidized_path_rtt_min_seconds", "gauge", "Smallest round-trip time seen.", _PATH),
    Metric(
        "oxidized_path_mtu_bytes",
        "gauge",
        "Largest inner packet sent on this path, as the search for its MTU stands.",
        _PATH,
    ),
    Metric("oxidized_path_sent_packets_total", "counter", "Datagrams sent.", _PATH),
    Metric("oxidized_path_sent_bytes_total", "counter", "Bytes of UDP payload sent.", _PATH),
    Metric("oxidized_path_received_packets_total", "counter", "Authentic datagrams received.", _PATH),
    Metric("oxidized_path_received_bytes_total", "counter", "Bytes of UDP payload received in them.", _PATH),
    Metric("oxidized_path_acked_packets_total", "counter", "Datagrams the peer said it received.", _PATH),
    Metric(
        "oxidized_path_lost_packets",
        "gauge",
        "Datagrams the peer passed over since the session began, probes of the MTU among them. A late "
        "one is taken back, so it may fall.",
        _PATH,
    ),
    Metric("oxidized_path_late_packets_total", "counter", "Datagrams received out of order.", _PATH),
    Metric(
        "oxidized_inner_packets_total",
        "counter",
        "Packets of users, read from or written to the TUN.",
        _DIRECTION,
    ),
    Metric("oxidized_inner_bytes_total", "counter", "Their bytes.", _DIRECTION),
    Metric("oxidized_inner_sent_packets_total", "counter", "Packets of users sent inside a datagram."),
    Metric("oxidized_inner_found_packets_total", "counter", "Packets of users found in authentic datagrams."),
    Metric("oxidized_inner_held_packets", "gauge", "Packets of users in the daemon now.", _DIRECTION),
    Metric(
        "oxidized_inner_handed_packets_total",
        "counter",
        "Packets of users that one worker read and another sends; and those that the other has taken.",
        ("step",),
    ),
    Metric(
        "oxidized_bundled_packets_total",
        "counter",
        "Packets of users that shared a datagram with others.",
        _DIRECTION,
    ),
    Metric(
        "oxidized_header_packets_total",
        "counter",
        "Packets of users whose header was compressed, or would have been: result is coded or whole.",
        ("profile", "result"),
    ),
    Metric(
        "oxidized_header_bytes_total",
        "counter",
        "Bytes of the headers that were compressed: as they were, and as they were sent.",
        ("profile", "form"),
    ),
    Metric("oxidized_header_setups_total", "counter", "Headers sent in full to make a context known."),
    Metric(
        "oxidized_header_passed_packets_total",
        "counter",
        "Packets whose header was not looked at: too many at once, no room to grow, or a path too near.",
    ),
    Metric("oxidized_header_restored_packets_total", "counter", "Headers restored.", ("profile",)),
    Metric(
        "oxidized_payload_packets_total",
        "counter",
        "Packets of users whose payload was compressed.",
        ("dictionary",),
    ),
    Metric(
        "oxidized_payload_bytes_total",
        "counter",
        "Bytes of those payloads: as they were, and as they were sent.",
        ("dictionary", "form"),
    ),
    Metric("oxidized_payload_misses_total", "counter", "Payloads that did not shrink enough."),
    Metric("oxidized_payload_restored_total", "counter", "Payloads restored."),
    Metric(
        "oxidized_oracle_verdicts_total",
        "counter",
        "What the compression oracle said of packets that may be compressed.",
        ("verdict",),
    ),
    Metric("oxidized_oracle_model_active", "gauge", "1: the oracle goes by its model, 0: by the heuristic."),
    Metric(
        "oxidized_class_packets_total", "counter", "Packets of users to be sent, by class.", ("class",)
    ),
    Metric("oxidized_class_changes_total", "counter", "Times that a flow was given another class."),
    Metric(
        "oxidized_repair_packets_total",
        "counter",
        "Datagrams kept for repair by what became of them: kept (all), lost (of those, found lost), repaired "
        "(by a copy), in_vain (repeated though they had arrived), too_late, over_budget (more than "
        "max_overhead), left_to_code (lost, and not repeated as repair symbols were sent).",
        ("class", "result"),
    ),
    Metric(
        "oxidized_repair_sent_total",
        "counter",
        "Repair datagrams sent: copies (repeat), symbols of the code (code).",
        ("class", "kind"),
    ),
    Metric(
        "oxidized_repair_unrepaired_packets_total",
        "counter",
        "Datagrams not repaired: lost to a full queue, of which the sender must hear (congestion), pushed "
        "out by newer ones (crowded), no way to send the repair (unsent).",
        ("reason",),
    ),
    Metric(
        "oxidized_repair_received_total",
        "counter",
        "Repair received: copies (repeat) and symbols (code); what they brought (restored by copies, "
        "decoded), what had come already (known), symbols of too much loss (undecoded), numbers the peer "
        "gave up (abandoned).",
        ("kind",),
    ),
    Metric(
        "oxidized_repair_overhead_ratio_max",
        "gauge",
        "Repair per packet sent that the configuration allows: timed (classes with a deadline), bulk.",
        ("group",),
    ),
    Metric(
        "oxidized_path_repair_loss_ratio",
        "gauge",
        "Loss of what is kept for repair, moving average over some thousand packets.",
        _PATH,
    ),
    Metric(
        "oxidized_path_repair_regime",
        "gauge",
        "1 for the kind of loss that the path is taken to have, 0 for the others.",
        (*_PATH, "regime"),
    ),
    Metric(
        "oxidized_loss_predictor_info",
        "gauge",
        "1; which predictor was asked for and which one answers.",
        ("mode", "active"),
    ),
    Metric("oxidized_loss_predictor_steps_total", "counter", "Steps of 10 ms that loss was foretold for."),
    Metric(
        "oxidized_loss_predictor_fallbacks_total",
        "counter",
        "Of those, steps that another predictor than the one asked for answered.",
        ("reason",),
    ),
    Metric("oxidized_bundles_total", "counter", "Datagrams sent that carry several packets of users."),
    Metric("oxidized_outer_datagrams_total", "counter", "Datagrams sent and received.", _DIRECTION),
    Metric("oxidized_outer_bytes_total", "counter", "Their UDP payload.", _DIRECTION),
    Metric("oxidized_opened_datagrams_total", "counter", "Datagrams received that proved authentic."),
    Metric("oxidized_control_datagrams_total", "counter", "QUIC datagrams received."),
    Metric(
        "oxidized_own_datagrams_total",
        "counter",
        "Datagrams sent that carry no packet of a user (acknowledgements, probes, keepalives).",
    ),
    Metric("oxidized_own_dropped_datagrams_total", "counter", "Those that could not be sent."),
    Metric(
        "oxidized_own_inner_packets_total",
        "counter",
        "Packets of our own written to the TUN: ICMP answers to what is too big for the path.",
    ),
    Metric("oxidized_own_inner_dropped_packets_total", "counter", "Those that could not be written."),
    Metric(
        "oxidized_dropped_packets_total",
        "counter",
        "Packets that ended otherwise than sent or delivered, by reason (listed below). Directions: transmit "
        "(packets of users), receive_datagram (what came from the network), receive (packets found in it).",
        ("direction", "reason"),
    ),
    Metric(
        "oxidized_kernel_receive_drops_total",
        "counter",
        "Datagrams lost because the UDP buffer was full; the kernel counts a train of them once.",
    ),
    Metric(
        "oxidized_lost_events_total", "counter", "Reports of the packet path that the control plane missed."
    ),
    Metric(
        "oxidized_offload_active",
        "gauge",
        "1 while the kernel takes and gives in one piece: TCP and UDP super-packets at the TUN (tso, uso), "
        "trains to and from the sockets (gso, gro).",
        ("offload",),
    ),
    Metric("oxidized_tun_reads_total", "counter", "Packets and super-packets read from the TUN."),
    Metric("oxidized_tun_writes_total", "counter", "Packets and super-packets written to the TUN."),
    Metric(
        "oxidized_tun_refused_supers_total",
        "counter",
        "Super-packets the TUN refused; their packets were then written one by one.",
    ),
    Metric("oxidized_udp_sends_total", "counter", "Datagrams and trains handed to the sockets."),
    Metric("oxidized_udp_reads_total", "counter", "Datagrams and trains taken from the sockets."),
    Metric(
        "oxidized_udp_refused_trains_total",
        "counter",
        "Trains the kernel refused; their datagrams were then sent one by one.",
    ),
    Metric(
        "oxidized_udp_train_trials_total",
        "counter",
        "Times that a path on which trains were lost went without for a while, to see whether more arrives.",
    ),
    Metric(
        "oxidized_udp_trains_lost_paths_total",
        "counter",
        "Paths that go without trains for good: a device on the way takes them and loses their datagrams. "
        "With most paths found so, gso is given up.",
    ),
    Metric(
        "oxidized_stage_packets_total",
        "counter",
        "Packets that went through a stage of the packet path while its time was taken: one turn in 64.",
        ("path", "stage"),
    ),
    Metric("oxidized_stage_seconds_total", "counter", "The time it took for them.", ("path", "stage")),
    Metric(
        "oxidized_order_waiting_packets",
        "gauge",
        "TCP packets from peers that wait for a lost packet of their flow; in oxidized_inner_held_packets.",
    ),
    Metric("oxidized_order_held_packets_total", "counter", "Packets that waited like that."),
    Metric(
        "oxidized_order_packets_total",
        "counter",
        "Those that went on: the lost packet came (filled), nothing was missing before them any more "
        "(resolved), they had waited long enough (timeout), there was no room for more (full).",
        ("result",),
    ),
    Metric(
        "oxidized_order_lost_holes_total",
        "counter",
        "Runs of missing datagrams that were not waited for, for want of room.",
    ),
    Metric("oxidized_pool_free_packets", "gauge", "Free packet buffers."),
    Metric("oxidized_datapath_memory_bytes", "gauge", "Memory of the packet path, all taken at start."),
    Metric("oxidized_watchdog_heartbeats_total", "counter", "Turns of the packet path's loop."),
    Metric(
        "oxidized_control_events_total",
        "counter",
        "What the control plane refused or had to do, by reason (listed below).",
        ("reason",),
    ),
    Metric("oxidized_config_last_reload_successful", "gauge", "1 when all of the last reload was applied."),
    Metric(
        "oxidized_config_last_reload_timestamp_seconds", "gauge", "When it was; absent: none since start."
    ),
    Metric("oxidized_health_messages", "gauge", "Lines that `oxidized-ctl status` shows under Health."),
    Metric("process_start_time_seconds", "gauge", "When the daemon was started."),
    Metric("process_resident_memory_bytes", "gauge", "Resident memory."),
    Metric("process_cpu_seconds_total", "counter", "User and system time of all threads."),
    Metric("process_open_fds", "gauge", "Open file descriptors."),
)
