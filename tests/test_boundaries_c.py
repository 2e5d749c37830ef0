# SPDX-License-Identifier: BSD-2-Clause
"""What a file of native/ may call, include and know, held by a test.

Reads C text; for Python: test_boundaries.py.
"""

import re

from tests.tree import name_of, native_c_files, without_comments

# C files by level: each calls only its own level and those above it in this list.
LEVELS = (
    ("memory", "epoch", "frame", "hash", "hold", "pace", "filter", "seccomp"),
    ("snapshot", "distributor"),
    ("tap", "packet", "ring", "txring", "xdp"),
    ("port",),
    ("counts", "transmit", "receive"),
    ("worker",),
    ("layout",),
    ("datapath",),
    ("roster", "device"),
)
# No system call, no allocation; so no header that offers one.
C_PURE = frozenset({"epoch", "frame", "hash", "hold", "pace", "distributor"})
C_PURE_HEADERS = frozenset(
    {"lagg.h", "internal.h", "assert.h", "errno.h", "limits.h", "stdalign.h"}
    | {"stdatomic.h", "stdbool.h", "stddef.h", "stdint.h", "string.h", "endian.h"}
    | {"byteswap.h", "arpa/inet.h", "net/ethernet.h", "netinet/in.h"}
    | {"linux/if_ether.h", "linux/virtio_net.h"}
    | {"nmmintrin.h", "immintrin.h", "arm_acle.h"}
)
# Memory comes by memory.c, and goes with what it was for; a packet ring is mapped where
# its socket is.
ALLOCATION = r"malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|free"
MAPPING = r"mmap|munmap|mremap"
C_MAY_CALL = {
    "memory": f"{ALLOCATION}|{MAPPING}",
    "device": "free",
    "datapath": "free",
    "roster": "free",
    "ring": MAPPING,
    "txring": MAPPING,
    "xdp": MAPPING,
}


def level_of(noun: str) -> int:
    return next((n for n, nouns in enumerate(LEVELS) if noun in nouns), -1)


def test_every_c_file_has_its_level() -> None:
    assert [name_of(p) for p in native_c_files() if level_of(p.stem) < 0] == []


def test_c_calls_only_its_level_and_those_below() -> None:
    wrong = []
    for path in native_c_files():
        higher = [noun for level in LEVELS[level_of(path.stem) + 1 :] for noun in level]
        if higher:
            call = rf"\b((?:lagg_)?(?:{'|'.join(higher)})_\w+)\s*\("
            code = without_comments(path.read_text(encoding="utf-8"))
            wrong += [f"{name_of(path)}: {name}()" for name in re.findall(call, code)]
    assert not wrong


def test_tap_and_sockets_know_no_snapshot() -> None:
    wrong = [
        name_of(path)
        for path in native_c_files()
        if path.stem in {"tap", "packet", "ring", "txring", "xdp", "port"}
        and re.search(
            r"\bstruct (?:snapshot|epoch)\b|\b(?:snapshot|epoch)_\w+\s*\(",
            without_comments(path.read_text(encoding="utf-8")),
        )
    ]
    assert not wrong


def test_pure_c_includes_values_only() -> None:
    wrong = []
    for path in native_c_files():
        source = path.read_text(encoding="utf-8")
        headers = re.findall(r'^\s*#\s*include\s*[<"]([^>"]+)', source, re.MULTILINE)
        if path.stem in C_PURE:
            wrong += [
                f"{name_of(path)}: {header}"
                for header in headers
                if header not in C_PURE_HEADERS
            ]
        wrong += [f"{name_of(path)}: {h}" for h in headers if h == "Python.h"]
    assert not wrong


def test_only_memory_c_allocates() -> None:
    call = re.compile(rf"\b({ALLOCATION}|{MAPPING}|strdup|strndup|alloca)\s*\(")
    wrong = []
    for path in native_c_files():
        allowed = re.compile(C_MAY_CALL.get(path.stem, r"(?!)"))
        for name in call.findall(without_comments(path.read_text(encoding="utf-8"))):
            if not allowed.fullmatch(name):
                wrong.append(f"{name_of(path)}: {name}()")
    assert not wrong


def test_c_makes_no_threads_and_takes_no_locks() -> None:
    call = re.compile(r"\b(?:pthread|thrd|mtx|cnd|sem)_\w+\s*\(")
    wrong = [
        f"{name_of(path)}: {match[0]}"
        for path in native_c_files()
        for match in call.finditer(without_comments(path.read_text(encoding="utf-8")))
    ]
    assert not wrong
