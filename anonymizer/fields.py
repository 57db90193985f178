"""Bodies as frozen values: each class lists the kinds of its fields, in the order of their integer keys.

A body is a canonical CBOR map with exactly the keys 0..n-1; one that has more, less or other keys is refused, for an optional
field is a mark by which servents can be told apart.  What `encode` refuses as our own mistake (LocalMisuse), `decode` refuses
as the peer's (Violation).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Any, ClassVar, Protocol, Self

from anonymizer import cbor
from anonymizer.reasons import Refusal, Violation
from gnutella.errors import LocalMisuse, RemoteViolation


class Kind(Protocol):
    """One kind of field."""

    def take(self, found: cbor.Fields, key: int) -> Any:
        """The value under `key`; RemoteViolation if it is missing, of another kind or beyond its bounds."""

    def give(self, value: Any) -> cbor.Value:
        """What is written for it."""


@dataclass(frozen=True)
class Number:
    """An integer, low <= it <= high."""

    low: int
    high: int

    def take(self, found: cbor.Fields, key: int) -> int:
        return found.integer(key, self.low, self.high)

    def give(self, value: int) -> cbor.Value:
        return value


@dataclass(frozen=True)
class OneOf:
    """A member of an IntEnum."""

    choices: type[IntEnum]

    def take(self, found: cbor.Fields, key: int) -> IntEnum:
        value = found.integer(key, min(self.choices), max(self.choices))
        try:
            return self.choices(value)
        except ValueError:
            raise RemoteViolation(found.reason, f"field {key} is none of its choices") from None

    def give(self, value: IntEnum) -> cbor.Value:
        return int(value)


@dataclass(frozen=True)
class Flag:
    """True or false."""

    def take(self, found: cbor.Fields, key: int) -> bool:
        return found.boolean(key)

    def give(self, value: bool) -> cbor.Value:
        return value


@dataclass(frozen=True)
class Octets:
    """From `low` to `high` bytes, or exactly `low`."""

    low: int
    high: int | None = None

    def take(self, found: cbor.Fields, key: int) -> bytes:
        return found.octets(key, self.low, self.high)

    def give(self, value: bytes) -> cbor.Value:
        return value


@dataclass(frozen=True)
class Text:
    """From `low` to `high` bytes of UTF-8."""

    high: int
    low: int = 1

    def take(self, found: cbor.Fields, key: int) -> str:
        text = found.text(key, self.high)
        if len(text.encode()) < self.low:
            raise RemoteViolation(found.reason, f"field {key} is too short")
        return text

    def give(self, value: str) -> cbor.Value:
        return value


@dataclass(frozen=True)
class Many:
    """From `low` to `high` values of one kind, as a tuple."""

    kind: Kind
    low: int
    high: int

    def take(self, found: cbor.Fields, key: int) -> tuple[Any, ...]:
        items = found.array(key, self.low, self.high)
        inner = cbor.Fields(dict(enumerate(items)), found.reason)
        return tuple(self.kind.take(inner, number) for number in range(len(items)))

    def give(self, value: tuple[Any, ...]) -> cbor.Value:
        return [self.kind.give(item) for item in value]


@dataclass(frozen=True, slots=True)
class Body:
    """A body made of fields; see the module text.  Subclasses say KINDS, one for each field of the dataclass."""

    KINDS: ClassVar[tuple[Kind, ...]] = ()

    def check(self) -> None:
        """Rules between fields; raises Violation.  Called on both ways."""

    def to_map(self) -> dict[int, cbor.Value]:
        """The fields by their keys."""
        names = fields(self)
        return {key: kind.give(getattr(self, names[key].name)) for key, kind in enumerate(self.KINDS)}

    @classmethod
    def from_map(cls, value: dict[int, cbor.Value], reason: Refusal) -> Self:
        """The other way round; anything wrong is a Violation with `reason`."""
        found = cbor.Fields(value)
        try:
            body = cls(*(kind.take(found, key) for key, kind in enumerate(cls.KINDS)))
            found.finish()
        except RemoteViolation as violation:
            raise Violation(reason, f"{cls.__name__}: {violation.detail}") from None
        body.check()
        return body

    def encode(self, limit: int) -> bytes:
        """As canonical CBOR of at most `limit` bytes."""
        value = self.to_map()
        try:
            type(self).from_map(value, Refusal.BAD_BODY)
        except Violation as violation:
            raise LocalMisuse(violation.detail) from None
        return cbor.encode(value, limit)

    @classmethod
    def decode(cls, data: bytes, limit: int, reason: Refusal = Refusal.BAD_BODY) -> Self:
        """The body whose one form is `data`."""
        return cls.from_map(read_map(data, limit, reason), reason)


def read_map(data: bytes, limit: int, reason: Refusal) -> dict[int, cbor.Value]:
    """The map whose one form is `data`; anything else is a Violation with `reason`."""
    try:
        value = cbor.decode(data, limit)
    except RemoteViolation as violation:
        raise Violation(reason, violation.detail) from None
    if not isinstance(value, dict):
        raise Violation(reason, "not a map")
    return value
