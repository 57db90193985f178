"""All strategies by name: our own, and those of Twisted plugins.

A user adds a way to search by an object that provides IStrategyMaker, in a module below `twisted/plugins`; its name may then be
used in scenario files and in `gnutella lab compare --strategies`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface

from gnutella.lab.strategies import Dynamic, ExpandingRing, Flooding, IStrategy
from gnutella.lab.walks import OneHop, RandomWalks

if TYPE_CHECKING:
    from gnutella.lab.net import Network


class IStrategyMaker(Interface):
    """A plugin: makes a strategy for each network that asks for it."""

    name: str = Attribute("""The name in scenarios and tables.""")

    def make(net: Network) -> IStrategy:
        """One for that network."""


def _all() -> dict[str, Callable[[Network], IStrategy]]:
    made: dict[str, Callable[[Network], IStrategy]] = {}
    for plain in (Flooding, ExpandingRing, RandomWalks):
        made[plain.name] = plain
        made[plain.name + "_one_hop"] = OneHop.around(plain)
    made[Dynamic.name] = Dynamic
    return made


#: Name -> maker; the first is the default.
STRATEGIES: dict[str, Callable[[Network], IStrategy]] = _all()
#: Those that differ where all nodes are equal and have few links: what is dynamic is a flood there.
FLAT = tuple(name for name in STRATEGIES if name != Dynamic.name)


def maker_of(name: str) -> Callable[[Network], IStrategy] | None:
    """The maker of that name, our own or a plugin's; None when there is none."""
    made = STRATEGIES.get(name)
    if made is None:
        # Only now: the lab itself needs no Twisted, and looking for plugins takes a while.
        from twisted.plugin import getPlugins

        made = next((plugin.make for plugin in getPlugins(IStrategyMaker) if plugin.name == name), None)
    return made
