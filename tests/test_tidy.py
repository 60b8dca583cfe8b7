"""Style as a test: what STYLE.md asks and a machine can see holds everywhere, and planted sins are found."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import tidy_rules as rules
from tests.tidy_rules import Tree

ROOT = Path(__file__).resolve().parents[1]

Rule = Callable[[Tree], Iterator[str]]


@pytest.fixture(scope="module")
def tree() -> Tree:
    return rules.read_tree(ROOT)


@pytest.mark.parametrize("rule", rules.RULES, ids=lambda rule: rule.__name__)
def test_tree_is_tidy(tree: Tree, rule: Rule) -> None:
    findings = list(rule(tree))
    if findings:
        pytest.fail("\n".join(findings), pytrace=False)


def test_tree_was_read(tree: Tree) -> None:
    """A rule over an empty tree would find nothing."""
    assert {"dev", "pyproject.toml", "native/include/oxi.h", "oxidized/__init__.py"} <= tree.keys()
    assert not any(path.startswith((".venv/", "build/", ".git/")) for path in tree)


@pytest.mark.parametrize("script", rules.SCRIPTS)
def test_shell_scripts_parse(script: str) -> None:
    subprocess.run(["sh", "-n", ROOT / script], check=True)


LONG_C = "/* a.c - x. */\nint f(int a)\n{\n" + "    a++;\n" * 68 + "    return a;\n}\n"
GOOD_DROPS = {"native/core/drop.h": 'X(SHORT, "short", "few")\n', "docs/metrics.md": "`short`"}
GOOD_PATHS = {
    "native/core/path_out.c": '    { "ip", ip_out, "is it one?" },\n    { "seal", seal, "last" },\n',
    "native/core/path_in.c": '    { "open", opened, "first" },\n',
    "native/core/ip.c": "void ip_out(int d)\n{\n}\n",
    "native/core/seal.c": "void seal(int d)\n{\n}\nstatic void opened(int d) { }\n",
    "ARCHITECTURE.md": "## Outbound\n1. `ip` (ip.c)\n2. `seal` seal.c\n\nInbound:\n\n| `open` | seal.c |\n",
}
GOOD_FRONT = {name: "x" for name in rules.DOCUMENTS} | {
    "README.md": "./dev demo\n./dev test\n",
    "dev": "usage() {\n  test   all\nTEXT\n}\ncase $1 in\ntest)\n    ;;\nesac\n",
}
GOOD_FUZZ = {
    "native/core/ip.h": "bool ip_parse(const uint8_t *data, uint32_t len);",
    "tests/fuzz/fuzz_inner.c": "/* fuzz_inner.c - Invariant: x. Parsers: ip_parse. */",
}

WITH_EXTRA = {"pyproject.toml": '[project.optional-dependencies]\ntrain = ["numpy>=2"]\n'}

# rule, what of the finding must be said, and the sin
PLANTED: list[tuple[Rule, str, Tree]] = [
    (rules.lengths, "a.c:2: f has 72 lines", {"native/core/a.c": LONG_C}),
    (rules.lengths, "a.py:1: f has 71 lines", {"oxidized/a.py": "def f():\n" + "    pass\n" * 70}),
    (rules.lengths, "601 lines", {"oxidized/a.py": "\n" * 601}),
    (rules.lengths, "111 characters", {"native/a.h": "x" * 111}),
    (rules.lengths, "run:2: 111 characters", {"netns-lab/run": "#!/bin/sh\n" + "x" * 111}),
    (rules.layering_c, "no <stdio.h>", {"native/core/a.c": "#include <stdio.h>\n"}),
    (rules.layering_c, "../io/udp.h", {"native/core/a.c": '#include "../io/udp.h"\n'}),
    (rules.layering_c, "boundary", {"native/io/a.c": '#include "../boundary.h"\n'}),
    (rules.layering_c, "no <openssl/evp.h>", {"native/core/a.c": "#include <openssl/evp.h>\n"}),
    (rules.purity_c, "a.c:1: malloc", {"native/core/a.c": "void f(void) { malloc (1); }"}),
    (rules.purity_c, "a.c:2: clock_gettime", {"native/core/a.c": "\nint x = clock_gettime(0, 0);"}),
    (rules.purity_c, "sprintf has no bound", {"netns-lab/link.c": "x = sprintf(b, c);"}),
    (rules.layering_python, "may not import time", {"oxidized/core/a.py": "import time\n"}),
    (rules.layering_python, "import oxidized.io.tun", {"oxidized/core/a.py": "from ..io import tun\n"}),
    (rules.layering_python, "import asyncio", {"oxidized/core/a.py": "def f():\n    import asyncio\n"}),
    (rules.layering_python, "scapy is GPL", {"oxidized/io/a.py": "from scapy.all import IP\n"}),
    (rules.layering_python, "compiled boundary", {"oxidized/io/a.py": "from oxidized.ffi import _oxi\n"}),
    (rules.layering_python, "compiled boundary", {"oxidized/ffi/a.py": "from ._oxi import lib\n"}),
    (rules.words, "unfinished", {"docs/a.md": "x " + rules.BANNED_WORDS[0] + ": later\n"}),
    (rules.words, "unfinished", {"native/a.c": f"/* {rules.BANNED_WORDS[1]} */\n"}),
    (rules.words, "no ticket numbers", {"oxidized/a.py": "# is" + "sue 12\n"}),
    (rules.words, "no ticket numbers", {"native/a.c": "/* because of " + "#" + "12 */\n"}),
    (rules.banned_calls, "time.sleep", {"tests/unit/test_a.py": "import time\ntime.sleep(1)\n"}),
    (rules.banned_calls, "random.random", {"tests/sim/a.py": "import random\nx = random.random()\n"}),
    (rules.banned_calls, "can not fail", {"tests/unit/test_a.py": "assert True\n"}),
    (rules.dead_files, "oxidized/a.py: a mod", {"oxidized/a.py": "", "tests/test_a.py": "import oxidized.a"}),
    (rules.dead_files, "tests/help.py: a mod", {"tests/help.py": "", "tests/test_a.py": "import helper"}),
    (rules.dead_files, "a.h: a header nob", {"native/core/a.h": "", "native/core/a.c": '#include "b.h"\n'}),
    (rules.dependencies, "does not declare", {"oxidized/a.py": "import numpy.linalg\n"}),
    (rules.dependencies, "imports numpy", WITH_EXTRA | {"oxidized/ml/oracle.py": "import numpy\n"}),
    (rules.dependencies, "imports torch", WITH_EXTRA | {"oxidized/ml/training/a.py": "import torch\n"}),
    (rules.dependencies, "never imports", {"pyproject.toml": '[project]\ndependencies = ["click>=8.2"]\n'}),
    (rules.heads, "a.c - what it is for", {"native/core/a.c": "/* b.c - something else */\n"}),
    (rules.heads, "what it is for", {"oxidized/a.py": "x = 1\n"}),
    (rules.heads, "invariant", {"tests/fuzz/fuzz_a.c": "/* fuzz_a.c - throws bytes. */\n/* Invariant: */"}),
    (rules.drops_documented, "`short`", GOOD_DROPS | {"docs/metrics.md": "short"}),
    (rules.drops_documented, "`too-odd`", GOOD_DROPS | {"PROTOCOL.md": "dropped as `too-odd`"}),
    (rules.drops_documented, "no list", {}),
    (rules.stages_documented, "has open", GOOD_PATHS | {"ARCHITECTURE.md": "## Outbound\n1. `ip` ip.c\n"}),
    (rules.stages_documented, "`seal` lives in native/core/seal.c",
     GOOD_PATHS | {"ARCHITECTURE.md": GOOD_PATHS["ARCHITECTURE.md"].replace("` seal.c", "` ip.c")}),
    (rules.documents, "README.md: `./dev demo`", GOOD_FRONT | {"README.md": "\n" * 60 + "./dev demo"}),
    (rules.documents, "STYLE.md: missing", GOOD_FRONT | {"STYLE.md": " "}),
    (rules.documents, "dev: test is not in its help", GOOD_FRONT | {"dev": "usage\nTEXT\n}\ntest)\n"}),
    (rules.parsers_fuzzed, "ip_parse() takes apart",
     GOOD_FUZZ | {"tests/fuzz/fuzz_inner.c": "/* fuzz_inner.c - Invariant: ip_parse. */ ip_parse"}),
    (rules.parsers_fuzzed, "which no header", GOOD_FUZZ | {"native/core/ip.h": ""}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "said", "sin"), PLANTED, ids=[f"{r.__name__}-{s[:24]}" for r, s, _ in PLANTED]
)
def test_planted_sin_is_found(rule: Rule, said: str, sin: Tree) -> None:
    findings = list(rule(sin))
    assert any(said in finding for finding in findings), findings


GOOD: list[tuple[Rule, Tree]] = [
    (rules.lengths, {"native/core/a.c": LONG_C.replace("    a++;\n", "", 2), "docs/a.md": "x" * 200}),
    (rules.layering_c, {"native/core/a.c": '#include <stdint.h>\n#include "dp.h"\n'}),
    (rules.layering_c, {"native/io/a.c": '#include <stdio.h>\n#include "../core/dp.h"\n'}),
    (rules.purity_c, {"native/core/a.c": '/* malloc(1) */ char *f = "time(0)"; wire_read(x); s->free(y);'}),
    (rules.layering_python, {"oxidized/core/a.py": "from . import b\nfrom typing import Any\n"}),
    (rules.words, {"native/a.c": "/* RFC 9000, section 17; mkstemp XXXXXX; &#123; */\n"}),
    (rules.banned_calls, {"tests/lab/a.py": "import time\ntime.sleep(1)\nr = random.Random(1)"}),
    (rules.dead_files, {"oxidized/a.py": "", "oxidized/b.py": "", "oxidized/c.py": "", "oxidized/cli.py":
                        "from oxidized import a\nfrom oxidized.b import thing\nLAZY = 'oxidized.c'\n"}),
    (rules.dependencies, {"oxidized/a.py": "import os.path\nfrom . import b\nfrom uvloop import run\n",
                          "pyproject.toml": '[project]\ndependencies = ["uvloop>=0.22,<1"]\n'}),
    (rules.dependencies, WITH_EXTRA | {"oxidized/ml/training/a.py": "import numpy.linalg\n"}),
    (rules.heads, {"native/core/a.c": "/* a.c - adds. */\n", "oxidized/a.py": '"""Adds."""\n'}),
    (rules.drops_documented, GOOD_DROPS),
    (rules.stages_documented, GOOD_PATHS),
    (rules.documents, GOOD_FRONT),
    (rules.parsers_fuzzed, GOOD_FUZZ),
]  # fmt: skip


@pytest.mark.parametrize(("rule", "tree"), GOOD, ids=[r.__name__ for r, _ in GOOD])
def test_good_tree_has_no_findings(rule: Rule, tree: Tree) -> None:
    assert list(rule(tree)) == []


def test_every_rule_is_planted_and_spared() -> None:
    names = {rule.__name__ for rule in rules.RULES}
    assert names == {rule.__name__ for rule, _, _ in PLANTED} == {rule.__name__ for rule, _ in GOOD}


def test_c_functions_are_measured() -> None:
    text = (
        "#define EACH(x) do { \\\n    f(x); \\\n} while (0)\n"
        'static const char *NAMES[] = { "a{", "b" };\n'
        "struct s {\n    int a;\n};\n"
        "static inline int\nadd(int a,\n    int b)\n{\n    if (a) {\n        b++; /* } */\n    }\n"
        "    return '}' + b;\n}\n"
        "int one(void) { return 1; }\n"
    )
    assert [(f.name, f.line, f.lines) for f in rules.functions_c(text)] == [("add", 8, 9), ("one", 17, 1)]
