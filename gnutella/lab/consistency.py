"""What the structs of scenario.py cannot say: names that must exist, keys that need each other."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator, Sequence

from gnutella.errors import RemoteViolation, UserError
from gnutella.lab import scenario as s
from gnutella.lab.places import Fault, Place
from gnutella.lab.ways import STRATEGIES, maker_of
from gnutella.protocol.hit import FORBIDDEN_IN_NAME
from gnutella.protocol.query import make_query
from gnutella.reasons import DropReason

#: Stands for any node where an action allows it.
ANY = "*"
#: Names that a message lists.
MAX_LISTED = 12


def check(scenario: s.Scenario) -> None:
    """ScenarioError for a scenario that cannot be run as it is written."""
    for fault in faults(scenario):
        raise s.ScenarioError(fault)


def faults(scenario: s.Scenario) -> Iterator[Fault]:
    """All that is wrong, each with its place and a way to mend it."""
    names = scenario.names
    if not names:
        yield Fault((), "there are no nodes", "give [[node]] tables, or nodes in [topology]")
    yield from _doubles(names, len(scenario.node))
    if maker_of(scenario.strategy) is None:
        yield _unlike(("strategy",), scenario.strategy, "no strategy", STRATEGIES)
    yield from _roles(scenario)
    labels = [reason.value for reason in DropReason]
    for number, label in enumerate(scenario.never):
        if label not in labels:
            yield _unlike(("never", number), label, "no drop reason", labels)
    known = set(names)
    for number, link in enumerate(scenario.link):
        yield from _unknown(("link", number, "between"), link.between, known)
        if link.between[0] == link.between[1]:
            yield Fault(("link", number, "between"), f"{link.between[0]} and itself", "name two nodes")
        yield from _span(("link", number, "latency_ms"), link.latency_ms)
    yield from _span(("network", "latency_ms"), scenario.network.latency_ms)
    for number, node in enumerate(scenario.node):
        yield from _files(("node", number, "files"), node.files)
    yield from _actions(scenario, known)


def _roles(scenario: s.Scenario) -> Iterator[Fault]:
    topology, nodes = scenario.topology, scenario.nodes
    if topology.leaves and topology.kind != "two_tier":
        what = f"leaves = {topology.leaves} in a topology of kind {topology.kind!r}"
        yield Fault(("topology", "leaves"), what, 'write kind = "two_tier", or leave leaves out')
    if topology.leaves >= nodes > 0:
        what = f"{topology.leaves} of {nodes} nodes leave no ultrapeer over"
        yield Fault(("topology", "leaves"), what, f"at most {nodes - 1}, or raise nodes")
    if topology.ultrapeers and topology.kind != "superpeers":
        what = f"ultrapeers = {topology.ultrapeers} in a topology of kind {topology.kind!r}"
        yield Fault(("topology", "ultrapeers"), what, 'write kind = "superpeers", or leave ultrapeers out')
    if topology.kind == "superpeers" and not topology.ultrapeers:
        yield Fault(("topology", "kind"), "superpeers without topology.ultrapeers", "write ultrapeers = 1 or more")
    if topology.ultrapeers > nodes:
        what = f"{topology.ultrapeers} are more than all {nodes} nodes"
        yield Fault(("topology", "ultrapeers"), what, f"at most {nodes}, or raise nodes")
    if not scenario.links.kept:
        places: list[Place] = [
            ("node", number, "role") for number, node in enumerate(scenario.node) if node.role == "auto"
        ]
        places += [("topology", "role")] if topology.role == "auto" else []
        for place in places:
            yield Fault(place, "the role 'auto' needs links.kept", "write kept = true in [links], or another role")


def _doubles(names: Sequence[str], named: int) -> Iterator[Fault]:
    seen: set[str] = set()
    for number, name in enumerate(names):
        if name in seen:
            place: Place = ("node", number, "name") if number < named else ("topology", "nodes")
            yield Fault(place, f"two nodes have the same name {name!r}", "rename one of them")
        seen.add(name)


def _actions(scenario: s.Scenario, known: set[str]) -> Iterator[Fault]:
    known |= {action.node for action in scenario.action if isinstance(action, s.Join)}
    for number, action in enumerate(scenario.action):
        place: Place = ("action", number)
        if scenario.duration_s is not None and action.at_s > scenario.duration_s:
            what = f"{action.at_s:g} is after the end of the run ({scenario.duration_s:g} s)"
            yield Fault((*place, "at_s"), what, "raise duration_s, or leave it out")
        key, names, takes_any = _named(action)
        yield from _unknown((*place, key), names, known | {ANY} if takes_any else known)
        if isinstance(action, s.Query) and not action.text and not action.urn and scenario.content is None:
            what = "a query without text and urn needs [content]"
            yield Fault(place, what, 'give text = "some words", or a [content] table')
        if isinstance(action, (s.Query, s.Download)) and (action.text or getattr(action, "urn", "")):
            yield from _question(place, action.text, getattr(action, "urn", ""))
        if isinstance(action, (s.Publish, s.Join)):
            yield from _files((*place, "files"), action.files)
        if isinstance(action, s.Kill) and bool(action.node) == bool(action.share):
            yield Fault(place, "kill: node and share say the same", "give either node or share")
        if isinstance(action, s.Set) and isinstance(action.value, bool) != (action.key != "query_ttl"):
            wanted = "a number from 1 to 7" if action.key == "query_ttl" else "true or false"
            yield Fault((*place, "value"), f"{_shown(action.value)} is no value of {action.key}", f"write {wanted}")


def _question(place: Place, text: str, urn: str) -> Iterator[Fault]:
    """What no servent would ask."""
    try:
        make_query(text, (urn,) if urn else ())
    except RemoteViolation as error:
        yield Fault((*place, "urn"), f"{urn!r}: {error.detail}", "write urn:sha1: and 32 characters of base 32")
    except UserError as error:
        yield Fault((*place, "text"), f"{text!r}: {error.message}", error.hint)


def _files(place: Place, names: Sequence[str]) -> Iterator[Fault]:
    """Names that no file can have; real servents keep them as files."""
    for number, name in enumerate(names):
        if FORBIDDEN_IN_NAME.search(name) or name in ("", ".", ".."):
            yield Fault(
                (*place, number), f"{name!r} is no name of a file", "write one without / and control characters"
            )
        if name in names[:number]:
            yield Fault((*place, number), f"{name!r} is there twice", "leave one out")


def _span(place: Place, span: s.Span | None) -> Iterator[Fault]:
    if isinstance(span, tuple) and span[0] > span[1]:
        yield Fault(place, f"the least, {span[0]:g}, is more than the most, {span[1]:g}", "write [least, most]")


def _named(action: s.AnyAction) -> tuple[str, Sequence[str], bool]:
    """The key with which an action names nodes, which, and whether any node may be meant."""
    if isinstance(action, s.Query):
        return "from", [action.asker], True
    if isinstance(action, s.Join):
        return "links", action.links if isinstance(action.links, tuple) else (), False
    if isinstance(action, s.Partition):
        return "groups", [name for group in action.groups for name in group], False
    if isinstance(action, s.Fault):
        return "between", action.between, False
    if isinstance(action, (s.Kill, s.Leave, s.Set)):
        return "node", [action.node] if action.node else [], True
    return "node", [] if isinstance(action, (s.Heal, s.Churn, s.Census)) else [action.node], False


def _unknown(place: Place, names: Sequence[str], known: Collection[str]) -> Iterator[Fault]:
    for name in names:
        if name not in known:
            yield _unlike(place, name, "there is no node", sorted(known))


def _unlike(place: Place, value: str, what: str, known: Iterable[str]) -> Fault:
    """A word that is none of those known: the nearest of them is the way to mend it."""
    known = list(known)
    near = difflib.get_close_matches(value, known, 1)
    some = ", ".join(known[:MAX_LISTED]) + (", ..." if len(known) > MAX_LISTED else "")
    text = f"{what} {value!r}" if what.startswith("there") else f"{value!r} is {what}"
    return Fault(place, text, f"did you mean {near[0]!r}?" if near else f"there are {some}")


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)
