"""HTTP/1.1 messages (RFC 9112), each within one segment: pages, calls of programs, and their answers."""

from __future__ import annotations

import json
from random import Random

from tests.payloads.words import (
    FIRST,
    LAST,
    NOUNS,
    domain,
    hex_id,
    http_date,
    ip,
    iso,
    pick,
    token,
    user,
    uuid,
)  # fmt: skip


def agent(r: Random) -> str:
    major = r.randrange(115, 142)
    return pick(
        r,
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{major}.0.0.0 Safari/537.36",
        f"Mozilla/5.0 (X11; Linux x86_64; rv:{major}.0) Gecko/20100101 Firefox/{major}.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_4 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.4 Mobile/15E148 Safari/604.1",
        f"curl/8.{r.randrange(12)}.{r.randrange(3)}", f"python-requests/2.{r.randrange(25, 33)}.0",
        "Go-http-client/1.1",
        f"okhttp/4.{r.randrange(9, 13)}.0", f"{r.choice(NOUNS)}-agent/{r.randrange(9)}.1",
    )  # fmt: skip


def record(r: Random) -> dict[str, object]:
    whole: dict[str, object] = {
        "id": r.choice([r.randrange(10**6), uuid(r)]), "name": f"{r.choice(FIRST)} {r.choice(LAST)}",
        "email": f"{user(r)}@{domain(r)}", "created_at": iso(r), "updated_at": iso(r),
        "status": pick(r, "active", "pending", "disabled"), "price": round(r.uniform(1, 999), 2),
        "quantity": r.randrange(99), "tags": r.sample(NOUNS, 2), "enabled": r.random() < 0.5,
        "description": " ".join(r.choice(NOUNS) for _ in range(r.randrange(3, 9))), "parent": None,
    }  # fmt: skip
    return {name: whole[name] for name in r.sample(sorted(whole), r.randrange(4, 10))}


def request(r: Random) -> str:
    path = "/" + "/".join(r.choice(NOUNS) for _ in range(r.randrange(1, 4)))
    path = pick(r, path, f"/api/v{r.randrange(1, 4)}{path}/{r.randrange(9999)}", f"{path}.html", f"{path}.js")
    path += pick(r, "", f"?page={r.randrange(99)}&limit={pick(r, '10', '50')}", f"?v={hex_id(r, 8)}")
    method, body = pick(r, "GET", "GET", "GET", "POST", "PUT", "DELETE"), ""
    name = domain(r)
    lines = ["", f"Host: {pick(r, '', 'www.', 'api.')}{name}{pick(r, '', ':8080')}"]
    lines.append(f"User-Agent: {agent(r)}")
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"
    lines.append("Accept: " + pick(r, "*/*", "application/json", accept))
    if r.random() < 0.7:
        lines.append(f"Accept-Encoding: {pick(r, 'gzip', 'gzip, deflate', 'gzip, deflate, br')}")
    if r.random() < 0.5:
        tongue = pick(r, "en-US,en;q=0.5", "de-DE,de;q=0.9,en;q=0.8", "fr,en;q=0.7")
        lines.append(f"Accept-Language: {tongue}")
    if r.random() < 0.4:
        lines.append(f"Referer: http://{name}/{r.choice(NOUNS)}")
    if r.random() < 0.4:
        jar = pick(r, "session", "sid", "PHPSESSID")
        lines.append(f"Cookie: {jar}={hex_id(r, 26)}; theme={r.choice(NOUNS)}")
    if r.random() < 0.2:
        lines.append(f"Authorization: Bearer {token(r, 30)}.{token(r, 60)}.{token(r, 32)}")
    if r.random() < 0.2:
        lines += [f'If-None-Match: "{hex_id(r, 16)}"', f"If-Modified-Since: {http_date(r)}"]
    lines.append(f"Connection: {pick(r, 'keep-alive', 'keep-alive', 'close')}")
    if method in ("POST", "PUT"):
        body = json.dumps(record(r), separators=(",", ":"))
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    lines[0] = f"{method} {path} HTTP/1.1"
    return "\r\n".join(lines) + "\r\n\r\n" + body


def page(r: Random) -> str:
    rows = "".join(
        f'<li class="{r.choice(NOUNS)}"><a href="/{r.choice(NOUNS)}/{r.randrange(999)}">'
        f"{r.choice(LAST)}</a></li>\n"
        for _ in range(r.randrange(2, 8))
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f"<title>{r.choice(NOUNS)}</title>\n"
        f'<link rel="stylesheet" href="/static/{r.choice(NOUNS)}.css">\n</head>\n<body>\n'
        f'<div id="{r.choice(NOUNS)}">\n<h1>{r.choice(NOUNS)}</h1>\n<ul>\n{rows}</ul>\n'
        "</div>\n</body>\n</html>\n"
    )


def response(r: Random) -> str:
    status = pick(r, "200 OK", "200 OK", "201 Created", "204 No Content", "304 Not Modified", "404 Not Found",
                  "302 Found", "500 Internal Server Error")  # fmt: skip
    lines = [f"HTTP/1.1 {status}", f"Date: {http_date(r)}"]
    servers = ("nginx", "nginx/1.24.0", "Apache/2.4.58 (Debian)", "gunicorn", "cloudflare")
    lines.append(f"Server: {r.choice(servers)}")
    body = kind = ""
    if status[0] in "245" and "204" not in status:
        records = json.dumps({"items": [record(r) for _ in range(r.randrange(1, 4))], "total": 3})
        kind, body = r.choice((("application/json", records), ("text/html; charset=utf-8", page(r))))
    if kind:
        lines += [f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines.append("Connection: " + pick(r, "keep-alive", "close"))
    extra = (
        f"Last-Modified: {http_date(r)}", f'ETag: "{hex_id(r, 16)}"', "Cache-Control: no-cache",
        "Cache-Control: max-age=3600, public", f"X-Request-Id: {uuid(r)}", "Vary: Accept-Encoding",
        f"Set-Cookie: session={hex_id(r, 32)}; Path=/; HttpOnly", "X-Frame-Options: SAMEORIGIN",
        "Strict-Transport-Security: max-age=31536000; includeSubDomains", f"Via: 1.1 {ip(r)}",
    )  # fmt: skip
    lines += r.sample(extra, r.randrange(1, 5))
    return "\r\n".join(lines) + "\r\n\r\n" + body


def message(r: Random) -> bytes:
    return r.choice((request, response))(r).encode()
