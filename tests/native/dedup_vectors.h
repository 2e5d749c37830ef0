/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Golden vectors of SipHash-1-3: a key's number, the bytes of a text, and its hash.
 *
 * tests/kernel/test_sip_model.py has made them, and looks at each again.
 */
#ifndef DEDUP_VECTORS_H
#define DEDUP_VECTORS_H

#include <stdint.h>

static const struct {
    uint32_t key, bytes;
    uint64_t hash;
} vectors[] = {
    {0, 0, 0xd1fba762150c532c},
    {0, 1, 0x68a914128e01e473},
    {0, 7, 0x9e7963f9fe2efdd3},
    {0, 8, 0x2fd61e525823bd4a},
    {0, 9, 0xfbf1988030a5438c},
    {0, 14, 0xf1a78308297e710f},
    {0, 15, 0xb980969a22f5fafa},
    {0, 60, 0x37d14d41743c1a44},
    {0, 63, 0x15223e63c7964e7b},
    {0, 64, 0xd27c4e6b841abb4d},
    {0, 1514, 0x2634fe7a2b360767},
    {0, 2038, 0x68fe671aa2a1c88a},
    {0, 2039, 0xf22ae11c7b71f8c2},
    {0, 9018, 0xfc143cdd8d439dd6},
    {0, 65549, 0xd683925c38005ac5},
    {1, 0, 0xabac0158050fc4dc},
    {1, 1, 0xc9f49bf37d57ca93},
    {1, 7, 0xe67d620a07fe7008},
    {1, 8, 0xa1a1f29da3a8c5b7},
    {1, 9, 0xff526affca8ce0c5},
    {1, 14, 0xad5c6ff0cc2d0dd0},
    {1, 15, 0x25d39ddc9bc891ba},
    {1, 60, 0x8282999948d1ef1e},
    {1, 63, 0xbb14adb0a38c5f67},
    {1, 64, 0xe4f6ca9b35993bef},
    {1, 1514, 0x1f7876184350e1f6},
    {1, 2038, 0x30f28fcef4227231},
    {1, 2039, 0x3dd43644742ace0a},
    {1, 9018, 0x583936c4d7ecab55},
    {1, 65549, 0x0b2c32cf9f12f6ad},
    {2, 0, 0x7d6aa1111f269f83},
    {2, 1, 0x0af069804a15e0e5},
    {2, 7, 0x9152face874637ff},
    {2, 8, 0xfb0fa81234c03e33},
    {2, 9, 0x1c72e2d6de7c8849},
    {2, 14, 0x2ea266b3a7cc18c5},
    {2, 15, 0xd80141539771735d},
    {2, 60, 0x8fb2bda3e2df6817},
    {2, 63, 0x523747d814b2b157},
    {2, 64, 0xf6338e6fa05e5e73},
    {2, 1514, 0x1f1ff633de0f4fd4},
    {2, 2038, 0xf1bbb6e991fc0384},
    {2, 2039, 0x66165bb4e68ba40c},
    {2, 9018, 0x1cfbb33c875c0fa9},
    {2, 65549, 0x972ee97d63060fb7},
};

#endif
