"""Flows and rules of traffic classes, from and to C."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, Final

from oxidized.core.flows import ClassRule, Flow
from oxidized.ffi._oxi import ffi, lib
from oxidized.ffi.names import names_of

CLASS_NAMES: Final = names_of(lib.oxi_class_name)
WHY_NAMES: Final = names_of(lib.oxi_why_name)
FLOWS_MAX: Final = int(lib.OXI_FLOWS_MAX)  # of each worker
CLASS_RULES_MAX: Final = int(lib.OXI_CLASS_RULES_MAX)
_PLAIN: Final = (
    "peer", "protocol", "source_port", "target_port", "dscp", "packets", "bytes", "rate", "size_mean",
    "gap_mean_us", "first_ns", "last_ns", "changes",
)  # fmt: skip


def rules_write(rules: Sequence[ClassRule]) -> Any:
    """An array of `oxi_class_rule`."""
    found = ffi.new("oxi_class_rule[]", max(len(rules), 1))
    for native, rule in zip(found, rules, strict=False):
        native.traffic_class, native.protocol, native.port = rule.traffic_class, rule.protocol, rule.port
        native.dscp = lib.OXI_DSCP_ANY if rule.dscp is None else rule.dscp
        if rule.network is not None:
            packed = rule.network.network_address.packed
            ffi.memmove(native.ip, packed, len(packed))
            native.family = lib.OXI_AF_INET if rule.network.version == 4 else lib.OXI_AF_INET6
            native.bits = rule.network.prefixlen
    return found


def flow_read(native: Any) -> Flow:
    width = 4 if native.family == lib.OXI_AF_INET else 16
    return Flow(
        source=str(ip_address(bytes(ffi.buffer(native.source, width)))),
        target=str(ip_address(bytes(ffi.buffer(native.target, width)))),
        is_fragment=bool(native.is_fragment),
        traffic_class=CLASS_NAMES[native.traffic_class],
        why=WHY_NAMES[native.why],
        **{name: int(getattr(native, name)) for name in _PLAIN},
    )
