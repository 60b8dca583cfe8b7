"""The codecs of oxi.h that work without a plane, with every bad argument: an error, never a crash."""

from __future__ import annotations

from typing import Any

from oxidized.ffi._oxi import ffi, lib

from tests.robustness.test_boundary import FRAME, NULL, WHOLE, hdr_buffers


def test_compression_alone() -> None:
    out, number = ffi.new("uint8_t[100]"), ffi.new("uint32_t *")
    lz = ffi.gc(lib.oxi_lz_new(NULL, 0), lib.oxi_lz_free)
    assert lz != NULL
    assert lib.oxi_lz_new(NULL, 1) == NULL
    assert lib.oxi_lz_new(ffi.new("oxi_lz_rule[1]"), 2**32 - 1) == NULL
    lib.oxi_lz_free(NULL)
    for past in (6, 7, 8, 2**32 - 1):
        assert lib.oxi_lz_name(past) == lib.oxi_lz_text(past, number) == NULL
        assert lib.oxi_lz_result_name(past) == NULL
        assert lib.oxi_lz_compress(lz, 1, past, 0, b"x" * 50, 50, out, 100, number) == lib.OXI_E_ARG
    assert lib.oxi_lz_text(0, number) == lib.oxi_lz_text(1, NULL) == NULL
    assert lib.oxi_lz_class(lz, NULL, 1) == lib.OXI_E_ARG
    good: tuple[Any, ...] = (1, 0, 0, b"x" * 50, 50, out, 100, number)
    assert lib.oxi_lz_compress(lz, *good) == lib.OXI_OK and number[0] > 0
    for at, bad in ((0, 2), (2, 51), (2, 2**32 - 1), (3, NULL), (5, NULL), (7, NULL)):
        assert lib.oxi_lz_compress(lz, *good[:at], bad, *good[at + 1 :]) == lib.OXI_E_ARG
    for bad_call in ((b"x", 1, NULL, 9, number), (b"x", 1, out, 9, NULL), (b"x", 1, out, 9001, number)):
        assert lib.oxi_lz_restore(*bad_call) == lib.OXI_E_ARG
    assert lib.oxi_lz_compress(lz, *good[:6], 0, number) == lib.OXI_OK and number[0] == 0
    for item_bytes in (0, 1):
        assert lib.oxi_lz_restore(b"\x08\x00", item_bytes, out, 9, number) == 1 and number[0] == 0


def test_repair_code_alone() -> None:
    number = ffi.new("uint32_t *")
    for past in (3, 2**32 - 1):
        assert lib.oxi_rlc_new(past) == NULL
        assert lib.oxi_gf256_mul_add(past, FRAME, FRAME, 1, 64) == lib.OXI_E_ARG
        assert lib.oxi_gf256_trouble(past) == NULL
    lib.oxi_rlc_free(NULL)
    assert lib.oxi_rlc_result_name(10) == lib.oxi_rlc_result_name(2**32 - 1) == NULL
    assert lib.oxi_gf256_inverse(256) == lib.oxi_rlc_coefficient(0, 65536) == lib.OXI_E_ARG
    multiply: tuple[Any, ...] = (1, FRAME, b"x" * 64, 1, 64)
    assert lib.oxi_gf256_mul_add(*multiply) == lib.OXI_OK
    for at, bad in ((1, NULL), (2, NULL), (3, 256), (4, 0), (4, 32), (4, 65), (4, 2**32 - 32), (4, 9248)):
        assert lib.oxi_gf256_mul_add(*multiply[:at], bad, *multiply[at + 1 :]) == lib.OXI_E_ARG
    code = ffi.gc(lib.oxi_rlc_new(lib.OXI_GF256_AUTO), lib.oxi_rlc_free)
    content: tuple[Any, ...] = (3, 9, b"x" * 1537, 1536)
    assert lib.oxi_rlc_known(code, *content) >= 0
    for at, bad in ((1, 65536), (2, NULL), (3, 0), (3, 1537), (3, 2**32 - 1)):
        assert lib.oxi_rlc_known(code, *content[:at], bad, *content[at + 1 :]) == lib.OXI_E_ARG
    repair: tuple[Any, ...] = (1, 3, 1, FRAME, number)
    assert lib.oxi_rlc_repair(code, *repair) == lib.OXI_OK and number[0] == 3 + 4 + 1536
    for at, bad in ((2, 0), (2, 5), (2, 256), (2, 2**32 - 1), (3, NULL), (4, NULL)):
        assert lib.oxi_rlc_repair(code, *repair[:at], bad, *repair[at + 1 :]) == lib.OXI_E_ARG
    assert lib.oxi_rlc_repair(code, 1, 3, 2, FRAME, number) == lib.OXI_E_ABSENT
    assert lib.oxi_rlc_add(code, 0, 0, NULL, 9, 0) == lib.OXI_E_ARG
    assert lib.oxi_rlc_add(code, 0, 0, FRAME, 2**32 - 1, 0) > 0, "longer than there may be"
    outs = [ffi.new("uint64_t *"), number, FRAME, number]
    assert lib.oxi_rlc_next(code, *outs) == 0
    for at in range(4):
        assert lib.oxi_rlc_next(code, *outs[:at], NULL, *outs[at + 1 :]) == lib.OXI_E_ARG
    assert lib.oxi_rlc_state_read(code, NULL, number) == lib.OXI_E_ARG
    assert lib.oxi_rlc_state_read(code, number, NULL) == lib.OXI_E_ARG


