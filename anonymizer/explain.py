"""What a node of the layer stores, relays and reveals, in plain words and with its own numbers.

Pure.  Whoever changes what the layer does changes what is said here: it is what users decide by.
"""

from __future__ import annotations

from dataclasses import dataclass

from gnutella.units import format_duration, format_size


@dataclass(frozen=True, slots=True)
class Facts:
    """What is so at this node now."""

    links: int
    nodes: int
    pivots: int
    cache_blocks: int
    store_blocks: int
    block_bytes: int
    relayed_bytes: int
    circuits: int
    is_pivot: bool
    is_gateway: bool
    guard_age_s: float | None
    effective_set: float | None
    assumed_spies: float
    own_share: float | None
    shares: int
    siblings: int
    min_age_h: float
    has_sources_rule: bool
    by_network: bool


def explain(facts: Facts) -> list[tuple[str, str]]:
    """Topic and text; texts are whole sentences."""
    rows = [
        ("stored for others", _stored(facts)),
        ("relayed for others", _relayed(facts)),
        ("done in your name", _named(facts)),
        ("your requests", _requests(facts)),
        ("your neighbours", _neighbours(facts)),
        ("what it is worth", _worth(facts)),
        ("not hidden", _not_hidden()),
    ]
    if facts.shares:
        rows.insert(4, ("your shares", _shares(facts)))
    if weak := _weak(facts):
        rows.append(("made weaker here", weak))
    return rows


def _stored(facts: Facts) -> str:
    blocks = facts.cache_blocks + facts.store_blocks
    size = format_size(blocks * facts.block_bytes)
    return (
        f"{blocks} sealed blocks ({size}): {facts.cache_blocks} that passed by and {facts.store_blocks} that belong near this "
        "node's place. This node has no key to read them. Who knows the key of a file can ask whether you hold parts of it, "
        "and who has this disk and the running node can too. Nothing that you fetched yourself is among them."
    )


def _relayed(facts: Facts) -> str:
    return (
        f"{format_size(facts.relayed_bytes)} since the start, over {facts.circuits} circuits now. Of a circuit this node sees "
        "the link it comes from, the link it goes to and its pivot; not what is asked, and not whether the neighbour asked it. "
        "Key requests it does see, as hashes, and searches as words; not who began them."
    )


def _named(facts: Facts) -> str:
    if not facts.is_pivot:
        return "Nothing: anonymous.pivot is off, so no request of others begins at this node."
    text = (
        "As a pivot this node begins key requests and searches for others: its neighbours see them come from here, and cannot "
        "know that you did not want them but by this rule, that no node is the pivot of its own requests."
    )
    if facts.is_gateway:
        return text + (
            " As a gateway it also sends ordinary queries for others: the whole plain overlay sees your address ask for words "
            "that you did not choose."
        )
    return text + " It asks the plain overlay nothing for others: anonymous.gateway is off."


def _requests(facts: Facts) -> str:
    if facts.guard_age_s is None:
        return "There is no first hop now, so every request waits, and ends if none comes. None goes another way."
    return (
        f"All leave by one neighbour, the same for {format_duration(facts.guard_age_s)} so far and for weeks to come. It sees "
        "that circuits come from you or through you, how many cells, and which pivots; not what is asked. The pivot sees what "
        "is asked, not who asks. What you fetch is kept in memory for half an hour and answers nobody but you."
    )


def _neighbours(facts: Facts) -> str:
    return (
        f"Nodes with a link to yours, {facts.links} now, know your address and that you take part; others, {facts.nodes} that "
        "this node knows of, may know it from your descriptor. That you run this is not hidden from anybody."
    )


def _worth(facts: Facts) -> str:
    spies = f"{facts.assumed_spies:.0%}"
    if facts.effective_set is None:
        return (
            "Too little is known to say; requests are refused until 20 others may be picked, unless you accept fewer."
        )
    text = (
        f"If {spies} of the nodes work together and one of them is on the way of your request, they must suspect about "
        f"{facts.effective_set:.0f} nodes, you among them. If your first hop is one of theirs (a chance of {spies}, for as "
        "long as you keep it), they are right about you one time in three."
    )
    if facts.own_share is not None and facts.own_share > 0.5:
        text += (
            f" CoverPoor: {facts.own_share:.0%} of what this node sent upwards in the last ten minutes was its own, which "
            "shows in its volume."
        )
    return text


def _shares(facts: Facts) -> str:
    text = f"{facts.shares} files answer anonymous searches; who asks learns names and sizes, not that they are yours."
    if facts.siblings:
        text += (
            f" {facts.siblings} of them are in your plain library as well: who finds them both ways learns that your address "
            "has them."
        )
    return text


def _not_hidden() -> str:
    return (
        "From who watches your line and the pivot's at once, or many lines; from a network that is mostly one party's; from "
        "your own words, names and habits; and no block is promised to survive."
    )


def _weak(facts: Facts) -> str:
    weak = []
    if facts.min_age_h < 24 or not facts.has_sources_rule:
        weak.append(
            "nodes are picked sooner than after a day, or on one node's word: who starts many at once gets many picks"
        )
    if not facts.by_network:
        weak.append("nodes of one network are picked side by side: one owner may have them all")
    return "; ".join(weak) + ("." if weak else "")
