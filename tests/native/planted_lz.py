"""Planted bugs of payload compression for planted.py: name, file below native/, old text, new text."""

ROWS: tuple[tuple[str, str, str, str], ...] = (
    (
        "an item that saves nothing",
        "core/lz.c",
        "writer_of(out, min_u64(cap, len - saved_min))",
        "writer_of(out, min_u64(cap, len))",
    ),
    ("an item of another dictionary", "core/lz.c", "(LZ_FRAME + dictionary)", "(LZ_FRAME | 1)"),
    (
        "clear bytes left out",
        "core/lz.c",
        "    memcpy(out, clear, clear_bytes);\n    *out_len",
        "    *out_len",
    ),
    (
        "a dictionary that there is not", "core/lz.c", "if (dictionary >= LZ_KNOWN)", "if (dictionary > 7)"
    ),
    (
        "light compression remembers",
        "core/lz.c",
        "LZ4_compress_fast_extState(&z->fast, (const char *)data, (char *)out, (int)len, (int)cap, 1)",
        "LZ4_compress_fast_continue(&z->fast, (const char *)data, (char *)out, (int)len, (int)cap, 1)",
    ),
    (
        "the dictionary's packets remembered",
        "core/lz_block.c",
        "    memset(b->recent, 0, sizeof b->recent);\n",
        "    b->recent[0] = 0;\n",
    ),
    ("matches up to the end", "core/lz_block.c", "LAST_LITERALS = 5,", "LAST_LITERALS = 0,"),
    (
        "the first match, not the longest",
        "core/lz_block.c",
        "if (next.bytes <= m.bytes)",
        "if (next.bytes <= m.bytes + 64)",
    ),
    (
        "half of each bucket searched",
        "core/lz_block.c",
        "            low = middle + 1;",
        "            low = high;",
    ),
    ("offset 0 taken", "core/lz_block.c", "|| offset == 0 ||", "||"),
    (
        "a bomb by its literals",
        "core/lz_block.c",
        "            return LZ_CORRUPT;\n        if (total > cap)\n            return LZ_TOO_LONG;\n"
        "        if (reader_left(&r) == 0) {",
        "            return LZ_CORRUPT;\n        if (reader_left(&r) == 0) {",
    ),
    (
        "class of the higher port",
        "core/lz_policy.c",
        "source < target ? source : target);",
        "source > target ? source : target);",
    ),
    ("class of a fragment", "core/lz_policy.c", "|| v.is_fragment)", "|| false)"),
)