def test_headers_alone() -> None:
    out, row = hdr_buffers()
    for flows in (0, lib.OXI_HDR_FLOWS_MAX + 1, 2**32 - 1):
        assert lib.oxi_hdr_new(flows, 1) == NULL
    lib.oxi_hdr_free(NULL)
    h = ffi.gc(lib.oxi_hdr_new(lib.OXI_HDR_FLOWS_MAX, 1), lib.oxi_hdr_free)
    assert lib.oxi_hdr_ack(h, 4, 0) == lib.OXI_E_ARG
    send: tuple[Any, ...] = (0, 0, WHOLE, 20, out, row)
    assert lib.oxi_hdr_compress(h, *send) in (0, 1)
    for at, bad in ((0, 4), (2, NULL), (4, NULL), (5, NULL)):
        assert lib.oxi_hdr_compress(h, *send[:at], bad, *send[at + 1 :]) == lib.OXI_E_ARG
    come: tuple[Any, ...] = (0, 0, b"\x80", 1, out, 9, row)
    assert lib.oxi_hdr_restore(h, *come) > 0, "no such flow"
    assert lib.oxi_hdr_restore(h, 0, 0, b"\x80", 0, out, 9, row) > 0, "nothing at all"
    for at, bad in ((0, 4), (2, NULL), (4, NULL), (6, NULL)):
        assert lib.oxi_hdr_restore(h, *come[:at], bad, *come[at + 1 :]) == lib.OXI_E_ARG
    for past in (6, 2**32 - 1):
        assert lib.oxi_hdr_profile_name(past) == lib.oxi_hdr_verdict_name(past) == NULL


def test_a_run_of_headers_checks_every_event() -> None:
    h = ffi.gc(lib.oxi_hdr_new(4, 1), lib.oxi_hdr_free)
    restored, rows = ffi.new("uint8_t[20]"), ffi.new("oxi_hdr_row[1]")

    def run(at: int = -1, bad: Any = NULL, event: tuple[int, ...] = (0, 0, 0, 0, 0), end: int = 20) -> int:
        made: list[Any] = [WHOLE, ffi.new("uint64_t[2]", [0, end]), 1]
        made += [ffi.new("oxi_hdr_event[1]", [event]), 1, restored, rows]
        if at >= 0:
            made[at] = bad
        return int(lib.oxi_hdr_run(h, *made))

    assert run() == lib.OXI_OK
    for at in (0, 1, 3, 5, 6):
        assert run(at) == lib.OXI_E_ARG
    for event in ((3, 0, 0, 0, 0), (0, 4, 0, 0, 0), (0, 0, 0, 1, 0), (1, 0, 0, 2**32 - 1, 0)):
        assert run(event=event) == lib.OXI_E_ARG
    assert run(event=(2, 0, 0, 2**32 - 1, 0)) == lib.OXI_OK, "an acknowledgement is of no packet"
    assert run(end=65536) == lib.OXI_E_ARG
    assert run(1, ffi.new("uint64_t[2]", [20, 0])) == lib.OXI_E_ARG, "it ends before it begins"
