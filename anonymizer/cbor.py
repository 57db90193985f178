"""Canonical CBOR: one value has one form, and every other form is refused.

Only unsigned and negative integers of 64 bits, byte strings, texts, arrays, maps with unsigned integer keys, true, false and
null; no tags, floats or indefinite lengths.  Keys ascend and are never repeated, lengths take their shortest form.  A scan of
the heads bounds depth and number of items before the library builds anything (RFC 8949 sections 4.2 and 5).
"""

from __future__ import annotations

from typing import TypeAlias, cast

import cbor2

from gnutella.errors import LocalMisuse, RemoteViolation
from gnutella.reasons import DropReason

Value: TypeAlias = "int | bytes | str | bool | list[Value] | dict[int, Value] | None"

#: Containers within one another; the deepest body of the layer, a manifest with its segments, needs three.
MAX_DEPTH = 4
#: Items of one body, so that a body of a large cell cannot cost more memory than its blocks.
MAX_ITEMS = 4096
_MAX_INTEGER = 2**64 - 1
_MIN_INTEGER = -(2**64)
_UNSIGNED, _NEGATIVE, _BYTES, _TEXT, _ARRAY, _MAP, _TAG, _SIMPLE = range(8)
_FALSE, _NULL = 20, 22


def encode(value: Value, limit: int) -> bytes:
    """The one form of `value`; LocalMisuse if it has none, or one longer than `limit` bytes."""
    _check(value, 0)
    data: bytes = cbor2.dumps(value, canonical=True)
    if len(data) > limit:
        raise LocalMisuse(f"{len(data)} bytes of CBOR, at most {limit}")
    return data


def decode(data: bytes, limit: int, reason: DropReason = DropReason.BAD_CBOR) -> Value:
    """The value whose one form is `data`; anything else raises RemoteViolation with `reason`."""
    if len(data) > limit:
        raise RemoteViolation(reason, f"{len(data)} bytes, at most {limit}")
    _scan(data, reason)
    try:
        value = cbor2.loads(data)
        again = cbor2.dumps(value, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError) as error:
        raise RemoteViolation(reason, type(error).__name__) from None
    if again != data:
        raise RemoteViolation(reason, "not in its canonical form")
    return cast("Value", value)


def decode_map(data: bytes, limit: int, reason: DropReason = DropReason.BAD_CBOR) -> Fields:
    """As `decode`, for a body that is a map."""
    value = decode(data, limit, reason)
    if not isinstance(value, dict):
        raise RemoteViolation(reason, "not a map")
    return Fields(value, reason)


class Fields:
    """A map of a stranger's, whose fields are taken out by key, kind and bounds; every miss is a RemoteViolation.

    Keys that nobody takes are left alone, for later versions have more of them; `finish` refuses them where the set is closed.
    """

    __slots__ = ("_left", "reason")

    def __init__(self, value: dict[int, Value], reason: DropReason = DropReason.BAD_CBOR) -> None:
        self._left = dict(value)
        self.reason = reason

    def __contains__(self, key: int) -> bool:
        return key in self._left

    def integer(self, key: int, low: int, high: int) -> int:
        """The integer under `key`, low <= it <= high."""
        value = self._take(key)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise RemoteViolation(self.reason, f"field {key} is no integer within bounds")
        return value

    def octets(self, key: int, low: int, high: int | None = None) -> bytes:
        """The byte string under `key`: from `low` to `high` bytes, or exactly `low`."""
        value = self._take(key)
        if not isinstance(value, bytes) or not low <= len(value) <= (low if high is None else high):
            raise RemoteViolation(self.reason, f"field {key} is no byte string of its length")
        return value

    def text(self, key: int, high: int) -> str:
        """The text under `key`, at most `high` bytes of UTF-8."""
        value = self._take(key)
        if not isinstance(value, str) or len(value.encode()) > high:
            raise RemoteViolation(self.reason, f"field {key} is no text of at most {high} bytes")
        return value

    def boolean(self, key: int) -> bool:
        value = self._take(key)
        if not isinstance(value, bool):
            raise RemoteViolation(self.reason, f"field {key} is neither true nor false")
        return value

    def array(self, key: int, low: int, high: int) -> list[Value]:
        """The array under `key`, of `low` to `high` items; the caller looks at each."""
        value = self._take(key)
        if not isinstance(value, list) or not low <= len(value) <= high:
            raise RemoteViolation(self.reason, f"field {key} is no array of its length")
        return value

    def map(self, key: int) -> Fields:
        value = self._take(key)
        if not isinstance(value, dict):
            raise RemoteViolation(self.reason, f"field {key} is no map")
        return Fields(value, self.reason)

    def finish(self) -> None:
        """Refuse fields that were not taken."""
        if self._left:
            raise RemoteViolation(self.reason, f"unknown field {min(self._left)}")

    def _take(self, key: int) -> Value:
        try:
            return self._left.pop(key)
        except KeyError:
            raise RemoteViolation(self.reason, f"field {key} is missing") from None


