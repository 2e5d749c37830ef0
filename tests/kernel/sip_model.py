# SPDX-License-Identifier: BSD-2-Clause
"""SipHash as its paper has it (Aumasson and Bernstein, 2012), and nothing of ours.

Owns which texts the golden vectors of tests/native/dedup_vectors.h are of.
"""

ZERO = bytes(16)
COUNTING = bytes(range(16))

KEYS = (ZERO, COUNTING, bytes(range(0xF0, 0x100)))
SIZES = (0, 1, 7, 8, 9, 14, 15, 60, 63, 64, 1514, 2038, 2039, 9018, 65549)

_WORD = 2**64 - 1


def text(size: int) -> bytes:
    """The bytes that a vector of that size is of."""
    return bytes(i * 7 + i // 256 & 0xFF for i in range(size))


def siphash(key: bytes, said: bytes, *, rounds: int = 1, last: int = 3) -> int:
    """SipHash-rounds-last of `said`; `key` has 16 bytes."""
    k0, k1 = (int.from_bytes(key[at : at + 8], "little") for at in (0, 8))
    magic = (b"somepseu", b"dorandom", b"lygenera", b"tedbytes")
    keyed = zip(magic, (k0, k1, k0, k1), strict=True)
    v = [int.from_bytes(word, "big") ^ k for word, k in keyed]
    padded = said + bytes(-(len(said) + 1) % 8) + bytes([len(said) % 256])
    for at in range(0, len(padded), 8):
        word = int.from_bytes(padded[at : at + 8], "little")
        v[3] ^= word
        _rounds(v, rounds)
        v[0] ^= word
    v[2] ^= 0xFF
    _rounds(v, last)
    return v[0] ^ v[1] ^ v[2] ^ v[3]


def _rounds(v: list[int], count: int) -> None:
    for _ in range(count):
        for a, b, c, d, left, right in ((0, 1, 2, 3, 13, 16), (2, 1, 0, 3, 17, 21)):
            v[a] = v[a] + v[b] & _WORD
            v[c] = v[c] + v[d] & _WORD
            v[b] = _rotated(v[b], left) ^ v[a]
            v[d] = _rotated(v[d], right) ^ v[c]
            v[a] = _rotated(v[a], 32)


def _rotated(word: int, bits: int) -> int:
    return (word << bits | word >> 64 - bits) & _WORD
