/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames, normal and hostile, and what is to be found in each.
 *
 * Owns the bytes (in hex, as on the wire) and the expectation, written by hand from the
 * RFCs, not from the parser.  Knows no function of ours.
 */
#ifndef FRAME_ROWS_H
#define FRAME_ROWS_H

#include "internal.h"

#include <string.h>

#define FIVE(text) text text text text text
#define TEN(text) FIVE(text) FIVE(text)
#define HUNDRED(text) TEN(TEN(text))

#define MACS "02000000000b02000000000a" /* destination, source */
#define VLAN(tpid, tci) tpid tci
#define IPV4(ihl, total, fragment, protocol)                                           \
    "0800" ihl "00" total "abcd" fragment "40" protocol "0000c0000201c6336402"
#define IPV6(payload, next)                                                            \
    "86dd60012345" payload next "40"                                                   \
    "20010db800000000000000000000000120010db8000000000000000000000002"

#define PORTS "04d20050"
#define TCP PORTS "00000001000000025010ffff00000000"
#define UDP PORTS "00080000"
#define SCTP PORTS "0000000100000000"

/* IPv6 extension headers of so many bytes; HEADER_2 is the beginning of a long one. */
#define HEADER_8(next) next "00010400000000"
#define HEADER_24(next) next "020114" FIVE("00000000")
#define HEADER_2(next, length) next length
#define AUTHENTICATION_24(next) next "040000" FIVE("0000000f")
#define FRAGMENT_8(next, offset) next "00" offset "0000abcd"

struct row {
    const char *name;
    const char *hex;
    uint32_t complete_at; /* the length from which on nothing more is found */
    uint16_t vlan[2];     /* VLAN ids in host byte order */
    uint8_t vlan_count;
    uint8_t addr_bytes;
    uint8_t port_bytes;
};

#define TAGS(count, outer, inner) .vlan_count = count, .vlan = {outer, inner}
#define ETHER(at) .complete_at = at
#define ADDRESSES(bytes, at) .addr_bytes = bytes, .complete_at = at
#define ALL(bytes, at) .addr_bytes = bytes, .port_bytes = 2, .complete_at = at

