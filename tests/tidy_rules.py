"""The rules of STYLE.md that a machine can check, as functions over texts that yield findings, a line each.

A rule never reads the disk itself (it gets a `Tree`), so test_tidy.py can plant sins and see them found.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
LINE_CHARS_MAX = 110

FOLDERS = (
    "oxidized", "native", "tests", "netns-lab", "bench", "systemd", "docs", "examples", "models", ".ci",
)  # fmt: skip
SKIPPED_FOLDERS = {"__pycache__", "build", "corpus", "traces"}
SCRIPTS = ("dev", ".ci/run")

# What the pure Python core may import, besides itself. No clock, no socket, no randomness, no event loop.
CORE_IMPORTS = {
    "__future__", "abc", "bisect", "collections", "contextlib", "dataclasses", "enum", "functools", "hashlib",
    "heapq", "hmac", "ipaddress", "itertools", "math", "struct", "types", "typing",
    "aioquic", "cryptography", "oxidized.core", "oxidized.errors", "oxidized.limits",
}  # fmt: skip
CORE_IMPORTS_OF = {
    # What aioquic wants: dates in a certificate that proves nothing, constants of ssl, silence in logs.
    "oxidized/core/quic_tls.py": {"datetime", "logging", "ssl"},
}
# Heavy libraries of the extras: a daemon runs without them, so nothing outside of these imports them.
EXTRAS_OF = {
    "oxidized/ml/onnx_reference.py": {"ml"},
    "oxidized/ml/loss_features.py": {"ml"},
    "oxidized/ml/loss_predictor.py": {"ml"},
    "oxidized/ml/training/": {"ml", "train"},
}
# Packages that are imported under another name.
IMPORTED_AS = {"scikit-learn": "sklearn"}
OXI_MODULES = {
    f"oxidized/ffi/{name}.py" for name in ("dataplane", "flows", "headers", "lz", "names", "oracle")
}

# What the C core may include from the system; the AEAD comes from a library, each behind one file.
CORE_HEADERS = {"assert.h", "limits.h", "stdbool.h", "stddef.h", "stdint.h", "string.h"}
CORE_HEADERS_OF = {
    "native/core/aead_openssl.c": {"openssl/core_names.h", "openssl/crypto.h", "openssl/evp.h"},
    "native/core/aead_ipsec_mb.c": {"intel-ipsec-mb.h", "stdlib.h"},
    "native/core/dp.c": {"stdlib.h"},
    "native/core/lz.c": {"lz4.h"},
}
# Where memory is allocated: once, before the first packet; and once per key, as OpenSSL does by itself.
SETUP_FILES = {"native/core/dp.c", "native/core/aead_ipsec_mb.c"}
ALLOCATIONS = ("malloc", "calloc", "realloc", "free", "aligned_alloc", "posix_memalign")
IMPURE = (
    "printf", "fprintf", "snprintf", "puts", "perror", "fopen", "fwrite", "fread", "open", "close",
    "read", "write", "readv", "writev", "ioctl", "socket", "bind", "connect", "send", "sendto",
    "sendmsg", "sendmmsg", "recv", "recvfrom", "recvmsg", "recvmmsg", "poll", "ppoll", "epoll_wait",
    "epoll_ctl", "mmap", "munmap", "mlock", "time", "clock", "clock_gettime", "gettimeofday",
    "nanosleep", "usleep", "rand", "random", "getrandom", "getenv", "abort", "exit", "_exit", "syscall",
)  # fmt: skip
BANNED_C = ("strcpy", "strcat", "sprintf", "vsprintf", "gets", "alloca", "strtok", "atoi", "atol")

BANNED_WORDS = ("TO" + "DO", "FIX" + "ME", "X" * 3)
# Python calls that make a run unrepeatable or slow, and where they are right all the same.
BANNED_CALLS: dict[str, tuple[str, ...]] = {
    "time.sleep": ("netns-lab/*", "tests/lab/*", "oxidized/ctl/*"),
    "datetime.now": ("oxidized/io/clock.py",),
    "datetime.utcnow": (),
    "datetime.datetime.now": ("oxidized/io/clock.py",),
    "random.random": (),
    "random.randint": (),
    "random.randrange": (),
    "random.randbytes": (),
    "random.choice": (),
    "random.shuffle": (),
    "random.seed": (),
}
TICKET = re.compile(r"(?i)\b(?:issue|ticket|gh|pr|bug)[ -]?#?\d+\b|(?<![\w&#/\"'])#\d{1,5}\b(?!-)")

# Modules that something other than an import statement starts.
ENTRY_POINTS = {"oxidized.cli", "oxidized.ctl", "oxidized.ffi.build", "oxidized.ffi.dictionaries"}
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "PROTOCOL.md", "STYLE.md", "CHANGELOG.md", "LICENSE")
FIRST_SCREEN_LINES = 45

Tree = dict[str, str]  # path relative to the root -> text


def read_tree(root: Path) -> Tree:
    """All texts that are ours, without what was built and without binary files."""
    found: Tree = {}
    paths = [path for folder in FOLDERS for path in (root / folder).rglob("*")]
    paths += [path for path in root.iterdir() if path.is_file()]
    for path in sorted(paths):
        name = path.relative_to(root)
        if path.is_file() and not SKIPPED_FOLDERS.intersection(name.parts) and path.suffix != ".so":
            try:
                found[str(name)] = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
    return found


def is_python(path: str, text: str) -> bool:
    return path.endswith(".py") or (text.startswith("#!") and "python" in text.partition("\n")[0])


def is_c(path: str) -> bool:
    return path.endswith((".c", ".h"))


def is_shell(path: str, text: str) -> bool:
    return path.endswith(".sh") or re.match(r"#!.*\b(?:ba|da)?sh\b", text) is not None


def is_source(path: str, text: str) -> bool:
    return is_python(path, text) or is_c(path) or is_shell(path, text)


def line_of(text: str, offset: int) -> int:
    return text.count("\n", 0, offset) + 1


def strip_c(text: str) -> str:
    """The text with comments, strings and character constants blanked; offsets and lines stay."""
    token = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)
    return token.sub(blank, text)


def blank(found: re.Match[str]) -> str:
    """Spaces in place of what was found; lines stay."""
    return re.sub(r"[^\n]", " ", found.group())


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    line: int
    lines: int


def functions_c(text: str) -> Iterator[Function]:
    """Function bodies of a C file: a brace at depth 0 that follows a closing parenthesis."""
    directive = re.compile(r"^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", re.M)
    code = directive.sub(blank, strip_c(text))
    depth, begin, name = 0, 0, ""
    for m in re.finditer(r"[{};]", code):
        if m.group() == "{":
            if depth == 0:
                head = code[begin : m.start()]
                called = re.findall(r"(\w+)\s*\(", head)
                name = called[0] if head.rstrip().endswith(")") and called else ""
                begin += len(head) - len(head.lstrip())
            depth += 1
            continue
        if m.group() == "}":
            depth -= 1
            if depth == 0 and name:
                yield Function(name, line_of(code, begin), code.count("\n", begin, m.start()) + 1)
        if depth == 0:
            begin, name = m.end(), ""


def functions_python(text: str) -> Iterator[Function]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function(node.name, node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1)


def functions_of(path: str, text: str) -> Iterator[Function]:
    """None for a shell script: its length is bounded by the file's."""
    if is_python(path, text):
        yield from functions_python(text)
    elif is_c(path):
        yield from functions_c(text)


