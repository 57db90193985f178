"""What kinds of files the filter of an anonymous search knows: those of plain searches, a bit for each."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from gnutella.routing.sorts import SORTS, sort_of, wanted_sorts

_BITS: Final = {name: 1 << bit for bit, name in enumerate(name for name in SORTS if name != "program")}


def kind_bits(name: str) -> int:
    """The bit of a search's filter for a file of that name."""
    return _BITS[sort_of(name)]


def filter_bits(kinds: Iterable[str]) -> int:
    """The bits that a search asks for; 0 for all.  ValueError names a kind that does not exist."""
    return sum(_BITS[kind] for kind in wanted_sorts(kinds))