static const struct row rows[] = {
    {"nothing behind the MACs", MACS "0000", ETHER(14)},
    {"802.3 length", MACS "0026424203" TEN("0000"), ETHER(14)},
    {"ARP", MACS "08060001080006040001" TEN("0a0b"), ETHER(14)},

    {"TCP", MACS IPV4("45", "0028", "4000", "06") TCP, ALL(4, 54)},
    {"UDP", MACS IPV4("45", "001c", "0000", "11") UDP, ALL(4, 42)},
    {"SCTP", MACS IPV4("45", "0020", "4000", "84") SCTP, ALL(4, 46)},
    {"ICMP", MACS IPV4("45", "001c", "0000", "01") UDP, ADDRESSES(4, 34)},
    {"AH", MACS IPV4("45", "0040", "0000", "33") AUTHENTICATION_24("06") TCP,
        ADDRESSES(4, 34)},
    {"one option", MACS IPV4("46", "002c", "0000", "06") "01010101" TCP, ALL(4, 58)},
    {"full of options", MACS IPV4("4f", "0050", "0000", "06") TEN("01010101") TCP,
        ALL(4, 94)},

    {"neither DF nor MF", MACS IPV4("45", "0028", "0000", "06") TCP, ALL(4, 54)},
    {"the reserved bit", MACS IPV4("45", "0028", "8000", "06") TCP, ALL(4, 54)},
    {"first fragment", MACS IPV4("45", "0028", "2000", "06") TCP, ADDRESSES(4, 34)},
    {"middle fragment", MACS IPV4("45", "0028", "2001", "06") TCP, ADDRESSES(4, 34)},
    {"last fragment", MACS IPV4("45", "0028", "1fff", "06") TCP, ADDRESSES(4, 34)},
    {"last fragment, DF", MACS IPV4("45", "0028", "4001", "06") TCP, ADDRESSES(4, 34)},

    {"version 3", MACS IPV4("35", "0028", "4000", "06") TCP, ETHER(14)},
    {"version 5", MACS IPV4("55", "0028", "4000", "06") TCP, ETHER(14)},
    {"version 6 as IPv4", MACS IPV4("65", "0028", "4000", "06") TCP, ETHER(14)},
    {"IHL 0", MACS IPV4("40", "0028", "4000", "06") TCP, ADDRESSES(4, 34)},
    {"IHL 4", MACS IPV4("44", "0028", "4000", "06") TCP, ADDRESSES(4, 34)},
    {"IHL > total", MACS IPV4("4b", "0028", "4000", "06") TCP TCP, ADDRESSES(4, 34)},
    {"IHL > frame", MACS IPV4("4f", "0050", "4000", "06") TCP, ADDRESSES(4, 34)},
    {"total 0", MACS IPV4("45", "0000", "4000", "06") TCP, ADDRESSES(4, 34)},
    {"total < header", MACS IPV4("45", "0013", "4000", "06") TCP, ADDRESSES(4, 34)},
    {"total within TCP", MACS IPV4("45", "0027", "4000", "06") TCP, ADDRESSES(4, 34)},
    {"total within UDP", MACS IPV4("45", "001b", "4000", "11") UDP, ADDRESSES(4, 34)},
    {"total within SCTP", MACS IPV4("45", "001f", "4000", "84") SCTP, ADDRESSES(4, 34)},
    {"total > frame", MACS IPV4("45", "ffff", "4000", "06") TCP, ALL(4, 54)},
    {"padding", MACS IPV4("45", "0014", "4000", "06") TCP UDP, ADDRESSES(4, 34)},

    {"802.1Q", MACS VLAN("8100", "0005") IPV4("45", "0028", "4000", "06") TCP,
        TAGS(1, 5, 0), ALL(4, 58)},
    {"PCP and DEI", MACS VLAN("8100", "f005") IPV4("45", "0028", "4000", "06") TCP,
        TAGS(1, 5, 0), ALL(4, 58)},
    {"priority tag", MACS VLAN("8100", "e000") IPV4("45", "0028", "4000", "06") TCP,
        TAGS(1, 0, 0), ALL(4, 58)},
    {"802.1ad alone", MACS VLAN("88a8", "ffff") IPV4("45", "0028", "4000", "06") TCP,
        TAGS(1, 4095, 0), ALL(4, 58)},
    {"802.1ad", MACS VLAN("88a8", "0064") VLAN("8100", "2005") IPV6("0014", "06") TCP,
        TAGS(2, 100, 5), ALL(16, 82)},
    {"0x9100", MACS VLAN("9100", "0064") VLAN("8100", "0005") IPV6("0008", "11") UDP,
        TAGS(2, 100, 5), ALL(16, 70)},
    {"two 802.1Q",
        MACS VLAN("8100", "0001") VLAN("8100", "0fff") IPV6("0008", "11") UDP,
        TAGS(2, 1, 4095), ALL(16, 70)},
    {"three tags",
        MACS VLAN("88a8", "0001") VLAN("8100", "0002") VLAN("8100", "0003")
            IPV4("45", "0028", "4000", "06") TCP,
        TAGS(2, 1, 2), ETHER(22)},
    {"a hundred tags", MACS HUNDRED(VLAN("8100", "0003")) "0800", TAGS(2, 3, 3),
        ETHER(22)},
    {"tagged ARP", MACS VLAN("8100", "0007") "0806" TEN("0a0b"), TAGS(1, 7, 0),
        ETHER(18)},

    {"TCP v6", MACS IPV6("0014", "06") TCP, ALL(16, 74)},
    {"UDP v6", MACS IPV6("0008", "11") UDP, ALL(16, 62)},
    {"SCTP v6", MACS IPV6("000c", "84") SCTP, ALL(16, 66)},
    {"ICMPv6", MACS IPV6("0008", "3a") UDP, ADDRESSES(16, 54)},
    {"version 4 as IPv6", MACS "86dd45000028" TEN("00000000") TCP, ETHER(14)},
    {"version 7 as IPv6", MACS "86dd700000140640" TEN("00000000") TCP, ETHER(14)},
    {"hop-by-hop", MACS IPV6("001c", "00") HEADER_8("06") TCP, ALL(16, 82)},
    {"routing", MACS IPV6("002c", "2b") HEADER_24("06") TCP, ALL(16, 98)},
    {"destination options", MACS IPV6("0010", "3c") HEADER_8("11") UDP, ALL(16, 70)},
    {"mobility", MACS IPV6("0010", "87") HEADER_8("11") UDP, ALL(16, 70)},
    {"HIP", MACS IPV6("0010", "8b") HEADER_8("11") UDP, ALL(16, 70)},
    {"shim6", MACS IPV6("0010", "8c") HEADER_8("11") UDP, ALL(16, 70)},
    {"AH v6", MACS IPV6("002c", "33") AUTHENTICATION_24("06") TCP, ALL(16, 98)},
    {"shortest AH", MACS IPV6("001c", "33") HEADER_8("06") TCP, ALL(16, 82)},
    {"several headers",
        MACS IPV6("004c", "00") HEADER_8("2b") HEADER_24("33") AUTHENTICATION_24("06")
            TCP,
        ALL(16, 130)},
    {"8 headers",
        MACS IPV6("0054", "00") FIVE(HEADER_8("3c")) HEADER_8("3c") HEADER_8("3c")
            HEADER_8("06") TCP,
        ALL(16, 138)},
    {"9 headers",
        MACS IPV6("005c", "00") FIVE(HEADER_8("3c")) HEADER_8("3c") HEADER_8("3c")
            HEADER_8("3c") HEADER_8("06") TCP,
        ADDRESSES(16, 54)},
    {"100 headers", MACS IPV6("0334", "3c") HUNDRED(HEADER_8("3c")) TCP,
        ADDRESSES(16, 54)},
    {"256 bytes",
        MACS IPV6("0114", "3c") HEADER_2("06", "1f") HUNDRED("0000")
            TEN("0000000000") "00000000" TCP,
        ALL(16, 330)},
    {"264 bytes",
        MACS IPV6("011c", "3c") HEADER_2("06", "20") HUNDRED("0000")
            TEN("000000000000") "0000" TCP,
        ADDRESSES(16, 54)},
    {"longest AH",
        MACS IPV6("0418", "33") HEADER_2("06", "ff") HUNDRED(TEN("00"))
            TEN("0000") "000000000000" TCP,
        ADDRESSES(16, 54)},
    {"header > payload", MACS IPV6("0014", "3c") HEADER_24("06") TCP,
        ADDRESSES(16, 54)},
    {"header > frame", MACS IPV6("ffff", "3c") HEADER_2("06", "ff") TCP TCP,
        ADDRESSES(16, 54)},
    {"first fragment v6", MACS IPV6("001c", "2c") FRAGMENT_8("06", "0001") TCP,
        ADDRESSES(16, 54)},
    {"later fragment v6", MACS IPV6("001c", "2c") FRAGMENT_8("06", "0100") TCP,
        ADDRESSES(16, 54)},
    {"atomic fragment", MACS IPV6("001c", "2c") FRAGMENT_8("06", "0000") TCP,
        ADDRESSES(16, 54)},
    {"fragment behind options",
        MACS IPV6("0024", "3c") HEADER_8("2c") FRAGMENT_8("06", "0000") TCP,
        ADDRESSES(16, 54)},
    {"ESP", MACS IPV6("001c", "32") HEADER_8("06") TCP, ADDRESSES(16, 54)},
    {"no next header", MACS IPV6("001c", "3b") HEADER_8("06") TCP, ADDRESSES(16, 54)},
    {"unknown next header", MACS IPV6("001c", "fd") HEADER_8("06") TCP,
        ADDRESSES(16, 54)},
    {"payload 0", MACS IPV6("0000", "06") TCP, ADDRESSES(16, 54)},
    {"payload within TCP", MACS IPV6("0013", "06") TCP, ADDRESSES(16, 54)},
    {"payload > frame", MACS IPV6("ffff", "06") TCP, ALL(16, 74)},
    {"padding v6", MACS IPV6("0008", "3c") HEADER_8("06") TCP, ADDRESSES(16, 54)},
};

