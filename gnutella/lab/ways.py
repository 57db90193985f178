"""All strategies by name.  A Twisted plugin that provides IStrategyMaker adds one of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from gnutella.lab.strategies import ExpandingRing, Flooding, IStrategy
from gnutella.lab.walks import OneHop, RandomWalks

if TYPE_CHECKING:
    from gnutella.lab.net import Network


def _all() -> dict[str, Callable[[Network], IStrategy]]:
    made: dict[str, Callable[[Network], IStrategy]] = {}
    for plain in (Flooding, ExpandingRing, RandomWalks):
        made[plain.name] = plain
        made[plain.name + "_one_hop"] = OneHop.around(plain)
    return made


#: Name -> maker; the first is the default.
STRATEGIES: dict[str, Callable[[Network], IStrategy]] = _all()
