"""Bounds on what comes from outside, in one place. Every one ends in a refusal that says so."""

from __future__ import annotations

CONFIG_BYTES_MAX = 4 << 20  # one file; 4096 peers are about 1 MiB
CONFIG_FILES_MAX = 4096  # include files
PEERS_MAX = 4096  # OXI_PEERS_LIMIT in oxi.h
PREFIXES_MAX = 65536  # allowed_ips over all peers: routes_max in oxi.h
ADDRESSES_MAX = 64  # of the interface
ENDPOINTS_MAX = 16  # of a peer
PAYLOAD_FLOWS_MAX = 20  # of compression.payload: with at most three ports each within OXI_LZ_RULES_MAX
CLASS_RULES_MAX = 64  # OXI_CLASS_RULES_MAX in oxi.h
KEY_FILE_BYTES_MAX = 4096

INTERFACE_NAME_CHARS_MAX = 15  # IFNAMSIZ less the final zero
UNIX_PATH_BYTES_MAX = 100  # sun_path has 108; some are left for the name while it is being made

CONTROL_CLIENTS_MAX = 32
CONTROL_REQUEST_BYTES_MAX = 4096
CONTROL_IDLE_S = 30.0  # a client that asks nothing, or does not read, for so long is let go
CONTROL_RESPONSE_BYTES_MAX = 64 << 20
FLOWS_SHOWN_MAX = 1024
PING_COUNT_MAX = 10_000
PING_INTERVAL_S_MIN = 0.01
PING_INTERVAL_S_MAX = 60.0
WAIT_S_MAX = 86_400.0

METRICS_CLIENTS_MAX = 16
METRICS_REQUEST_BYTES_MAX = 8192
METRICS_REQUEST_S = 5.0
METRICS_PEERS_MAX = 200  # above: aggregates and peer_up, peer_expected only

LOG_RING_RECORDS = 512
LOG_FOLLOWER_RECORDS = 512
LOG_MESSAGE_CHARS_MAX = 16_384
