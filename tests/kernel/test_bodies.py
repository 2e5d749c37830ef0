# SPDX-License-Identifier: BSD-2-Clause
"""What we write to nftables, ethtool and nl80211 means that, by pyroute2's own classes.

A codec drops an attribute silently that its class has not, or has under another name.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pyroute2.netlink.generic.ethtool import ethtool_linkmode_msg
from pyroute2.netlink.nfnetlink.nftsocket import (
    nft_chain_msg,
    nft_rule_msg,
    nft_table_msg,
)
from pyroute2.netlink.nl80211 import nl80211cmd

from lagg.kernel.netlink import nft
from lagg.kernel.netlink.generic import Generic
from lagg.kernel.netlink.wire import Request, Socket
from lagg.link import Modes, Offload

Act = Callable[[Generic], Coroutine[Any, Any, object]]
RequestOf = Callable[[Act], Request]

IFINDEX = 5
FAMILY = 21


class Asked(Exception):
    """In place of a kernel's answer."""


def read(kind: type, request: Request) -> object:
    """The attributes of a request as nested pairs."""
    request.body.encode()
    found = kind(bytes(request.body.data))
    found.decode()
    return plain(found["attrs"])


def plain(value: object) -> object:
    if isinstance(value, dict):
        return plain(value["attrs"] if "attrs" in value else value["value"])
    if not isinstance(value, list):
        return getattr(value, "value", value)
    if value and isinstance(value[0], dict):
        return [plain(each) for each in value]
    return {name: plain(inner) for name, inner in value}


@pytest.fixture
def request_of(
    monkeypatch: pytest.MonkeyPatch,
) -> RequestOf:
    """The request by which a Generic asks."""
    asked: list[Request] = []

    async def ask(_: Socket, *requests: Request) -> list[bytes]:
        asked.extend(requests)
        raise Asked

    async def family(_: Generic, name: str) -> int:
        del name
        return FAMILY

    async def run(act: Act) -> None:
        generic = Generic()
        try:
            await act(generic)
        except Asked:
            pass
        finally:
            generic.close()

    def request(act: Act) -> Request:
        asyncio.run(run(act))
        return asked.pop()

    monkeypatch.setattr(Socket, "ask", ask)
    monkeypatch.setattr(Generic, "_family", family)
    return request


def test_an_nftables_table_has_its_name_owner_and_comment() -> None:
    assert read(nft_table_msg, nft.new_table("t", "a comment")) == {
        "NFTA_TABLE_NAME": "t",
        "NFTA_TABLE_FLAGS": 2,
        "NFTA_TABLE_USERDATA": "a comment",
    }


def test_an_nftables_chain_is_hooked_to_its_device() -> None:
    asked = nft.new_chain("t", "c", nft.EGRESS, "p0", nft.DROP)
    assert read(nft_chain_msg, asked) == {
        "NFTA_CHAIN_TABLE": "t",
        "NFTA_CHAIN_NAME": "c",
        "NFTA_CHAIN_HOOK": {
            "NFTA_HOOK_HOOKNUM": 1,
            "NFTA_HOOK_PRIORITY": -(1 << 31),
            "NFTA_HOOK_DEV": "p0",
        },
        "NFTA_CHAIN_POLICY": 0,
        "NFTA_CHAIN_TYPE": "filter",
    }


def test_an_nftables_rule_loads_compares_and_decides() -> None:
    asked = nft.new_rule(
        "t", "c", [nft.meta_is(nft.META_MARK, b"\1\2\3\4")], nft.ACCEPT
    )
    load = {"NFTA_META_KEY": "NFT_META_MARK", "NFTA_META_DREG": "NFT_REG_1"}
    compare = {
        "NFTA_CMP_SREG": "NFT_REG_1",
        "NFTA_CMP_OP": "NFT_CMP_EQ",
        "NFTA_CMP_DATA": {"NFTA_DATA_VALUE": b"\1\2\3\4"},
    }
    decide = {
        "NFTA_IMMEDIATE_DREG": "NFT_REG_VERDICT",
        "NFTA_IMMEDIATE_DATA": {
            "NFTA_DATA_VERDICT": {"NFTA_VERDICT_CODE": "NF_ACCEPT"}
        },
    }
    assert read(nft_rule_msg, asked) == {
        "NFTA_RULE_TABLE": "t",
        "NFTA_RULE_CHAIN": "c",
        "NFTA_RULE_EXPRESSIONS": [
            {"NFTA_EXPR_NAME": "meta", "NFTA_EXPR_DATA": load},
            {"NFTA_EXPR_NAME": "cmp", "NFTA_EXPR_DATA": compare},
            {"NFTA_EXPR_NAME": "immediate", "NFTA_EXPR_DATA": decide},
        ],
    }


