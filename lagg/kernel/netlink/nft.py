# SPDX-License-Identifier: BSD-2-Clause
"""nftables messages of the netdev family, through pyroute2's codecs.

Owns how a table, a chain, a rule and a transaction are written.  Knows no port, and not
what a chain is for.
"""

from collections.abc import Iterable
from typing import Any

from pyroute2.netlink.nfnetlink import nfgen_msg

from lagg.kernel.netlink.bodies import NftChain, NftRule, NftTable
from lagg.kernel.netlink.messages import attributes_of
from lagg.kernel.netlink.wire import (
    NLM_F_ACK,
    NLM_F_APPEND,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REQUEST,
    Request,
    Socket,
)

INGRESS = 0
EGRESS = 1  # since Linux 5.16
DROP, ACCEPT = 0, 1

META_PROTOCOL, META_MARK = 1, 3

_SUBSYS_NFTABLES = 10
_BATCH_BEGIN = 0x10
_BATCH_END = 0x11
_NEWTABLE = _SUBSYS_NFTABLES << 8 | 0
_GETTABLE = _SUBSYS_NFTABLES << 8 | 1
_DELTABLE = _SUBSYS_NFTABLES << 8 | 2
_NEWCHAIN = _SUBSYS_NFTABLES << 8 | 3
_DELCHAIN = _SUBSYS_NFTABLES << 8 | 5
_NEWRULE = _SUBSYS_NFTABLES << 8 | 6

_NFPROTO_NETDEV = 5
_TABLE_OWNER = 0x2  # since Linux 5.12
_FIRST = -(1 << 31)
"""The hook priority: before whatever else listens there."""

_ATTRIBUTES_AT = 20  # in an answer: behind the netlink header, and nfgenmsg
_TABLE_USERDATA = 6
_USER_COMMENT = 0
_USER_HEADER = 2  # a byte says what follows, another one its length

_VERDICT, _REGISTER = 0, 1
_CMP_EQ, _CMP_LTE = 0, 3
_LINK_LAYER = 0  # the base of a payload

_QUIET = NLM_F_REQUEST
_CREATE = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL
_APPEND = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_APPEND


async def batch(owner: Socket, *changes: Request) -> None:
    """Changes as a transaction, the only way nftables takes any.  OSError: none is."""
    begin = Request(_message(nfgen_msg, (), _SUBSYS_NFTABLES), _BATCH_BEGIN, _QUIET)
    end = Request(_message(nfgen_msg, (), _SUBSYS_NFTABLES), _BATCH_END, _QUIET)
    await owner.ask(begin, *changes, end)


def new_table(table: str, comment: str) -> Request:
    """A table that is gone with the socket that makes it; EPERM if it is another's.

    `comment`: shown by nft(8), at most 127 bytes.
    """
    attributes = (
        ("NAME", table),
        ("FLAGS", _TABLE_OWNER),
        ("USERDATA", _user_text(comment)),
    )
    return Request(_message(NftTable, attributes), _NEWTABLE, _CREATE)


def _user_text(comment: str) -> bytes:
    text = comment.encode() + b"\0"
    return bytes((_USER_COMMENT, len(text))) + text


def delete_table(table: str) -> Request:
    """Takes a table away with its chains."""
    message = _message(NftTable, (("NAME", table),))
    return Request(message, _DELTABLE)


async def comment_of(asker: Socket, table: str) -> str:
    """The comment of a table, "" when it has none.  OSError(ENOENT): no such table."""
    message = _message(NftTable, (("NAME", table),))
    (raw,) = await asker.ask(Request(message, _GETTABLE))
    said = attributes_of(raw, _ATTRIBUTES_AT).get(_TABLE_USERDATA, b"")
    return said[_USER_HEADER:].rstrip(b"\0").decode(errors="replace")


def new_chain(table: str, chain: str, hook: int, device: str, policy: int) -> Request:
    """A chain at the hook of one device; what no rule decides falls to `policy`."""
    hooked = (
        ("HOOKNUM", hook),
        ("PRIORITY", _FIRST),
        ("DEV", device),
    )
    attributes = (
        ("TABLE", table),
        ("NAME", chain),
        ("HOOK", _nest(hooked)),
        ("POLICY", policy),
        ("TYPE", "filter"),
    )
    return Request(_message(NftChain, attributes), _NEWCHAIN, _CREATE)


def delete_chain(table: str, chain: str) -> Request:
    """Takes a chain away with its rules."""
    attributes = (("TABLE", table), ("NAME", chain))
    return Request(_message(NftChain, attributes), _DELCHAIN)


Test = tuple[object, object]
"""What a rule asks of a frame: the expressions that load something and compare it."""


def meta_is(key: int, value: bytes) -> Test:
    """Whether META_* of a frame is `value`."""
    return _expression("meta", (("KEY", key), ("DREG", _REGISTER))), _compare(value)


def octets_are(at: int, value: bytes, *, at_most: bool = False) -> Test:
    """Whether its bytes from `at` on are `value`, or that at most, of 16 at most."""
    where = (("BASE", _LINK_LAYER), ("OFFSET", at), ("LEN", len(value)))
    load = _expression("payload", (("DREG", _REGISTER), *where))
    return load, _compare(value, _CMP_LTE if at_most else _CMP_EQ)


def new_rule(table: str, chain: str, tests: Iterable[Test], verdict: int) -> Request:
    """The chain's next rule: frames of which all `tests` are true get `verdict`."""
    expressions = [each for test in tests for each in test]
    attributes = (
        ("TABLE", table),
        ("CHAIN", chain),
        ("EXPRESSIONS", [*expressions, _decision(verdict)]),
    )
    return Request(_message(NftRule, attributes), _NEWRULE, _APPEND)


def _compare(value: bytes, how: int = _CMP_EQ) -> object:
    said = (("SREG", _REGISTER), ("OP", how), ("DATA", _nest((("VALUE", value),))))
    return _expression("cmp", said)


def _decision(verdict: int) -> object:
    code = _nest((("CODE", verdict),))
    decide = (("DREG", _VERDICT), ("DATA", _nest((("VERDICT", code),))))
    return _expression("immediate", decide)


def _expression(name: str, attributes: tuple[tuple[str, object], ...]) -> object:
    return _nest((("NAME", name), ("DATA", _nest(attributes))))


def _nest(attributes: tuple[tuple[str, object], ...]) -> dict[str, object]:
    return {"attrs": list(attributes)}


def _message(
    kind: Any, attributes: tuple[tuple[str, object], ...], resource: int = 0
) -> Any:
    message = kind()
    message["nfgen_family"] = _NFPROTO_NETDEV
    message["res_id"] = resource
    if attributes:
        message["attrs"] = list(attributes)
    return message