enum { ROWS_COUNT = sizeof(rows) / sizeof(rows[0]), WIRE_BYTES_MAX = 1200 };

static inline uint8_t
nibble(char digit)
{
    return (uint8_t)(digit <= '9' ? digit - '0' : digit - 'a' + 10);
}

/* Returns the number of bytes that 'hex' spells. */
static inline uint32_t
unhex(const char *hex, uint8_t *bytes)
{
    uint32_t size = (uint32_t)strlen(hex) / 2;

    assert(size <= WIRE_BYTES_MAX);
    for (uint32_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(nibble(hex[2 * i]) << 4 | nibble(hex[2 * i + 1]));
    }
    return size;
}

static inline struct flow
row_flow(const struct row *row)
{
    struct flow flow = {
        .ether_src = {2, 0, 0, 0, 0, 0x0a},
        .ether_dst = {2, 0, 0, 0, 0, 0x0b},
        .vlan_count = row->vlan_count,
        .addr_bytes = row->addr_bytes,
        .port_bytes = row->port_bytes,
    };

    for (uint32_t i = 0; i < row->vlan_count; i++) {
        flow.vlan[i][0] = (uint8_t)(row->vlan[i] >> 8);
        flow.vlan[i][1] = (uint8_t)row->vlan[i];
    }
    if (row->addr_bytes == 4) {
        unhex("c0000201", flow.addr_src);
        unhex("c6336402", flow.addr_dst);
    } else if (row->addr_bytes == 16) {
        unhex("20010db8000000000000000000000001", flow.addr_src);
        unhex("20010db8000000000000000000000002", flow.addr_dst);
    }
    if (row->port_bytes != 0) {
        unhex("04d2", flow.port_src);
        unhex("0050", flow.port_dst);
    }
    return flow;
}

#endif