def _check(value: Value, depth: int) -> None:
    if isinstance(value, (list, dict)):
        if depth == MAX_DEPTH:
            raise LocalMisuse("CBOR too deep")
        if isinstance(value, dict) and any(type(key) is not int or not 0 <= key <= _MAX_INTEGER for key in value):
            raise LocalMisuse("keys of CBOR maps are unsigned integers")
        for item in value.values() if isinstance(value, dict) else value:
            _check(item, depth + 1)
    elif type(value) is int:
        if not _MIN_INTEGER <= value <= _MAX_INTEGER:
            raise LocalMisuse("integer beyond 64 bits")
    elif value is not None and type(value) not in (bytes, str, bool):
        raise LocalMisuse(f"no CBOR of ours for {type(value).__name__}")


def _scan(data: bytes, reason: DropReason) -> None:
    """Walk the heads: refuse what no body may hold, bound depth and items; keys and texts are left to the re-encoding.

    `open_items` holds for the body itself and each open container what is still to come, and whether it is a map.
    """
    at, items, end = 0, 0, len(data)
    open_items: list[tuple[int, bool]] = [(1, False)]
    while open_items:
        left, is_map = open_items.pop()
        if left == 0:
            continue
        items += 1
        if items > MAX_ITEMS:
            raise RemoteViolation(reason, f"more than {MAX_ITEMS} items")
        major, number, at = _head(data, at, reason)
        open_items.append((left - 1, is_map))
        if is_map and left % 2 == 0 and major != _UNSIGNED:
            raise RemoteViolation(reason, "a key that is no unsigned integer")
        if major in (_BYTES, _TEXT):
            at += number
        elif major in (_ARRAY, _MAP):
            if len(open_items) > MAX_DEPTH:
                raise RemoteViolation(reason, f"deeper than {MAX_DEPTH}")
            if number > end - at:
                raise RemoteViolation(reason, "more items than bytes")
            open_items.append((number * 2, True) if major == _MAP else (number, False))
    if at != end:
        raise RemoteViolation(reason, "cut off" if at > end else "bytes after the end")


def _head(data: bytes, at: int, reason: DropReason) -> tuple[int, int, int]:
    """(major type, number, position after it) of the head at `at`."""
    if at >= len(data):
        raise RemoteViolation(reason, "cut off")
    major, number = data[at] >> 5, data[at] & 31
    at += 1
    if major == _TAG or (major == _SIMPLE and not _FALSE <= number <= _NULL) or number > 27:
        raise RemoteViolation(reason, "a tag, a float or an indefinite length")
    if number < 24:
        return major, number, at
    size = 1 << (number - 24)
    if at + size > len(data):
        raise RemoteViolation(reason, "cut off")
    return major, int.from_bytes(data[at : at + size], "big"), at + size
