"""The Tiger hash in plain Python: correct everywhere, slow (about 2 MB/s).

The network names file contents by tiger trees (tth.py).  Fast back ends are in tiger_backends.py; this one is the fallback and
the yardstick.  The four S-boxes are not typed in: the designers' generator rebuilds them in a few hundredths of a second when
the first digest is asked for (docs/protocol/hashes.md).

    tiger(b"abc").hex()  # 2aab1484e8c158f2bfb8c5ff41b57a525129131c957b5f93
"""

from __future__ import annotations

import functools
import struct

DIGEST_SIZE = 24
BLOCK_SIZE = 64

Words = tuple[int, int, int, int, int, int, int, int]
State = tuple[int, int, int]
Tables = tuple[list[int], list[int], list[int], list[int]]

_MASK = 0xFFFFFFFFFFFFFFFF
_START: State = (0x0123456789ABCDEF, 0xFEDCBA9876543210, 0xF096A5B4C3B2E187)
_WORDS = struct.Struct("<8Q")
#: What the generator hashes over and over: the title line of the paper, 64 bytes.
_SEED = b"Tiger - A Fast New Hash Function, by Ross Anderson and Eli Biham"
_GENERATOR_PASSES = 5
_MULTIPLIERS = (5, 7, 9)


def tiger(data: bytes) -> bytes:
    """The 24-byte Tiger digest of `data` (the first version, with padding byte 01)."""
    tables = s_boxes()
    tail_at = len(data) - len(data) % BLOCK_SIZE
    padded = data[tail_at:] + b"\x01"
    padded += bytes(-(len(padded) + 8) % BLOCK_SIZE) + struct.pack("<Q", len(data) * 8 & _MASK)
    state = _START
    for part, stop in ((data, tail_at), (padded, len(padded))):
        for at in range(0, stop, BLOCK_SIZE):
            state = _compress(tables, _WORDS.unpack_from(part, at), state)
    return struct.pack("<3Q", *state)


@functools.cache
def s_boxes() -> Tables:
    """The four tables of 256 words of 64 bits, generated once for each process."""
    tables: Tables = tuple([byte * 0x0101010101010101 for byte in range(256)] for _ in range(4))  # type: ignore[assignment]
    seed: Words = _WORDS.unpack(_SEED)
    state = _START
    turn = 2
    for _ in range(_GENERATOR_PASSES):
        for i in range(256):
            for table in tables:
                turn = (turn + 1) % 3
                if turn == 0:
                    state = _compress(tables, seed, state)
                _shuffle(table, i, state[turn])
    return tables


def _shuffle(table: list[int], i: int, word: int) -> None:
    """Swap each byte column of entry `i` with that of the entry which the column's byte of `word` names."""
    for shift in range(0, 64, 8):
        k = word >> shift & 255
        difference = (table[i] ^ table[k]) & 255 << shift
        table[i] ^= difference
        table[k] ^= difference


def _compress(tables: Tables, words: tuple[int, ...], state: State) -> State:
    t1, t2, t3, t4 = tables
    a, b, c = state
    for multiplier in _MULTIPLIERS:
        if multiplier != 5:
            words = _next_words(words)
        for word in words:
            c ^= word
            c0, c1, c2, c3, c4, c5, c6, c7 = c.to_bytes(8, "little")
            a = a - (t1[c0] ^ t2[c2] ^ t3[c4] ^ t4[c6]) & _MASK
            b = (b + (t4[c1] ^ t3[c3] ^ t2[c5] ^ t1[c7])) * multiplier & _MASK
            a, b, c = b, c, a
    # 24 rounds turn the three roles round eight times: a, b and c are themselves again.
    return a ^ state[0], b - state[1] & _MASK, c + state[2] & _MASK


def _next_words(words: tuple[int, ...]) -> Words:
    """The key schedule between two passes."""
    x0, x1, x2, x3, x4, x5, x6, x7 = words
    x0 = x0 - (x7 ^ 0xA5A5A5A5A5A5A5A5) & _MASK
    x1 ^= x0
    x2 = x2 + x1 & _MASK
    x3 = x3 - (x2 ^ ~x1 << 19 & _MASK) & _MASK
    x4 ^= x3
    x5 = x5 + x4 & _MASK
    x6 = x6 - (x5 ^ (~x4 & _MASK) >> 23) & _MASK
    x7 ^= x6
    x0 = x0 + x7 & _MASK
    x1 = x1 - (x0 ^ ~x7 << 19 & _MASK) & _MASK
    x2 ^= x1
    x3 = x3 + x2 & _MASK
    x4 = x4 - (x3 ^ (~x2 & _MASK) >> 23) & _MASK
    x5 ^= x4
    x6 = x6 + x5 & _MASK
    x7 = x7 - (x6 ^ 0x0123456789ABCDEF) & _MASK
    return x0, x1, x2, x3, x4, x5, x6, x7
