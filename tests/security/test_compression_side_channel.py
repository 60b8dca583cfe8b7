"""Compression before encryption, attacked: a secret found out from the sizes of packets alone (CRIME, 2012).

The victim's requests carry a cookie of sixteen hexadecimal digits in the clear. The attacker makes the victim
ask for paths of his choice, as a script on any page can, and sees how large the packets in the tunnel are; he
knows all of the request but the cookie. It works when the operator insists on it (docs/compression.md). With
the default, and with flows that may be named without insisting, sizes depend on nothing but lengths; and what
is in another packet never counts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from oxidized import config, keys
from oxidized.config_payload import flows
from oxidized.errors import ConfigError
from oxidized.ffi.lz import Compressor
from tests.native.rig import ipv4
from tests.unit.ops.samples import EDGE, PRIVATE, write

DIGITS = "0123456789abcdef"
SECRET_DIGITS = 16
KNOWN = "Cookie: auth7="  # a name that is in no dictionary, or the match with that would hide ours
CONTEXTS = (5, 6, 7, 9, 11)  # so much of what is known stands before a guess: no border hides all of them
HEADERS = 40
HTTP_RULES = flows("http").rules

Sizes = Callable[[str, str], int]  # path, cookie -> bytes on the wire that the attacker sees


def request(path: str, cookie: str) -> bytes:
    text = f"GET /{path} HTTP/1.1\r\nHost: bank.example\r\n{KNOWN}{cookie}\r\nAccept: */*\r\n\r\n"
    segment = (40000).to_bytes(2, "big") + (80).to_bytes(2, "big") + bytes(8) + b"\x50\x18" + bytes(6)
    packet = bytearray(ipv4(payload=segment + text.encode()))
    packet[9] = 6
    return bytes(packet)


def sent_bytes(lz: Compressor, packet: bytes) -> int:
    """As the packet path has it: by the policy, and smaller or as it is."""
    dictionary = lz.dictionary(packet)
    item = None if dictionary is None else lz.compress(packet, dictionary, clear_bytes=HEADERS)
    return len(packet if item is None else item)


def compressor_of(folder: Path, table: str) -> Compressor:
    """By the configuration that an operator wrote."""
    keys.write_new(str(folder / "key"), PRIVATE)
    path = write(folder, EDGE + table)
    return Compressor(config.load(path).to_settings({"CREDENTIALS_DIRECTORY": str(folder)}).compression.rules)


def best_guess(sizes: Sizes, own: Sizes, cookie: str, found: str, count: int) -> str:
    """Of all strings of so many digits the one that makes the fewest bytes; "": several do.

    The attacker has the program too: `own` tells him what a guess costs beside a cookie without more digits.
    """
    known, blank = KNOWN + found, found + "z" * (SECRET_DIGITS - len(found))
    costs: dict[str, int] = {}
    for guess in map("".join, itertools.product(DIGITS, repeat=count)):
        paths = [f"{known[-n:]}{guess}}}" for n in CONTEXTS]
        costs[guess] = sum(sizes(path, cookie) - own(path, blank) for path in paths)
    least = min(costs.values())
    best = [guess for guess, cost in costs.items() if cost == least]
    return best[0] if len(best) == 1 else ""


def recovered(sizes: Sizes, own: Sizes, cookie: str) -> str:
    """What a greedy attacker makes of the sizes, who tries two digits at once where one does not tell."""
    found = ""
    while len(found) < SECRET_DIGITS:
        more = best_guess(sizes, own, cookie, found, 1) or best_guess(sizes, own, cookie, found, 2)
        if not more:
            break
        found += more
    return found[:SECRET_DIGITS]


def attacked(lz: Compressor) -> tuple[Sizes, Sizes]:
    """What is seen of the victim, and the attacker's own copy."""
    own = Compressor(HTTP_RULES)
    return (
        lambda path, cookie: sent_bytes(lz, request(path, cookie)),
        lambda path, cookie: sent_bytes(own, request(path, cookie)),
    )


def right_digits(found: str, cookie: str) -> int:
    """From the first on: a wrong one leads astray."""
    return next((i for i, (a, b) in enumerate(zip(found, cookie, strict=False)) if a != b), len(found))


def cookies(count: int) -> list[str]:
    dice = Random(7)
    return ["".join(dice.choice(DIGITS) for _ in range(SECRET_DIGITS)) for _ in range(count)]


UNSAFE = '[compression]\npayload = ["http"]\npayload_unsafe = true\n'
SAFE = {"default": "", "others": '[compression]\npayload = ["syslog", "mqtt", "tcp:5432"]\n'}


def test_unsafe_setting_gives_the_secret_away(tmp_path: Path) -> None:
    """What the operator insists on: text of others and a secret in one packet."""
    lz = compressor_of(tmp_path, UNSAFE)
    tried = cookies(12)
    right = [right_digits(recovered(*attacked(lz), cookie), cookie) for cookie in tried]
    assert sum(right) > 0.9 * SECRET_DIGITS * len(tried), right
    assert SECRET_DIGITS in right, "some are found whole"


@pytest.mark.parametrize("name", SAFE)
def test_safe_settings_give_nothing_away(tmp_path: Path, name: str) -> None:
    """Every guess costs the same: the size of a packet is a matter of its length alone."""
    lz = compressor_of(tmp_path, SAFE[name])
    for cookie in cookies(5):
        seen, own = attacked(lz)
        assert recovered(seen, seen, cookie) == ""
        assert right_digits(recovered(seen, own, cookie), cookie) <= 1, "one in sixteen is luck"
    dice = Random(8)
    for count in range(0, 1200, 100):
        sizes = {sent_bytes(lz, request(c * count, k)) for c in "Ax0" for k in cookies(3)}
        sizes.add(sent_bytes(lz, request("".join(dice.choice(DIGITS) for _ in range(count)), cookies(1)[0])))
        assert len(sizes) == 1


def test_it_takes_a_second_word(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not safe"):
        compressor_of(tmp_path, '[compression]\npayload = ["http"]\n')


def test_another_packet_never_counts(tmp_path: Path) -> None:
    """Even on the unsafe setting: with the cookie in packets of its own, all that is seen stays the same
    whatever the cookie is, and nothing is found out."""
    lz = compressor_of(tmp_path, UNSAFE)

    def apart(path: str, cookie: str) -> int:
        with_cookie = sent_bytes(lz, request("", cookie))
        of_attacker = sent_bytes(lz, request(path, ""))
        return of_attacker + sent_bytes(lz, request("", cookie)) - with_cookie

    seen, own = [], attacked(lz)[1]
    for cookie in cookies(6):
        sizes: list[int] = []

        def noted(path: str, secret: str, sizes: list[int] = sizes) -> int:
            sizes.append(apart(path, secret))
            return sizes[-1]

        assert right_digits(best_guess(noted, own, cookie, "", 1), cookie) == 0
        seen.append(sizes)
    assert all(sizes == seen[0] for sizes in seen)
