"""What database clients and servers send in the clear: statements and rows, PostgreSQL's simple protocol."""

from __future__ import annotations

from random import Random

from tests.payloads.words import FIRST, LAST, NOUNS, domain, iso, pick, user


def typed(kind: bytes, body: bytes) -> bytes:
    return kind + (len(body) + 4).to_bytes(4, "big") + body


def statement(r: Random) -> str:
    table, other = r.choice(NOUNS) + "s", r.choice(NOUNS)
    return pick(
        r,
        f"SELECT id, name, {other}, created_at FROM {table} WHERE id = {r.randrange(10**6)} LIMIT 1",
        f"SELECT t.*, u.email FROM {table} t INNER JOIN users u ON u.id = t.user_id WHERE t.{other} = "
        f"'{r.choice(LAST)}' ORDER BY t.created_at DESC LIMIT {r.randrange(100)} OFFSET {r.randrange(1000)}",
        f"INSERT INTO {table} (name, email, {other}, created_at) VALUES ('{r.choice(FIRST)}', "
        f"'{user(r)}@{domain(r)}', {r.randrange(9999)}, '{iso(r, 6, '')}') RETURNING id",
        f"UPDATE {table} SET {other} = {r.randrange(9999)}, updated_at = now() "
        f"WHERE id = {r.randrange(10**6)}",
        f"DELETE FROM {table} WHERE {other} < '{iso(r, 0)}'",
        pick(r, "BEGIN", "COMMIT") + f"; SELECT count(*) FROM {table} WHERE {other} "
        "IS NOT NULL GROUP BY status",
    )


def row(r: Random) -> bytes:
    cells = [str(r.randrange(10**6)), r.choice(FIRST), f"{user(r)}@{domain(r)}",
             iso(r, 6, "+00").replace("T", " "), pick(r, "active", "pending", "t", "f")]  # fmt: skip
    body = len(cells).to_bytes(2, "big")
    return typed(b"D", body + b"".join(len(c).to_bytes(4, "big") + c.encode() for c in cells))


def message(r: Random) -> bytes:
    if r.random() < 0.5:
        return typed(b"Q", statement(r).encode() + b"\0")
    rows = r.randrange(2, 12)
    return b"".join(row(r) for _ in range(rows)) + typed(b"C", b"SELECT %d\0" % rows) + typed(b"Z", b"I")