def imports_of(path: str, text: str) -> Iterator[tuple[int, str]]:
    """(line, full dotted name) of every import, relative ones resolved; `from a import b` gives a.b."""
    package = path.removesuffix(".py").removesuffix("/__init__").split("/")
    if not path.endswith("__init__.py"):
        package = package[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def is_within(name: str, allowed: set[str]) -> bool:
    return any(name == one or name.startswith(one + ".") for one in allowed)


# ---- rules -------------------------------------------------------------------------------------------------


def lengths(tree: Tree) -> Iterator[str]:
    for path, text in tree.items():
        if not is_source(path, text):
            continue
        lines = text.splitlines()
        if len(lines) > FILE_LINES_MAX:
            yield f"{path}: {len(lines)} lines; a file has at most {FILE_LINES_MAX}"
        for number, line in enumerate(lines, 1):
            if len(line) > LINE_CHARS_MAX:
                yield f"{path}:{number}: {len(line)} characters; a line has at most {LINE_CHARS_MAX}"
        for f in functions_of(path, text):
            if f.lines > FUNCTION_LINES_MAX:
                yield f"{path}:{f.line}: {f.name} has {f.lines} lines; at most {FUNCTION_LINES_MAX}"


def layering_c(tree: Tree) -> Iterator[str]:
    for path, text in tree.items():
        if not is_c(path) or not path.startswith(("native/core/", "native/io/")):
            continue
        for m in re.finditer(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', text, re.M):
            system, name = m.group(1) == "<", m.group(2)
            where = f"{path}:{line_of(text, m.start(2))}"
            if "boundary" in name:
                yield f"{where}: only Python's side of the boundary uses {name}"
            if not path.startswith("native/core/"):
                continue
            if system and name not in CORE_HEADERS | CORE_HEADERS_OF.get(path, set()):
                yield f"{where}: the core includes no <{name}>"
            if not system and "/" in name and name != "../include/oxi.h":
                yield f'{where}: the core includes nothing from outside but "../include/oxi.h": {name}'


def calls_c(text: str, names: tuple[str, ...]) -> Iterator[tuple[int, str]]:
    code = strip_c(text)
    for m in re.finditer(rf"(?<![\w.>])({'|'.join(names)})\s*\(", code):
        yield line_of(code, m.start()), m.group(1)


def purity_c(tree: Tree) -> Iterator[str]:
    for path, text in tree.items():
        if not is_c(path):
            continue
        for line, name in calls_c(text, BANNED_C):
            yield f"{path}:{line}: {name} has no bound"
        if not path.startswith("native/core/"):
            continue
        for line, name in calls_c(text, IMPURE):
            yield f"{path}:{line}: {name}: the core has no system calls, no clock, no randomness"
        if path not in SETUP_FILES:
            for line, name in calls_c(text, ALLOCATIONS):
                yield f"{path}:{line}: {name}: the core allocates in {', '.join(sorted(SETUP_FILES))} alone"


def layering_python(tree: Tree) -> Iterator[str]:
    for path, text in tree.items():
        if not path.startswith("oxidized/") or not path.endswith(".py"):
            continue
        for line, name in imports_of(path, text):
            if is_within(name, {"scapy"}):
                yield f"{path}:{line}: scapy is GPL-2.0: for tests and lab alone"
            if "_oxi" in name.split(".") and path not in OXI_MODULES:
                yield f"{path}:{line}: only {', '.join(sorted(OXI_MODULES))} touch the compiled boundary"
            if path.startswith("oxidized/core/") and not is_within(
                name, CORE_IMPORTS | CORE_IMPORTS_OF.get(path, set())
            ):
                yield f"{path}:{line}: core/ is pure and may not import {name}"


def words(tree: Tree) -> Iterator[str]:
    pattern = re.compile(rf"\b(?:{'|'.join(BANNED_WORDS)})\b")
    for path, text in tree.items():
        if path == "LICENSE":
            continue
        for number, line in enumerate(text.splitlines(), 1):
            if pattern.search(line):
                yield f"{path}:{number}: unfinished work belongs nowhere in the tree: {line.strip()[:60]}"
            if TICKET.search(line):
                yield f"{path}:{number}: no ticket numbers: {line.strip()[:60]}"


def banned_calls(tree: Tree) -> Iterator[str]:
    for path, text in tree.items():
        if not is_python(path, text):
            continue
        for node in ast.walk(ast.parse(text)):
            name = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            if name in BANNED_CALLS and not any(fnmatch(path, place) for place in BANNED_CALLS[name]):
                yield f"{path}:{node.lineno}: {name}: time and randomness are arguments"
            if isinstance(node, ast.Assert) and isinstance(node.test, ast.Constant):
                yield f"{path}:{node.lineno}: an assertion that can not fail"
            if isinstance(node, ast.Name) and node.id == "NotImplementedError":
                yield f"{path}:{node.lineno}: {node.id}: what is not there is left out"


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def dead_files(tree: Tree) -> Iterator[str]:
    """Modules nobody imports (or names as a string, for lazy commands), headers nobody includes."""
    used: dict[str, set[str]] = {}
    included: dict[str, set[str]] = {}
    for path, text in tree.items():
        if is_python(path, text):
            strings = {n.value for n in ast.walk(ast.parse(text)) if isinstance(n, ast.Constant)} - {None}
            names = {name for _, name in imports_of(path, text)} | {s for s in strings if isinstance(s, str)}
            for name in names:
                used.setdefault(name, set()).add(path)
        elif is_c(path):
            for name in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M):
                included.setdefault(name.rpartition("/")[2], set()).add(path)
    for path in tree:
        base = path.rpartition("/")[2]
        if base.endswith(".h") and not included.get(base, set()) - {path}:
            yield f"{path}: a header nobody includes"
        if not path.startswith(("oxidized/", "tests/")) or not path.endswith(".py"):
            continue
        if base in ("__init__.py", "__main__.py", "conftest.py") or base.startswith(("test_", "bench_")):
            continue
        name = module_name(path)
        users = {user for n, places in used.items() if is_within(n, {name}) for user in places}
        if path.startswith("oxidized/"):
            users = {user for user in users if user.startswith("oxidized/")}
        if name not in ENTRY_POINTS and not users - {path}:
            yield f"{path}: a module nobody imports"


def package_names(requirements: Iterable[str]) -> set[str]:
    names = {re.split(r"[^\w-]", text)[0].lower() for text in requirements}
    return {IMPORTED_AS.get(name, name) for name in names}


def dependencies(tree: Tree) -> Iterator[str]:
    """What oxidized/ imports is declared, and nothing else is; what is heavy only where it may be missing."""
    project = tomllib.loads(tree.get("pyproject.toml", "")).get("project", {})
    declared = package_names(project.get("dependencies", ()))
    extras = project.get("optional-dependencies", {})
    used: dict[str, str] = {}
    for path, text in tree.items():
        if path.startswith("oxidized/") and path.endswith(".py"):
            optional = {
                name
                for place, wanted in EXTRAS_OF.items()
                if path.startswith(place)
                for extra in wanted
                for name in package_names(extras.get(extra, ()))
            }
            names = {name.partition(".")[0] for _, name in imports_of(path, text)}
            used.update({name: path for name in names - optional})
    foreign = used.keys() - sys.stdlib_module_names - {"oxidized"}
    for name in sorted(foreign - declared):
        yield f"{used[name]}: imports {name}, which pyproject.toml does not declare"
    for name in sorted(declared - foreign):
        yield f"pyproject.toml: declares {name}, which oxidized/ never imports"


def heads(tree: Tree) -> Iterator[str]:
    """The first words of a file say what it is for."""
    for path, text in tree.items():
        base = path.rpartition("/")[2]
        if path.startswith("oxidized/") and path.endswith(".py") and text.strip():
            if ast.get_docstring(ast.parse(text)) is None:
                yield f"{path}: a module begins with what it is for"
        if path.startswith(("native/", "netns-lab/", "tests/")) and is_c(path):
            if not re.match(rf"/\* {re.escape(base)} - \S", text):
                yield f"{path}: begins with '/* {base} - what it is for'"
        if fnmatch(path, "tests/fuzz/fuzz_*.c") and "Invariant:" not in text.partition("*/")[0]:
            yield f"{path}: a fuzz target begins with its invariant"


def drop_names(tree: Tree) -> list[str]:
    return re.findall(r'^\s*X\(\w+,\s*"([a-z0-9-]+)"', tree.get("native/core/drop.h", ""), re.M)


def drops_documented(tree: Tree) -> Iterator[str]:
    names = drop_names(tree)
    if not names:
        yield "native/core/drop.h: no list of drop reasons found"
    page = tree.get("docs/metrics.md", "")
    for name in names:
        if f"`{name}`" not in page:
            yield f"docs/metrics.md: drop reason `{name}` of native/core/drop.h is not told"
    for m in re.finditer(r"(?:dropped as|below:|Seen:)\s+`([a-z-]+)`", tree.get("PROTOCOL.md", "")):
        if m.group(1) not in names:
            yield f"PROTOCOL.md: `{m.group(1)}` is no drop reason of native/core/drop.h"


def stages_in_code(tree: Tree, path: str) -> list[tuple[str, str]]:
    """(stage, file that holds its function) in the order of the table in `path`."""
    found = []
    for name, function in re.findall(r'^\s*\{\s*"(\w+)",\s*(\w+),\s*"', tree.get(path, ""), re.M):
        files = [(p, text) for p, text in tree.items() if fnmatch(p, "native/core/*.c")]
        homes = [p for p, text in files if any(f.name == function for f in functions_c(text))]
        found.append((name, homes[0] if homes else "nowhere"))
    return found


def stages_in_document(text: str, heading: str) -> list[tuple[str, str]]:
    """(stage, line) of the list or table after the heading or sentence that begins with the word."""
    begins = r"^(?:#+ )?(?:Outbound|Inbound)\b"
    section = re.search(rf"^(?:#+ )?{heading}\b[^\n]*\n(.*?)(?=^#|{begins}|\Z)", text, re.M | re.S)
    body = section.group(1) if section else ""
    rows = re.finditer(r"^\s*(?:\d+\.|[-*]|\|)(?:\s*\d+\s*\|)?\s*`(\w+)`([^\n]*)", body, re.M)
    return [(m.group(1), m.group(2)) for m in rows]


def stages_documented(tree: Tree) -> Iterator[str]:
    """ARCHITECTURE.md tells each stage of PATH_OUT and PATH_IN, in order, with the file it lives in."""
    for path, heading in (("native/core/path_out.c", "Outbound"), ("native/core/path_in.c", "Inbound")):
        code = stages_in_code(tree, path)
        told = stages_in_document(tree.get("ARCHITECTURE.md", ""), heading)
        if not code:
            yield f"{path}: no stage table found"
        if [name for name, _ in code] != [name for name, _ in told]:
            yield (
                f"ARCHITECTURE.md, {heading}: tells {' '.join(name for name, _ in told) or 'nothing'}; "
                f"{path} has {' '.join(name for name, _ in code)}"
            )
            continue
        for (name, home), (_, line) in zip(code, told, strict=True):
            if home.removeprefix("native/core/") not in line:
                yield f"ARCHITECTURE.md, {heading}: `{name}` lives in {home}"


def documents(tree: Tree) -> Iterator[str]:
    for name in DOCUMENTS:
        if not tree.get(name, "").strip():
            yield f"{name}: missing"
    screen = "\n".join(tree.get("README.md", "").splitlines()[:FIRST_SCREEN_LINES])
    for command in ("./dev demo", "./dev test"):
        if command not in screen:
            yield f"README.md: `{command}` is not on the first screen ({FIRST_SCREEN_LINES} lines)"
    verbs = set(re.findall(r"^([a-z]+)\)", tree.get("dev", ""), re.M))
    usage = tree.get("dev", "").partition("TEXT\n}")[0]
    told = set(re.findall(r"^  ([a-z]+) ", usage, re.M))
    for verb in (verbs ^ told) - {"help"}:
        yield f"dev: {verb} is {'not in its help' if verb in verbs else 'in its help only'}"


def parsers(tree: Tree) -> set[str]:
    """Functions of the core's headers that take apart bytes from outside."""
    found: set[str] = set()
    for path, text in tree.items():
        if path.startswith("native/core/") and path.endswith(".h"):
            found |= set(re.findall(r"\b([a-z]\w*_(?:parse|read|decode))\s*\([^)]*\)\s*;", strip_c(text)))
    return found


def parsers_fuzzed(tree: Tree) -> Iterator[str]:
    """Each parser stands in the `Parsers:` sentence of a fuzz target, and none names what is not there."""
    told: dict[str, str] = {}
    for path, text in tree.items():
        if fnmatch(path, "tests/fuzz/fuzz_*.c"):
            line = re.search(r"Parsers:((?:[^.*]|\*(?!/))*)", text.partition("*/")[0])
            told.update({name: path for name in re.findall(r"\w+", line.group(1) if line else "")})
    for name in sorted(parsers(tree) - told.keys()):
        yield f"native/core: {name}() takes apart bytes from outside and no target of tests/fuzz names it"
    for name in sorted(told.keys() - parsers(tree)):
        yield f"{told[name]}: names the parser {name}, which no header of native/core has"


RULES: tuple[Callable[[Tree], Iterator[str]], ...] = (
    lengths, layering_c, purity_c, layering_python, words, banned_calls, dead_files, dependencies, heads,
    drops_documented, stages_documented, documents, parsers_fuzzed,
)  # fmt: skip
