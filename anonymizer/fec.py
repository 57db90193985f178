"""Redundancy: from k texts k more, and from any k of the 2k all of them.

A systematic Reed-Solomon code over GF(256), polynomial 0x11D, with a Cauchy matrix: check text i is the sum over j of text j
divided by (16 + i) + j, where + is exclusive or.  Every square part of such a matrix can be inverted, so any k texts do.
Multiplying a text by a number is one `bytes.translate`, adding two is one exclusive or of large ints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gnutella.errors import LocalMisuse

#: Texts of one segment, and check texts besides (design section 3.15): 16 of 32.
MAX_SOURCES = 16
MAX_CHECKS = 16
_POLYNOMIAL = 0x11D


def _make_tables() -> tuple[list[int], list[int]]:
    powers, logs = [0] * 510, [0] * 256
    value = 1
    for exponent in range(255):
        powers[exponent] = powers[exponent + 255] = value
        logs[value] = exponent
        value <<= 1
        if value & 0x100:
            value ^= _POLYNOMIAL
    return powers, logs


_POWERS, _LOGS = _make_tables()


def _times(a: int, b: int) -> int:
    return _POWERS[_LOGS[a] + _LOGS[b]] if a and b else 0


def _inverse(a: int) -> int:
    return _POWERS[255 - _LOGS[a]]


_PRODUCTS = [bytes(_times(a, b) for b in range(256)) for a in range(256)]
_MATRIX = [[_inverse((MAX_SOURCES + i) ^ j) for j in range(MAX_SOURCES)] for i in range(MAX_CHECKS)]


def _sum(texts: Sequence[tuple[int, bytes]], size: int) -> bytes:
    """The sum of each text times its number."""
    total = 0
    for factor, text in texts:
        total ^= int.from_bytes(text.translate(_PRODUCTS[factor]), "little")
    return total.to_bytes(size, "little")


def check_texts(sources: Sequence[bytes], count: int) -> list[bytes]:
    """`count` check texts of the sources, all of one size."""
    if not 0 < len(sources) <= MAX_SOURCES or not 0 <= count <= MAX_CHECKS:
        raise LocalMisuse("a segment beyond its size")
    size = len(sources[0])
    if any(len(text) != size for text in sources):
        raise LocalMisuse("texts of different sizes")
    return [_sum(list(zip(_MATRIX[i], sources, strict=False)), size) for i in range(count)]


def recover(known: Mapping[int, bytes], count: int) -> list[bytes]:
    """The `count` sources from any `count` known texts; number j < count is source j, count + i is check text i."""
    if len(known) < count:
        raise LocalMisuse(f"{len(known)} texts of {count}")
    lost = [j for j in range(count) if j not in known]
    checks = [number - count for number in sorted(known) if number >= count][: len(lost)]
    sources = {j: known[j] for j in range(count) if j in known}
    if not lost:
        return [sources[j] for j in range(count)]
    size = len(known[checks[0] + count])
    inverse = _invert([[_MATRIX[i][j] for j in lost] for i in checks])
    # What the lost sources add up to in each check text.
    sums = [
        _sum([(1, known[count + i]), *((_MATRIX[i][j], text) for j, text in sources.items())], size) for i in checks
    ]
    for row, j in zip(inverse, lost, strict=True):
        sources[j] = _sum(list(zip(row, sums, strict=True)), size)
    return [sources[j] for j in range(count)]


def _invert(matrix: list[list[int]]) -> list[list[int]]:
    """Gauss-Jordan; no part of a Cauchy matrix is singular, and each leading part is such a part, so no pivot is zero."""
    size = len(matrix)
    rows = [row + [int(i == j) for j in range(size)] for i, row in enumerate(matrix)]
    for column in range(size):
        scale = _inverse(rows[column][column])
        rows[column] = [_times(scale, value) for value in rows[column]]
        for other in range(size):
            factor = rows[other][column]
            if other != column and factor:
                rows[other] = [a ^ _times(factor, b) for a, b in zip(rows[other], rows[column], strict=True)]
    return [row[size:] for row in rows]
