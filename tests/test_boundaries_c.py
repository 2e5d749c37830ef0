# SPDX-License-Identifier: BSD-2-Clause
"""What a file of native/ may call, include and know, held by a test.

Reads C text; for Python: test_boundaries.py.
"""

import re
from collections.abc import Iterable, Mapping

from tests.tree import ROOT, name_of, native_c_files, without_comments

# C files by level: each calls only its own level and those above it in this list.
LEVELS = (
    (
        "memory",
        "epoch",
        "tunnel",
        "frame",
        "hash",
        "hold",
        "pace",
        "filter",
        "seccomp",
        "tcx",
    ),
    ("snapshot", "distributor", "lesson"),
    ("station",),
    ("tap", "packet", "ring", "txring", "xdp"),
    ("port", "egress"),
    ("dedup", "counts", "journal", "transmit", "receive"),
    ("worker",),
    ("layout",),
    ("datapath",),
    ("roster", "device"),
    # native/forwarder/
    ("store", "ownership", "lease"),
    ("carried",),
    ("words", "forwarder"),
    ("serve", "confine"),
    ("family",),
    ("main",),
)
# No system call, no allocation; so no header that offers one.
C_PURE = frozenset(
    {
        "epoch",
        "tunnel",
        "frame",
        "hash",
        "hold",
        "pace",
        "distributor",
        "lesson",
        "station",
        "ownership",
        "lease",
    }
)
C_PURE_HEADERS = frozenset(
    {
        "lagg.h",
        "internal.h",
        "lesson.h",
        "station.h",
        "forwarder.h",
        "assert.h",
        "errno.h",
        "limits.h",
        "stdalign.h",
    }
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
# Threads are the caller's: Python's, and for the forwarder carried.c's.
C_MAY_THREAD = {
    "carried": frozenset({"pthread_create", "pthread_join"}),
    "serve": frozenset({"pthread_sigmask"}),
}
# What the forwarder never does but to make its own door and its standby: laggd opens
# all that it works with.
OPENING = r"open|openat|fopen|creat|socket|socketpair|connect|fork|vfork|exec\w+|system"


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
            own = set(re.findall(r"^(\w+)\(", code, re.MULTILINE))
            wrong += [
                f"{name_of(path)}: {name}()"
                for name in re.findall(call, code)
                if name not in own
            ]
    assert not wrong


def test_tap_and_sockets_know_no_snapshot() -> None:
    wrong = [
        name_of(path)
        for path in native_c_files()
        if path.stem in {"tap", "packet", "ring", "txring", "xdp", "port", "egress"}
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
    call = re.compile(r"\b((?:pthread|thrd|mtx|cnd|sem)_\w+)\s*\(")
    wrong = [
        f"{name_of(path)}: {name}()"
        for path in native_c_files()
        for name in call.findall(without_comments(path.read_text(encoding="utf-8")))
        if name not in C_MAY_THREAD.get(path.stem, ())
    ]
    assert not wrong


def test_the_forwarder_opens_nothing_but_its_own_door_and_makes_its_standby() -> None:
    call = re.compile(rf"\b({OPENING})\s*\(")
    found = [
        f"{name_of(path)}: {name}()"
        for path in native_c_files()
        if path.parent.name == "forwarder"
        for name in call.findall(without_comments(path.read_text(encoding="utf-8")))
    ]
    assert found == [
        "native/forwarder/family.c: fork()",
        "native/forwarder/serve.c: socket()",
    ]


def test_what_a_dead_process_leaves_has_no_bool() -> None:
    """Any byte may be left in it; of a bool's, C defines what 0 and 1 mean."""
    headers = sorted((ROOT / "native").glob("*.h"))
    source = "".join(without_comments(path.read_text()) for path in headers)
    bodies = dict(re.findall(r"struct (\w+) \{(.*?)\n\};", source, re.DOTALL))
    left = {"work", "worker_work", "port_work"}
    while more := bodies.keys() & _members(left, bodies) - left:
        left |= more
    assert {"burst", "ring_place", "hold_place", "queue", "turn"} <= left
    assert [each for each in sorted(left) if "bool " in bodies[each]] == []


def _members(structs: Iterable[str], bodies: Mapping[str, str]) -> set[str]:
    """The structs that these have inside."""
    return {
        name
        for each in structs
        for name in re.findall(r"struct (\w+) \w", bodies[each])
    }
