# SPDX-License-Identifier: BSD-2-Clause
"""Bodies of requests to nftables, ethtool and nl80211, as classes for pyroute2's codec.

pyroute2 has such too, in modules that bring its sockets with them, which nobody here
uses: to load those took a tenth of laggd's start.  Owns the kernel's numbers of the
attributes that we write.  Knows no command, and no answer: those are read as bytes.

None inherits from another: what the codec made of a class's table, its heirs would have
as theirs.
"""

# mypy: disable-error-code="misc"
# pyroute2 has no types.

from pyroute2.netlink import NLA_F_NESTED, genlmsg, nla
from pyroute2.netlink.nfnetlink import nfgen_msg


class NftTable(nfgen_msg):
    """NFTA_TABLE_*."""

    nla_map = ((1, "NAME", "asciiz"), (2, "FLAGS", "be32"), (6, "USERDATA", "cdata"))


class _Hook(nla):
    """NFTA_HOOK_*."""

    nla_map = ((1, "HOOKNUM", "be32"), (2, "PRIORITY", "sbe32"), (3, "DEV", "asciiz"))


class NftChain(nfgen_msg):
    """NFTA_CHAIN_*."""

    nla_map = (
        *((1, "TABLE", "asciiz"), (3, "NAME", "asciiz"), (4, "HOOK", "hook")),
        *((5, "POLICY", "be32"), (7, "TYPE", "asciiz")),
    )
    hook = _Hook


class _Verdict(nla):
    """NFTA_VERDICT_*."""

    nla_map = ((1, "CODE", "sbe32"),)


class _Datum(nla):
    """NFTA_DATA_*."""

    nla_map = ((1, "VALUE", "cdata"), (2, "VERDICT", "verdict"))
    verdict = _Verdict


class _Meta(nla):
    """NFTA_META_*."""

    nla_map = ((1, "DREG", "be32"), (2, "KEY", "be32"))


class _Cmp(nla):
    """NFTA_CMP_*."""

    nla_map = ((1, "SREG", "be32"), (2, "OP", "be32"), (3, "DATA", "datum"))
    datum = _Datum


class _Payload(nla):
    """NFTA_PAYLOAD_*."""

    nla_map = (
        *((1, "DREG", "be32"), (2, "BASE", "be32")),
        *((3, "OFFSET", "be32"), (4, "LEN", "be32")),
    )


class _Immediate(nla):
    """NFTA_IMMEDIATE_*."""

    nla_map = ((1, "DREG", "be32"), (2, "DATA", "datum"))
    datum = _Datum


class _Expression(nla):
    """NFTA_EXPR_*; DATA's class is that of the expression that NAME says."""

    header_type = 1
    nla_map = ((1, "NAME", "asciiz"), (2, "DATA", "named"))
    meta, cmp, immediate, payload = _Meta, _Cmp, _Immediate, _Payload

    @staticmethod
    def named(expression: nla, *_: object, **__: object) -> object:
        """Asked by the codec."""
        return getattr(expression, expression.get_attr("NAME"))


class NftRule(nfgen_msg):
    """NFTA_RULE_*."""

    nla_map = (
        *((1, "TABLE", "asciiz"), (2, "CHAIN", "asciiz")),
        (4, "EXPRESSIONS", "*expression"),
    )
    expression = _Expression


class _Device(nla):
    """ETHTOOL_A_HEADER_*."""

    nla_flags = NLA_F_NESTED
    nla_map = ((1, "DEV_INDEX", "uint32"),)


class Ethtool(genlmsg):
    """Any request of ethtool: HEADER has the same number in each of them."""

    nla_map = ((1, "HEADER", "device"),)
    device = _Device


class LinkModes(genlmsg):
    """ETHTOOL_A_LINKMODES_*."""

    nla_map = (
        *((1, "HEADER", "device"), (2, "AUTONEG", "uint8")),
        *((5, "SPEED", "uint32"), (6, "DUPLEX", "uint8")),
    )
    device = _Device


class _Bit(nla):
    """ETHTOOL_A_BITSET_BIT_*."""

    nla_flags = NLA_F_NESTED
    nla_map = ((2, "NAME", "asciiz"), (3, "VALUE", "flag"))


class _BitList(nla):
    """ETHTOOL_A_BITSET_BITS_*."""

    nla_flags = NLA_F_NESTED
    nla_map = ((1, "BIT", "bit"),)
    bit = _Bit


class _Bitset(nla):
    """ETHTOOL_A_BITSET_*."""

    nla_flags = NLA_F_NESTED
    nla_map = ((3, "BITS", "bits"),)
    bits = _BitList


class Features(genlmsg):
    """ETHTOOL_A_FEATURES_*."""

    nla_map = ((1, "HEADER", "device"), (3, "WANTED", "bitset"))
    device, bitset = _Device, _Bitset


class Wireless(genlmsg):
    """NL80211_ATTR_*."""

    nla_map = ((3, "IFINDEX", "uint32"),)
