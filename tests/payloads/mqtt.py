"""MQTT 3.1.1 packets as they lie in TCP segments: telemetry in PUBLISH, mostly JSON."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from tests.payloads.words import NOUNS, hex_id, host, iso, pick, token, uuid


def field(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def length(count: int) -> bytes:
    out = bytearray()
    while True:
        count, low = divmod(count, 128)
        out.append(low | (0x80 if count else 0))
        if not count:
            return bytes(out)


def value(r: Random, low: float, high: float, digits: int) -> float:
    return round(r.uniform(low, high), digits)


def ambient(r: Random) -> dict[str, Any]:
    found = {
        "temperature": value(r, -20, 45, 2), "humidity": value(r, 10, 99, 1),
        "pressure": value(r, 960, 1050, 2), "co2": r.randrange(380, 2500), "battery": r.randrange(101),
        "voltage": value(r, 2.6, 4.2, 3), "rssi": -r.randrange(30, 110), "illuminance": r.randrange(20000),
    }  # fmt: skip
    return {name: found[name] for name in r.sample(sorted(found), r.randrange(2, 7))}


def meter(r: Random) -> dict[str, Any]:
    return {
        "power": value(r, 0, 9000, 1), "energy": value(r, 0, 99999, 3), "current": value(r, 0, 40, 2),
        "frequency": value(r, 49.9, 50.1, 2), "power_factor": value(r, 0, 1, 2),
    }  # fmt: skip


def position(r: Random) -> dict[str, Any]:
    return {
        "lat": value(r, -80, 80, 6), "lon": value(r, -180, 180, 6), "speed": value(r, 0, 130, 1),
        "heading": r.randrange(360), "satellites": r.randrange(4, 20),
    }  # fmt: skip


def envelope(r: Random, name: str) -> Any:
    data = r.choice((ambient, ambient, meter, position))(r)
    stamp: Any = pick(r, "iso", "ms", "s")
    stamp = iso(r) if stamp == "iso" else r.randrange(17 * 10**8, 18 * 10**8) * (1000 if stamp == "ms" else 1)
    match r.randrange(5):
        case 0:
            return {pick(r, "ts", "timestamp", "time"): stamp, **data}
        case 1:
            return {"device_id": name, "timestamp": stamp, "values": data, "seq": r.randrange(99999)}
        case 2:
            return {"deviceId": name, "type": pick(r, "sensor", "telemetry"), "data": data, "ts": stamp}
        case 3:
            key, number = r.choice(sorted(data.items()))
            return {"sensor": key, "value": number, "unit": pick(r, "C", "%", "hPa", "W", "V"), "time": stamp}
        case _:
            state = pick(r, "online", "offline", "alarm")
            return {"id": name, "status": state, "uptime": r.randrange(10**7), "fw": "2.4.1", **data}


def publish(r: Random) -> bytes:
    name = pick(r, host(r), hex_id(r, 12), f"sensor-{r.randrange(9999):04}", uuid(r))
    topic = pick(
        r, f"devices/{name}/telemetry", f"{r.choice(NOUNS)}/{r.choice(NOUNS)}/{name}/state",
        f"v1/{token(r, 15)}/up", f"factory/line{r.randrange(9)}/{name}/{pick(r, 'temperature', 'status')}",
        f"zigbee2mqtt/{r.choice(NOUNS)}_{r.choice(NOUNS)}", f"tele/{name}/SENSOR",
    )  # fmt: skip
    text = json.dumps(envelope(r, name), separators=(",", ":") if r.random() < 0.7 else None).encode()
    qos = r.randrange(2)
    body = field(topic.encode()) + (r.randrange(1, 65536).to_bytes(2, "big") if qos else b"") + text
    return bytes([0x30 | qos << 1]) + length(len(body)) + body


def connect(r: Random) -> bytes:
    body = field(b"MQTT") + bytes([4, 0xC2, 0, 60]) + field(f"client-{hex_id(r, 12)}".encode())
    body += field(host(r).encode()) + field(token(r, 12).encode())
    return b"\x10" + length(len(body)) + body


def message(r: Random) -> bytes:
    """What one segment holds: mostly one PUBLISH, now and then two or a CONNECT."""
    roll = r.random()
    if roll < 0.05:
        return connect(r)
    if roll < 0.2:
        return publish(r) + publish(r)
    return publish(r)
