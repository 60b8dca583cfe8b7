"""A restorer of compressed headers by the letter of PROTOCOL.md section 9: slow, sharing nothing with C."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

IP, UDP, RTP, TCP, ICMP, ESP = range(6)
COMPUTED, CARRIED, CONSTANT = range(3)
EXTENSIONS = (0, 43, 60)


class Refused(Exception):
    """The item is not restored; the verdict is the text."""


class Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        if self.at + count > len(self.data):
            raise Refused("truncated")
        self.at += count
        return self.data[self.at - count : self.at]

    def u(self, count: int) -> int:
        return int.from_bytes(self.take(count), "big")

    def number(self) -> int:
        value = shift = 0
        while True:
            byte = self.u(1)
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def signed(self) -> int:
        value = self.number()
        return -(value + 1) // 2 if value & 1 else value // 2


@dataclass
class Fields:
    """What changes: of each IP header a triple, and of the transport by name."""

    tos: list[int] = field(default_factory=list)
    ttl: list[int] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    id_modes: list[int] = field(default_factory=list)
    sum_mode: int = 0
    checksum: int = 0
    seq: int = 0
    ack: int = 0
    stamp: int = 0
    echo: int = 0
    flags: int = 0
    reserved: int = 0
    window: int = 0
    urgent: int = 0
    stride: int = 0
    bias: int = 0

    def copy(self) -> Fields:
        lists = {name: list(getattr(self, name)) for name in ("tos", "ttl", "ids", "id_modes")}
        return replace(self, **lists)


@dataclass
class Shape:
    profile: int
    versions: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    l4: int = 0
    protocol: int = 0
    stamps: int = 0


@dataclass
class Candidate:
    number: int
    path: int
    pn: int
    fields: Fields


@dataclass
class Flow:
    shape: Shape
    fixed: bytes
    kept: list[Candidate] = field(default_factory=list)
    failed: list[tuple[int, int, int]] = field(default_factory=list)  # slot, path, packet number


@dataclass
class Once:
    marker: int = 0
    sack: list[int] = field(default_factory=list)


def above(a: int, b: int) -> bool:
    return 0 < (a - b) % 65536 < 32768


def swap(value: int) -> int:
    return value >> 8 | (value & 0xFF) << 8


def internet_sum(data: bytes) -> int:
    total = sum(int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big") for i in range(0, len(data), 2))
    while total > 0xFFFF:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


class Restorer:
    def __init__(self, flows: int) -> None:
        self.limit = flows
        self.flows: dict[int, Flow] = {}

    def restore(self, path: int, pn: int, item: bytes) -> bytes:
        """The packet; Refused where there is none."""
        r = Reader(item)
        first = r.u(1)
        flow_id = first & 0x7F
        if flow_id == 127:
            flow_id += r.u(1)
        form = r.u(1)
        if first < 0x80:
            raise Refused("bad-form")
        if flow_id >= self.limit:
            raise Refused("unknown-flow")
        if form == 0:
            return self._setup(flow_id, path, pn, r)
        if flow_id not in self.flows:
            raise Refused("unknown-flow")
        return self._refer(self.flows[flow_id], path, pn, form, r)

    # ---- 9.2 ----

    def _setup(self, flow_id: int, path: int, pn: int, r: Reader) -> bytes:
        number = r.u(2)
        kind, modes = r.u(1), r.u(2)
        shape, fields = Shape(kind >> 4), Fields(sum_mode=modes & 3)
        if shape.profile in (RTP, TCP):
            fields.stride = r.number()
        header = self._header(r, shape, kind & 15, fields.sum_mode)
        once = Once()
        if shape.profile == TCP:
            once.sack = [r.u(4) for _ in range(2 * r.u(1))]
            shape.stamps = stamps_of(header, shape.l4)
        fields.id_modes = [modes >> (2 + 3 * i) & 7 for i in range(len(shape.starts))]
        fixed = take(bytearray(header), shape, fields, once)
        packet = build(shape, fixed, fields, once, r.data[r.at :])
        known = self.flows.get(flow_id)
        if known is None or (known.shape, known.fixed) != (shape, fixed):
            if known is not None and not newer(known, path, pn, number):
                return packet
            self.flows[flow_id] = Flow(shape, fixed)
        keep(self.flows[flow_id], Candidate(number, path, pn, fields))
        return packet

    def _header(self, r: Reader, shape: Shape, parts: int, sum_mode: int) -> bytes:
        out = bytearray()
        protocol = 41 if r.data[r.at] >> 4 == 6 else 4
        for _ in range(parts):
            at = len(out)
            if protocol in EXTENSIONS and shape.versions[-1] == 6:
                out += r.take(2)
                out += r.take(out[at + 1] * 8 + 6)
                protocol = out[at]
                continue
            shape.starts.append(at)
            shape.versions.append(6 if protocol == 41 else 4)
            if protocol == 41:
                out += r.take(4) + bytes(2) + r.take(34)
                protocol = out[at + 6]
            else:
                out += r.take(2) + bytes(2) + r.take(6) + bytes(2)
                out += r.take((out[at] & 15) * 4 - 12)
                protocol = out[at + 9]
        shape.l4, shape.protocol = len(out), protocol
        checksum = b"" if sum_mode else bytes(2)
        wanted = 0 if checksum else 2
        match shape.profile:
            case 1 | 2:
                out += r.take(4) + bytes(2) + (checksum or r.take(wanted))
                if shape.profile == RTP:
                    out += r.take(12)
                    out += r.take(4 * (out[shape.l4 + 8] & 15))
            case 3:
                out += r.take(16) + (checksum or r.take(wanted)) + r.take(2)
                out += r.take((out[shape.l4 + 12] >> 4) * 4 - 20)
            case 4:
                out += r.take(2) + (checksum or r.take(wanted)) + r.take(4)
            case 5:
                out += r.take(8)
        return bytes(out)

    # ---- 9.1, 9.3, 9.4 ----

    def _refer(self, flow: Flow, path: int, pn: int, form: int, r: Reader) -> bytes:
        code, is_exact, ahead = form & 31, form == 0x20, 0
        if is_exact:
            number = r.u(2)
            slot, distance = number % 4, r.signed()
            found = [c for c in flow.kept if c.number == number]
        elif code == 0:
            raise Refused("bad-form")
        else:
            slot = form >> 5 & 3
            distance = r.u(1) if code == 31 else code
            found = [c for c in flow.kept if c.number % 4 == slot and c.path == path and c.pn < pn]
        ref = found[0] if found else None
        for other in found:
            ref = other if ref and above(other.number, ref.number) else ref
        if ref and not is_exact and any(f[:2] == (slot, path) and ref.pn <= f[2] < pn for f in flow.failed):
            ref = None
        if ref is None:
            self._note(flow, path, pn, form, slot, r)
            raise Refused("unknown-reference")
        if not is_exact:
            distance += 4 * ref.fields.bias
            if code != 31:
                ahead = implied(code, ref.fields.bias)
        now, once = ref.fields.copy(), Once()
        predict_ids(now, flow.shape, distance)
        extra = {"seq": 0, "jump": 0, "residual": 0}
        general = 0
        if form & 0x80 or is_exact:
            general, explicit = masks(flow.shape, ref.fields, now, once, extra, r)
            ahead = explicit or ahead
        carried(flow.shape, now, general, r)
        scale = now.stride if flow.shape.profile == TCP else 1
        now.seq = (ref.fields.seq + distance * scale + extra["seq"]) % 2**32
        if flow.shape.profile == RTP:
            now.ack = (ref.fields.ack + (distance + extra["jump"]) * now.stride + extra["residual"]) % 2**32
        packet = build(flow.shape, flow.fixed, now, once, r.data[r.at :])
        if ahead:
            keep(flow, Candidate((ref.number + ahead) % 65536, path, pn, now))
        return packet

    def _note(self, flow: Flow, path: int, pn: int, form: int, slot: int, r: Reader) -> None:
        """What could have become a candidate."""
        code = form & 31
        aheads = [] if code in (0, 31) else [implied(code, 0), implied(code, 1)]
        if form & 0x80 or form == 0x20:
            extra = {"seq": 0, "jump": 0, "residual": 0}
            none = Fields([0] * 3, [0] * 3, [0] * 3, [0] * 3)
            aheads.append(masks(flow.shape, none, none.copy(), Once(), extra, r)[1])
        flow.failed += [((slot + ahead) % 4, path, pn) for ahead in aheads if ahead]


def implied(code: int, bias: int) -> int:
    if bias:
        return 3 if code == 8 else 0
    return code // 8 if code % 8 == 0 else 0


def newer(flow: Flow, path: int, pn: int, number: int) -> bool:
    here = [c.pn for c in flow.kept if c.path == path and c.pn != pn]
    if here:
        newest = [c for c in flow.kept if c.path == path and c.pn != pn]
        return pn > max(c.pn for c in newest)
    return all(above(number, c.number) for c in flow.kept)


def keep(flow: Flow, candidate: Candidate) -> None:
    flow.kept = [c for c in flow.kept if c.number != candidate.number] + [candidate]
    if len(flow.kept) > 6:
        lowest = flow.kept[0]
        for other in flow.kept:
            lowest = other if above(lowest.number, other.number) else lowest
        flow.kept.remove(lowest)


def predict_ids(now: Fields, shape: Shape, distance: int) -> None:
    for i, version in enumerate(shape.versions):
        if version == 4 and now.id_modes[i] in (1, 4):
            now.ids[i] = (now.ids[i] + distance) % 65536
        elif version == 4 and now.id_modes[i] == 2:
            now.ids[i] = swap((swap(now.ids[i]) + distance) % 65536)


def masks(
    shape: Shape, ref: Fields, now: Fields, once: Once, extra: dict[str, int], r: Reader
) -> tuple[int, int]:
    """The general mask, and how far the candidate's number is above the reference's; 0: it is none."""
    ahead = 0
    if shape.profile == RTP:
        mask = r.u(1)
        if 0 < mask < 0x80:
            extra["jump"] = mask
            return 0, 0
        if mask:
            once.marker = 0x80 if mask & 0x40 else 0
            extra["residual"] = r.signed() if mask & 0x20 else 0
            extra["jump"] = r.number() if mask & 0x10 else 0
            ahead = 2 if mask & 8 else 0
            if not mask & 1:
                return 0, ahead
    elif shape.profile == TCP:
        mask = r.u(1)
        extra["seq"] = r.signed() if mask & 0x80 else 0
        now.ack = (ref.ack + (r.signed() if mask & 0x40 else 0)) % 2**32
        now.window = (ref.window + (r.signed() if mask & 0x20 else 0)) % 65536
        moved = r.number() if mask & 0x10 else 0
        now.stamp = (ref.stamp + moved) % 2**32
        now.echo = (ref.echo + moved + (r.signed() if mask & 8 else 0)) % 2**32
        now.flags = ref.flags & ~8 | (8 if mask & 4 else 0)
        for _ in range(r.u(1) if mask & 2 else 0):
            left = (now.ack + r.signed()) % 2**32
            once.sack += [left, (left + r.number()) % 2**32]
        if not mask & 1:
            return 0, 0
    general = r.u(1)
    if general & 0x80:
        ahead = r.u(1)
    versions = shape.versions
    for i in [i for i, version in enumerate(versions) if general & 0x40 and version == 4]:
        now.id_modes[i], now.ids[i] = r.u(1), r.u(2)
    for i in range(len(versions) if general & 0x20 else 0):
        now.tos[i], now.ttl[i] = r.u(1), r.u(1)
    if general & 0x10:
        now.sum_mode = r.u(1)
        now.checksum = r.u(2) if now.sum_mode else now.checksum
    if general & 8:
        now.stride = r.number()
    if general & 4:
        now.bias = r.u(1)
    if general & 2:
        now.flags, now.reserved, now.urgent = r.u(1), r.u(1), r.u(2)
    return general, ahead


def carried(shape: Shape, now: Fields, general: int, r: Reader) -> None:
    for i, version in enumerate(shape.versions):
        if general & 0x40 or version == 6:
            continue
        if now.id_modes[i] == 3:
            now.ids[i] = r.u(2)
        elif now.id_modes[i] == 4:
            now.ids[i] = (now.ids[i] + r.signed()) % 65536
    if not general & 0x10 and now.sum_mode == CARRIED:
        now.checksum = r.u(2)


# ---- 9.5 ----


def stamps_of(header: bytes, l4: int) -> int:
    at = l4 + 20
    while at < len(header) and header[at] != 0:
        if header[at] == 1:
            at += 1
            continue
        size = header[at + 1] if at + 1 < len(header) else 0
        if size < 2 or at + size > len(header):
            return 0
        if header[at] == 8 and size == 10:
            return at + 2
        at += size
    return 0


def sum_at(shape: Shape) -> int:
    return {UDP: 6, RTP: 6, TCP: 16, ICMP: 2}.get(shape.profile, 0)


class Spot:
    """A field at a place of a header; `clear` returns what was there."""

    def __init__(self, header: bytearray) -> None:
        self.header = header

    def clear(self, at: int, size: int) -> int:
        value = int.from_bytes(self.header[at : at + size], "big")
        self.header[at : at + size] = bytes(size)
        return value

    def put(self, at: int, size: int, value: int) -> None:
        self.header[at : at + size] = (value % 256**size).to_bytes(size, "big")


def take(header: bytearray, shape: Shape, f: Fields, once: Once) -> bytes:
    spot, l4 = Spot(header), shape.l4
    for version, at in zip(shape.versions, shape.starts, strict=True):
        if version == 6:
            word = int.from_bytes(header[at : at + 4], "big")
            f.tos.append(word >> 20 & 0xFF)
            spot.put(at, 4, word & 0xF00FFFFF)
            f.ttl.append(spot.clear(at + 7, 1))
            f.ids.append(0)
        else:
            f.tos.append(spot.clear(at + 1, 1))
            f.ids.append(spot.clear(at + 4, 2))
            f.ttl.append(spot.clear(at + 8, 1))
    if sum_at(shape):
        f.checksum = spot.clear(l4 + sum_at(shape), 2)
    match shape.profile:
        case 2:
            once.marker = header[l4 + 9] & 0x80
            header[l4 + 9] &= 0x7F
            f.seq, f.ack = spot.clear(l4 + 10, 2), spot.clear(l4 + 12, 4)
        case 3:
            f.seq, f.ack = spot.clear(l4 + 4, 4), spot.clear(l4 + 8, 4)
            f.reserved = header[l4 + 12] & 15
            header[l4 + 12] &= 0xF0
            f.flags, f.window, f.urgent = (
                spot.clear(l4 + 13, 1),
                spot.clear(l4 + 14, 2),
                spot.clear(l4 + 18, 2),
            )
            if shape.stamps:
                f.stamp, f.echo = spot.clear(shape.stamps, 4), spot.clear(shape.stamps + 4, 4)
        case 4:
            f.seq = spot.clear(l4 + 6, 2)
        case 5:
            f.seq = spot.clear(l4 + 4, 4)
    return bytes(header)


def build(shape: Shape, fixed: bytes, f: Fields, once: Once, payload: bytes) -> bytes:
    header = bytearray(fixed)
    if once.sack:
        header += bytes([1, 1, 5, 2 + 4 * len(once.sack)])
        header += b"".join(edge.to_bytes(4, "big") for edge in once.sack)
    spot, l4, size = Spot(header), shape.l4, len(header) + len(payload)
    if size > 65535:
        raise Refused("too-long")
    match shape.profile:
        case 2:
            header[l4 + 9] |= once.marker
            spot.put(l4 + 10, 2, f.seq)
            spot.put(l4 + 12, 4, f.ack)
        case 3:
            spot.put(l4 + 4, 4, f.seq)
            spot.put(l4 + 8, 4, f.ack)
            header[l4 + 12] = (len(header) - l4) // 4 << 4 | f.reserved
            header[l4 + 13] = f.flags
            spot.put(l4 + 14, 2, f.window)
            spot.put(l4 + 18, 2, f.urgent)
            if shape.stamps:
                spot.put(shape.stamps, 4, f.stamp)
                spot.put(shape.stamps + 4, 4, f.echo)
        case 4:
            spot.put(l4 + 6, 2, f.seq)
        case 5:
            spot.put(l4 + 4, 4, f.seq)
    if shape.profile in (UDP, RTP):
        spot.put(l4 + 4, 2, size - l4)
    for i, (version, at) in enumerate(zip(shape.versions, shape.starts, strict=True)):
        if version == 6:
            spot.put(at, 4, int.from_bytes(header[at : at + 4], "big") | f.tos[i] << 20)
            spot.put(at + 4, 2, size - at - 40)
            header[at + 7] = f.ttl[i]
        else:
            header[at + 1], header[at + 8] = f.tos[i], f.ttl[i]
            spot.put(at + 2, 2, size - at)
            spot.put(at + 4, 2, f.ids[i])
            spot.put(at + 10, 2, 0)
            spot.put(at + 10, 2, internet_sum(bytes(header[at : at + (header[at] & 15) * 4])))
    if sum_at(shape):
        spot.put(l4 + sum_at(shape), 2, f.checksum if f.sum_mode else 0)
        if f.sum_mode == COMPUTED:
            spot.put(l4 + sum_at(shape), 2, transport_sum(shape, bytes(header), payload))
    return bytes(header) + payload


def transport_sum(shape: Shape, header: bytes, payload: bytes) -> int:
    at, is_v6 = shape.starts[-1], shape.versions[-1] == 6
    segment = header[shape.l4 :] + payload
    ends = header[at + 8 : at + 40] if is_v6 else header[at + 12 : at + 20]
    pseudo = ends + len(segment).to_bytes(4, "big") + shape.protocol.to_bytes(4, "big")
    if shape.profile == ICMP and not is_v6:
        pseudo = b""
    value = internet_sum(pseudo + segment)
    return value or 0xFFFF if shape.profile in (UDP, RTP) else value
