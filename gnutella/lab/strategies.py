"""Ways to search: what becomes of a question, and, for some, where queries are passed on to.

flooding         one query with the usual TTL, to everybody at once
dynamic          what the servent does: ultrapeers send their queries and their leaves' gradually, until enough came back
expanding_ring   TTL 1, then 2, ...: a new query each round, until WANTED results came
random_walks     WALKERS copies that each take one random link at every node, until WANTED results came or STEPS are over

Each has a form `..._one_hop`, with one-hop replication: nodes know the words of their neighbours' files (as route tables tell
them), so a query makes its last hop only to neighbours that may have the file, and a walker asks those it passes by.

The rooms are the production ones in all of them.  A walk needs more than the protocol gives: TTL and hops in the header stay
small and the steps are counted beside it, and a node that a walker visits again passes it on without treating it again.
Whether to go on, a walker asks at every CHECK_EVERY-th step, which costs one message (Lv et al. 2002, "Search and replication
in unstructured peer-to-peer networks").  Another strategy is an object that provides IStrategy; ways.py has them by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from zope.interface import Attribute, Interface, implementer

from gnutella.lab.quest import Quest
from gnutella.protocol.message import Query
from gnutella.routing.actions import Action
from gnutella.routing.results import SearchResults

if TYPE_CHECKING:
    from gnutella.lab.end import End
    from gnutella.lab.net import Network
    from gnutella.lab.node import LabNode

#: Results that satisfy a user (a screenful; our own number).
WANTED = 10


class IStrategy(Interface):
    """How questions are asked in one network."""

    name: str = Attribute("""The name in scenarios and tables.""")
    #: Whether `before` and `narrowed` must be asked; if not, they are not.
    changes_routes: bool = Attribute("""True when queries take other ways than the router wants.""")
    #: The setting dynamic_queries of all nodes.
    is_dynamic: bool = Attribute("""True when ultrapeers drive queries.""")

    def ask(node: LabNode, query: Query, ttl: int | None, *, keeps_hits: bool) -> Quest:
        """A user of that node asks; the quest grows as time goes on."""

    def before(end: End, data: bytes) -> Sequence[Action] | None:
        """A chunk has come to `end`.  None: the router shall treat it; else what to do instead."""

    def narrowed(node: LabNode, actions: Sequence[Action]) -> Sequence[Action]:
        """What to do of what the router of that node wants done."""


@implementer(IStrategy)
class Flooding:
    """One query; the router floods it."""

    name = "flooding"
    changes_routes = False
    is_dynamic = False

    def __init__(self, net: Network) -> None:
        self._net = net

    def ask(self, node: LabNode, query: Query, ttl: int | None, *, keeps_hits: bool) -> Quest:
        quest = begin(self._net, node, query, keeps_hits)
        self._net.ask(node, query, ttl, quest)
        return quest

    def before(self, end: End, data: bytes) -> Sequence[Action] | None:
        return None

    def narrowed(self, node: LabNode, actions: Sequence[Action]) -> Sequence[Action]:
        return actions


@implementer(IStrategy)
class Dynamic(Flooding):
    """One query; ultrapeers decide how far it goes (routing/dynamic.py)."""

    name = "dynamic"
    is_dynamic = True


@implementer(IStrategy)
class ExpandingRing(Flooding):
    """Rounds of growing TTL, each given the time for a message there and back."""

    name = "expanding_ring"
    #: Added to the time of a round, for what nodes and clocks cost.
    MARGIN_S = 0.05

    def ask(self, node: LabNode, query: Query, ttl: int | None, *, keeps_hits: bool) -> Quest:
        quest = begin(self._net, node, query, keeps_hits)
        self._round(quest, query, 1, ttl or node.settings.query_ttl)
        return quest

    def _round(self, quest: Quest, query: Query, ttl: int, last: int) -> None:
        net, node = self._net, quest.asker
        if not node.is_up or quest.found >= WANTED:
            return
        net.ask(node, query, ttl, quest)
        if ttl < last:
            slowest = max((end.latency_s for end in net.ends()), default=0.0) if ttl == 1 else self._slowest
            self._slowest = slowest
            net.clock.after(2 * ttl * slowest + self.MARGIN_S, self._round, quest, query, ttl + 1, last)

    _slowest = 0.0


def begin(net: Network, node: LabNode, query: Query, keeps_hits: bool) -> Quest:
    """A quest without queries yet."""
    text = query.full_text or " ".join(query.urns)
    quest = Quest(node, text, net.clock.now, net.expected(node, query))
    if keeps_hits:
        quest.results = SearchResults(node.servent_id)
    return quest
