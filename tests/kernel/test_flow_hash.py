# SPDX-License-Identifier: BSD-2-Clause
"""The flow hash as C computes it, compared with flow_model's."""

import random
from dataclasses import replace

import pytest
from scapy.layers.l2 import Ether

from bench.publish import EMPTY
from lagg.kernel.lowered import hashed
from lagg.model import ALL_LAYERS, BUCKETS, HashKind, HashLayer
from lagg.plan.plan import Plan
from tests.kernel.flow_model import FRAMES, MODELS, Counted, fields, turned


def flow_hash(plan: Plan, frame: bytes) -> int:
    return hashed(plan, frame).hash


EACH_LAYER = [ALL_LAYERS, *((layer,) for layer in ALL_LAYERS)]


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("layers", EACH_LAYER)
@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("kind", HashKind)
def test_the_flow_hash_is_the_model_s(
    kind: HashKind, name: str, layers: tuple[HashLayer, ...], symmetric: bool
) -> None:
    raw = bytes(FRAMES[name])
    parsed = Ether(raw)  # so that scapy has filled in what it computes
    counted = Counted(layers, symmetric)
    for seed in (0, 1, 0xDEADBEEF):
        asked = plan_of(kind, seed, counted)
        assert flow_hash(asked, raw) == MODELS[kind](parsed, counted, seed)


def plan_of(kind: HashKind, seed: int, counted: Counted) -> Plan:
    return replace(
        EMPTY,
        hash_kind=kind,
        hash_seed=seed,
        hash_layers=counted.layers,
        hash_symmetric=counted.symmetric,
    )


@pytest.mark.parametrize("layers", EACH_LAYER)
@pytest.mark.parametrize("name", FRAMES)
@pytest.mark.parametrize("kind", HashKind)
def test_both_directions_have_one_hash_with_hash_symmetric_alone(
    kind: HashKind, name: str, layers: tuple[HashLayer, ...]
) -> None:
    there = Ether(bytes(FRAMES[name]))
    back = bytes(turned(there))
    one, other = (plan_of(kind, 9, Counted(layers, each)) for each in (True, False))
    assert flow_hash(one, bytes(there)) == flow_hash(one, back)
    differ = fields(there, Counted(layers), "big") != fields(
        Ether(back), Counted(layers), "big"
    )
    assert (flow_hash(other, bytes(there)) != flow_hash(other, back)) is differ


@pytest.mark.parametrize("kind", HashKind)
def test_with_hash_symmetric_each_end_still_counts(
    kind: HashKind, rng: random.Random
) -> None:
    asked = plan_of(kind, rng.getrandbits(32), Counted(symmetric=True))
    raw = bytes(FRAMES["TCP"])
    for at in (*range(12), *range(26, 38)):
        other = bytearray(raw)
        other[at] ^= 1 << rng.randrange(8)
        assert flow_hash(asked, bytes(other)) != flow_hash(asked, raw)


# Written down, so that model and code cannot err together: a flow stays on its port
# from one release to the next.
KNOWN = {
    (HashKind.FNV1, "TCP"): 3267729572,
    (HashKind.CRC32C, "TCP"): 2732625999,
    (HashKind.CRC32C, "QinQ"): 2799180246,
    (HashKind.CRC32C, "TCP over IPv6"): 740800257,
}
KNOWN_SYMMETRIC = {
    (HashKind.FNV1, "TCP"): 1134272084,
    (HashKind.CRC32C, "TCP"): 3358983199,
    (HashKind.CRC32C, "QinQ"): 2581637624,
    (HashKind.CRC32C, "TCP over IPv6"): 4020929287,
}


@pytest.mark.parametrize(("kind", "name"), KNOWN)
def test_known_values_never_change(kind: HashKind, name: str) -> None:
    asked = replace(EMPTY, hash_kind=kind, hash_seed=0x12345678)
    assert flow_hash(asked, bytes(FRAMES[name])) == KNOWN[kind, name]


@pytest.mark.parametrize(("kind", "name"), KNOWN_SYMMETRIC)
def test_known_values_of_both_directions_never_change(
    kind: HashKind, name: str
) -> None:
    asked = plan_of(kind, 0x12345678, Counted(symmetric=True))
    there = Ether(bytes(FRAMES[name]))
    found = {flow_hash(asked, bytes(each)) for each in (there, turned(there))}
    assert found == {KNOWN_SYMMETRIC[kind, name]}


def same_flow(kind: HashKind, *names: str) -> bool:
    asked = replace(EMPTY, hash_kind=kind, hash_seed=3)
    return len({flow_hash(asked, bytes(FRAMES[name])) for name in names}) == 1


@pytest.mark.parametrize("kind", HashKind)
def test_what_belongs_together_takes_one_port(kind: HashKind) -> None:
    assert same_flow(kind, "first fragment", "last fragment")
    assert same_flow(kind, "UDP", "don't fragment", "IPv4 options")
    assert same_flow(kind, "VLAN", "VLAN with priority")
    assert same_flow(kind, "TCP over IPv6", "flow label")
    assert not same_flow(kind, "UDP", "first fragment")
    assert not same_flow(kind, "TCP", "VLAN")


@pytest.mark.parametrize("kind", HashKind)
def test_a_thousand_flows_spread_evenly_over_the_buckets(
    kind: HashKind, rng: random.Random
) -> None:
    asked = replace(EMPTY, hash_kind=kind, hash_seed=rng.getrandbits(32))
    frame = bytearray(bytes(FRAMES["UDP"]))
    counts = [0] * 4
    for _ in range(4000):
        frame[26:38] = rng.randbytes(12)  # addresses and ports
        counts[flow_hash(asked, bytes(frame)) % BUCKETS // 64] += 1
    # Five standard deviations of a fair spread.
    assert all(abs(count - 1000) < 140 for count in counts)


def test_the_seed_moves_flows_apart() -> None:
    for kind in HashKind:
        frame = bytes(FRAMES["TCP"])
        plans = [replace(EMPTY, hash_kind=kind, hash_seed=seed) for seed in range(64)]
        assert len({flow_hash(each, frame) for each in plans}) == 64


@pytest.mark.parametrize("size", [0, 1, 13])
def test_a_runt_has_no_hash(size: int) -> None:
    with pytest.raises(ValueError, match="shorter than an Ethernet header"):
        flow_hash(EMPTY, bytes(size))


@pytest.mark.parametrize("kind", HashKind)
def test_any_bytes_have_a_hash(kind: HashKind, rng: random.Random) -> None:
    asked = replace(EMPTY, hash_kind=kind)
    for frame in FRAMES.values():
        raw = bytes(frame)
        for size in range(14, len(raw)):
            flow_hash(asked, raw[:size])
        for _ in range(50):
            broken = bytearray(raw)
            broken[rng.randrange(12, len(raw))] = rng.randrange(256)
            flow_hash(asked, bytes(broken))
