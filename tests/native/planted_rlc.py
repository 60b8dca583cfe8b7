"""Planted bugs of the repair code for planted.py: name, file below native/, old text, new text."""

ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("another field", "core/gf256.h", "GF256_POLYNOMIAL = 0x11d", "GF256_POLYNOMIAL = 0x11b"),
    ("a coefficient of 0", "core/rlc.c", "(uint8_t)(1 + ((", "(uint8_t)(0 + (("),
    (
        "coefficients by the position in the window",
        "core/rlc.c",
        "rlc_coefficient(seed, (uint16_t)(newest - i))",
        "rlc_coefficient(seed, (uint16_t)i)",
    ),
    (
        "what lies behind a content not looked at",
        "core/rlc.c",
        "    return behind == 0;",
        "    return behind < 255;",
    ),
    (
        "a content as long as the symbol",
        "core/rlc.c",
        "*content_len > len - RLC_SYMBOL_HEAD",
        "*content_len > len + RLC_SYMBOL_HEAD",
    ),
    (
        "other rows keep the new pivot",
        "core/rlc_decoder.c",
        "if (other->is_live && other != scaled && other->bytes[pivot])",
        "if (other->is_live && other > scaled && other->bytes[pivot])",
    ),
    (
        "contradictions taken for repetitions",
        "core/rlc_decoder.c",
        "return says_nothing(r) ? RLC_REDUNDANT : RLC_INCONSISTENT;",
        "return RLC_REDUNDANT;",
    ),
    (
        "contradictions do not empty the decoder",
        "core/rlc_decoder.c",
        "    if (result == RLC_INCONSISTENT || result == RLC_BAD_SYMBOL)\n        rlc_decoder_reset(d);\n",
        "",
    ),
    (
        "a late content leaves its row without a pivot",
        "core/rlc_decoder.c",
        "        if (r->pivot == column)\n            loose = r;\n",
        "        if (r->pivot == column && false)\n            loose = r;\n",
    ),
    (
        "rows forget how long they are",
        "core/rlc_decoder.c",
        "    lib->mul_add(to->bytes, from->bytes, coefficient, COLUMNS + gf256_padded(from->len));\n"
        "    to->len = (uint32_t)max_u64(to->len, from->len);",
        "    lib->mul_add(to->bytes, from->bytes, coefficient, COLUMNS + gf256_padded(from->len));\n"
        "    to->len = from->len;",
    ),
    (
        "the newest given up, not the oldest",
        "core/rlc_decoder.c",
        "d->sequences[i] < d->sequences[oldest]",
        "d->sequences[i] > d->sequences[oldest]",
    ),
    (
        "the spent row stays",
        "core/rlc_decoder.c",
        "    if (spent)\n        spent->is_live = false;\n",
        "    if (spent)\n        spent->bytes[column] = 0;\n",
    ),
)