def test_an_nftables_rule_may_ask_for_several_octets() -> None:
    tests = [nft.octets_are(0, b"\1\2"), nft.octets_are(2, b"\3", at_most=True)]
    found = str(read(nft_rule_msg, nft.new_rule("t", "c", tests, nft.DROP)))
    asked = [
        found.find(each)
        for each in (
            "'NFTA_PAYLOAD_OFFSET': 0",
            "'NFTA_PAYLOAD_LEN': 2",
            "NFT_CMP_EQ",
            r"b'\x01\x02'",
            "'NFTA_PAYLOAD_OFFSET': 2",
            "'NFTA_PAYLOAD_LEN': 1",
            "NFT_CMP_LTE",
            r"b'\x03'",
            "NF_DROP",
        )
    ]
    assert -1 not in asked
    assert asked == sorted(asked)
    assert found.count("NFT_PAYLOAD_LL_HEADER") == 2


LINK = {"ETHTOOL_A_LINKMODES_HEADER": {"ETHTOOL_A_HEADER_DEV_INDEX": IFINDEX}}


def test_ethtool_is_told_speed_and_duplex(request_of: RequestOf) -> None:
    modes = Modes(speed_mbps=1000, full_duplex=True)
    asked = request_of(lambda generic: generic.set_modes(IFINDEX, modes))
    assert read(ethtool_linkmode_msg, asked) == LINK | {
        "ETHTOOL_A_LINKMODES_AUTONEG": 0,
        "ETHTOOL_A_LINKMODES_SPEED": 1000,
        "ETHTOOL_A_LINKMODES_DUPLEX": 1,
    }


@pytest.mark.parametrize("on", [True, False])
def test_ethtool_is_told_of_one_feature(request_of: RequestOf, on: bool) -> None:
    request_of(lambda generic: generic.filters_vlans(IFINDEX))  # another class's table
    asked = request_of(lambda generic: generic.set_offload(IFINDEX, Offload.LRO, on))
    bit: dict[str, object] = {"ETHTOOL_A_BITSET_BIT_NAME": "rx-lro"}
    if on:
        bit["ETHTOOL_A_BITSET_BIT_VALUE"] = True
    # FEATURES_WANTED has the number and the form of LINKMODES_OURS.
    wanted = {"ETHTOOL_A_BITSET_BITS": {"ETHTOOL_A_BITSET_BITS_BIT": bit}}
    expected = LINK | {"ETHTOOL_A_LINKMODES_OURS": wanted}
    assert read(ethtool_linkmode_msg, asked) == expected


@pytest.mark.parametrize(
    "ask", [Generic.modes, Generic.filters_vlans, Generic.transmit_queues]
)
def test_ethtool_is_asked_of_one_interface(
    request_of: RequestOf, ask: Callable[[Generic, int], Coroutine[Any, Any, object]]
) -> None:
    asked = request_of(lambda generic: ask(generic, IFINDEX))
    assert read(ethtool_linkmode_msg, asked) == LINK


@pytest.mark.parametrize(
    "ask", [Generic.modes_by_link, Generic.transmit_queues_by_link]
)
def test_ethtool_is_asked_of_all_with_a_header_which_linux_before_6_6_wants(
    request_of: RequestOf, ask: Callable[[Generic], Coroutine[Any, Any, object]]
) -> None:
    asked = request_of(ask)
    assert read(ethtool_linkmode_msg, asked) == {"ETHTOOL_A_LINKMODES_HEADER": {}}


def test_nl80211_is_asked_of_one_interface(request_of: RequestOf) -> None:
    asked = request_of(lambda generic: generic.wireless(IFINDEX))
    assert read(nl80211cmd, asked) == {"NL80211_ATTR_IFINDEX": IFINDEX}
