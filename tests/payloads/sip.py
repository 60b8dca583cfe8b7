"""SIP messages (RFC 3261) of phones, softphones and trunks, some with SDP (RFC 8866)."""

from __future__ import annotations

from random import Random

from tests.payloads.words import domain, hex_id, ip, pick, port, token, user

AGENTS = (
    "Yealink SIP-T46S 66.86.0.15", "Grandstream GXP2170 1.0.11.39", "Asterisk PBX 18.20.2",
    "FPBX-16.0.40(18.9)", "Linphone/5.2.1 (belle-sip/5.3.0)", "PolycomVVX-VVX_411-UA/6.4.3.5814",
    "Zoiper rv2.10.20.4", "snomD785/10.1", "Cisco-CP8841/12.8.1", "MicroSIP/3.21.3",
    "kamailio (5.7.4 (x86_64/linux))", "Twilio Gateway",
)  # fmt: skip
CODECS = {
    "0": "PCMU/8000", "8": "PCMA/8000", "9": "G722/8000", "18": "G729/8000", "101": "telephone-event/8000",
    "111": "opus/48000/2", "96": "opus/48000/2", "3": "GSM/8000", "97": "iLBC/8000", "102": "G726-32/8000",
}  # fmt: skip


def number(r: Random) -> str:
    return pick(r, str(r.randrange(100, 9999)), f"+{r.randrange(10**9, 10**12)}", user(r))


def sdp(r: Random) -> str:
    address = ip(r)
    chosen = r.sample(sorted(CODECS), r.randrange(2, 6))
    stamp = r.randrange(10**9, 4 * 10**9)
    lines = [
        "v=0", f"o={pick(r, '-', 'root', user(r))} {stamp} {stamp + r.randrange(3)} IN IP4 {address}",
        f"s={pick(r, '-', 'session', 'SIP Call', 'Talk', 'A conversation')}", f"c=IN IP4 {address}", "t=0 0",
        f"m=audio {port(r) & ~1} RTP/{pick(r, 'AVP', 'AVP', 'SAVP')} {' '.join(chosen)}",
        *(f"a=rtpmap:{code} {CODECS[code]}" for code in chosen),
    ]  # fmt: skip
    if "101" in chosen:
        lines.append(f"a=fmtp:101 0-{pick(r, '15', '16')}")
    if "18" in chosen:
        lines.append("a=fmtp:18 annexb=no")
    lines += [f"a=ptime:{pick(r, '20', '30')}", pick(r, "a=sendrecv", "a=sendonly", "a=inactive")]
    return "\r\n".join(lines) + "\r\n"


def start(r: Random, method: str, is_reply: bool, target: str) -> str:
    if is_reply:
        return "SIP/2.0 " + pick(
            r, "200 OK", "180 Ringing", "100 Trying", "183 Session Progress", "401 Unauthorized",
            "407 Proxy Authentication Required", "486 Busy Here", "487 Request Terminated", "404 Not Found",
        )  # fmt: skip
    return f"{method} {target} SIP/2.0"


def digest(r: Random, home: str, who: str, target: str) -> str:
    more = pick(r, "", f', cnonce="{hex_id(r, 8)}", qop=auth, nc=0000000{r.randrange(9)}')
    return (
        f'{pick(r, "Authorization", "Proxy-Authorization")}: Digest username="{who}", realm="{home}", '
        f'nonce="{token(r, r.randrange(12, 36))}", uri="{target}", response="{hex_id(r, 32)}", '
        f"algorithm=MD5{more}"
    )


def message(r: Random) -> bytes:
    method = r.choice("INVITE INVITE REGISTER REGISTER OPTIONS BYE ACK SUBSCRIBE NOTIFY".split())
    home, near, caller, callee = domain(r), ip(r), number(r), number(r)
    target = f"sip:{home}" if method == "REGISTER" else f"sip:{callee}@{pick(r, home, ip(r))}"
    is_reply = r.random() < 0.4
    shown = pick(r, f'"{caller}" ', "")
    via_port = pick(r, "5060", "5060", str(port(r)))
    lines = [
        start(r, method, is_reply, target),
        f"Via: SIP/2.0/{pick(r, 'UDP', 'UDP', 'TCP')} {near}:{via_port};"
        f"{pick(r, '', 'rport;')}branch=z9hG4bK{pick(r, hex_id(r, 10), token(r, 9))}",
        f"Max-Forwards: {r.randrange(60, 71)}",
        f"From: {shown}<sip:{caller}@{home}>;tag={hex_id(r, r.randrange(6, 12))}",
        f"To: <sip:{callee}@{home}>" + (f";tag={token(r, 6)}" if is_reply or method == "BYE" else ""),
        f"Call-ID: {pick(r, hex_id(r, 24), token(r, 15))}{pick(r, '', '@' + near)}",
        f"CSeq: {r.randrange(1, 40000)} {method}",
        f"Contact: <sip:{caller}@{near}:{via_port}{pick(r, '', ';transport=udp', ';ob')}>",
        f"{'Server' if is_reply else 'User-Agent'}: {r.choice(AGENTS)}",
    ]
    if method in ("INVITE", "OPTIONS"):
        verbs = "INVITE ACK CANCEL OPTIONS BYE REFER SUBSCRIBE NOTIFY INFO MESSAGE UPDATE PRACK".split()
        lines.append("Allow: " + ", ".join(verbs[: r.randrange(5, 13)]))
    if r.random() < 0.5:
        options = r.sample(("replaces", "timer", "path", "100rel", "outbound"), 2)
        lines.append("Supported: " + ", ".join(options))
    if method in ("REGISTER", "SUBSCRIBE"):
        lines.append(f"Expires: {pick(r, '3600', '1800', '300', '60', '120')}")
    if not is_reply and r.random() < 0.4:
        lines.append(digest(r, home, caller, target))
    body = sdp(r) if method == "INVITE" and r.random() < 0.7 else ""
    lines += ["Content-Type: application/sdp"] if body else []
    lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n" + body).encode()
