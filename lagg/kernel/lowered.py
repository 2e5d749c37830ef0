# SPDX-License-Identifier: BSD-2-Clause
"""A plan as C has it, and what C says of a frame under it.

Owns which number of native/lagg.h stands for which word.  Holds no device.
"""

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any

from lagg._native import ffi, lib
from lagg.ethernet import mac_bytes
from lagg.model import Drop, HashKind, HashLayer
from lagg.plan.explain import Ends, Hashed
from lagg.plan.plan import Plan
from lagg.plan.stations import PortMacs

_HASH_KINDS = {
    HashKind.FNV1: lib.LAGG_HASH_FNV1,
    HashKind.CRC32C: lib.LAGG_HASH_CRC32C,
}
_LAYERS = {
    HashLayer.L2: lib.LAGG_LAYER_L2,
    HashLayer.L3: lib.LAGG_LAYER_L3,
    HashLayer.L4: lib.LAGG_LAYER_L4,
    HashLayer.INNER: lib.LAGG_LAYER_INNER,
}
_TUNNELS = {
    lib.LAGG_TUNNEL_VXLAN: "vxlan",
    lib.LAGG_TUNNEL_GENEVE: "geneve",
    lib.LAGG_TUNNEL_GTP_U: "gtp-u",
    lib.LAGG_TUNNEL_GRE: "gre",
    lib.LAGG_TUNNEL_IP: "ip",
    lib.LAGG_TUNNEL_MPLS: "mpls",
    lib.LAGG_TUNNEL_PPPOE: "pppoe",
}
_DROPS = {drop: number for number, drop in enumerate(Drop)}

assert len(_TUNNELS) == lib.LAGG_TUNNEL_NONE


def hashed(plan: Plan, frame: bytes) -> Hashed:
    """What the hash of an Ethernet frame is under a plan.  ValueError for a runt."""
    out = ffi.new("struct lagg_hashed *")
    if lib.lagg_flow_hash(lower(plan), frame, len(frame), out) != 0:
        raise ValueError("shorter than an Ethernet header")
    tunnels = tuple(_TUNNELS[out.tunnels[i]] for i in range(out.tunnels_count))
    return Hashed(
        int(out.hash), tunnels, _ends(out), _mac(frame[6:12]), _mac(frame[:6])
    )


def _ends(out: Any) -> Ends:
    """Both ends of the frame by each layer that it has."""
    found = {HashLayer.L2: (_mac(out.ether_src), _mac(out.ether_dst))}
    if out.addr_bytes != 0:
        size = out.addr_bytes
        addresses = out.addr_src, out.addr_dst
        one, other = (str(ip_address(bytes(each)[:size])) for each in addresses)
        found[HashLayer.L3] = one, other
    if out.port_bytes != 0:
        ports = out.port_src, out.port_dst
        one, other = (str(int.from_bytes(bytes(each), "big")) for each in ports)
        found[HashLayer.L4] = one, other
    return found


def _mac(octets: Any) -> str:
    return bytes(octets).hex(":")


def _bits(slots: Iterable[int]) -> int:
    return sum(1 << slot for slot in slots)


def _layers(plan: Plan) -> int:
    layers: int = sum(_LAYERS[layer] for layer in plan.hash_layers)
    either_way: int = lib.LAGG_LAYER_EITHER_WAY
    return layers | either_way if plan.hash_symmetric else layers


def _lower_stations(lowered: Any, stations: PortMacs) -> None:
    lowered.stations, lowered.home = 1, stations.home
    lowered.mac = mac_bytes(stations.mac)
    for slot, mac in stations.macs:
        lowered.macs[slot] = mac_bytes(mac)
    if stations.lessons:
        lowered.teaches = 1
        lowered.rx_slots = bytes(stations.lessons)


def lower(plan: Plan) -> Any:
    """The struct lagg_plan of a plan.  OverflowError, IndexError: it does not fit."""
    lowered = ffi.new("struct lagg_plan *")
    lowered.spread = plan.spread.value
    lowered.tx_drop = _DROPS[plan.tx_drop]
    lowered.rx_drop = _DROPS[plan.rx_drop]
    lowered.stride = plan.stride
    lowered.ports = _bits(plan.ports)
    accepted = _bits(plan.rx_accept)
    lowered.rx_accept, lowered.rx_once = (0, accepted) if plan.dedup else (accepted, 0)
    lowered.hash_kind = _HASH_KINDS[plan.hash_kind]
    lowered.hash_layers = _layers(plan)
    lowered.hash_seed = plan.hash_seed
    lowered.rx_bytes_max = plan.rx_bytes_max
    lowered.tx_slots_count = len(plan.tx_slots)
    lowered.tx_slots[0 : len(plan.tx_slots)] = list(plan.tx_slots)
    lowered.passes_local = plan.passes_local
    lowered.own_count = len(plan.own)
    lowered.own[0 : len(plan.own)] = [mac_bytes(mac) for mac in sorted(plan.own)]
    for index in plan.held:
        lowered.held[index // 8] |= 1 << index % 8
    if plan.stations is not None:
        _lower_stations(lowered, plan.stations)
    return lowered
