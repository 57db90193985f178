"""Who is linked with whom: graphs as lists of pairs of node numbers, the same for the same source of chance.

All random ones come out connected: what falls apart is joined by a link between two parts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from random import Random

from gnutella.lab.chance import below, choose, shuffle

Pair = tuple[int, int]

#: Attempts to mend a random pairing before its bad links are left out.
_MENDING = 50


def line(nodes: int) -> list[Pair]:
    """One after the other."""
    return [(number, number + 1) for number in range(nodes - 1)]


def ring(nodes: int) -> list[Pair]:
    """A line whose ends meet."""
    return [*line(nodes), (nodes - 1, 0)] if nodes > 2 else line(nodes)


def star(nodes: int) -> list[Pair]:
    """All linked to the first."""
    return [(number, 0) for number in range(1, nodes)]


def tree(nodes: int, degree: int) -> list[Pair]:
    """Each node but the root linked to its parent; an inner node has `degree` links."""
    return [(number, (number - 2) // max(1, degree - 1) if number > degree else 0) for number in range(1, nodes)]


def complete(nodes: int) -> list[Pair]:
    """Everybody with everybody."""
    return [(one, other) for one in range(nodes) for other in range(one)]


def random_regular(nodes: int, degree: int, rng: Random) -> list[Pair]:
    """Each node with `degree` links to random others (one less for some, where it cannot be).

    Link ends are paired at random; loops and repeated links are mended by exchanging ends with other pairs.
    """
    degree = min(degree, nodes - 1)
    stubs = [number for number in range(nodes) for _ in range(degree)]
    shuffle(rng, stubs)
    pairs = [(stubs[at], stubs[at + 1]) for at in range(0, len(stubs) - 1, 2)]
    for _ in range(_MENDING):
        bad = _bad_places(pairs)
        if not bad:
            break
        for place in bad:
            other = below(rng, len(pairs))
            (a, b), (c, d) = pairs[place], pairs[other]
            pairs[place], pairs[other] = (a, d), (c, b)
    return _joined(nodes, _clean(pairs), rng)


def power_law(nodes: int, degree: int, rng: Random) -> list[Pair]:
    """Barabasi and Albert: each newcomer links to `degree` / 2 nodes, chosen in proportion to the links they have."""
    each = max(1, degree // 2)
    pairs = complete(min(nodes, each + 1))
    ends = [node for pair in pairs for node in pair]
    for number in range(each + 1, nodes):
        chosen: dict[int, None] = {}
        while len(chosen) < each:
            chosen[ends[below(rng, len(ends))]] = None
        for other in chosen:
            pairs.append((number, other))
            ends += (number, other)
    return pairs


def small_world(nodes: int, degree: int, rng: Random, rewired: float = 0.1) -> list[Pair]:
    """Watts and Strogatz: a ring where each is linked to the `degree` nearest, a share of the links led elsewhere."""
    pairs: list[Pair] = []
    for distance in range(1, max(1, min(degree, nodes - 1) // 2) + 1):
        for number in range(nodes):
            other = (number + distance) % nodes
            if rng.random() < rewired:
                other = below(rng, nodes)
            pairs.append((number, other))
    return _joined(nodes, _clean(pairs), rng)


def two_tier(ultrapeers: int, leaves: int, degree: int, rng: Random) -> list[Pair]:
    """A random regular core of the first `ultrapeers` nodes, and each leaf linked to one of them."""
    return random_regular(ultrapeers, degree, rng) + [
        (ultrapeers + number, below(rng, ultrapeers)) for number in range(leaves)
    ]


def superpeers(ultrapeers: int, leaves: int, degree: int, leaf_links: int, rng: Random) -> list[Pair]:
    """The same core, and each leaf linked to `leaf_links` of them."""
    return random_regular(ultrapeers, degree, rng) + [
        (ultrapeers + number, other) for number in range(leaves) for other in choose(rng, range(ultrapeers), leaf_links)
    ]


#: Kind of a scenario's topology -> its pairs, from (nodes, degree, rng, rewired).
KINDS: dict[str, Callable[[int, int, Random, float], list[Pair]]] = {
    "line": lambda nodes, degree, rng, rewired: line(nodes),
    "ring": lambda nodes, degree, rng, rewired: ring(nodes),
    "star": lambda nodes, degree, rng, rewired: star(nodes),
    "tree": lambda nodes, degree, rng, rewired: tree(nodes, degree),
    "complete": lambda nodes, degree, rng, rewired: complete(nodes),
    "random_regular": lambda nodes, degree, rng, rewired: random_regular(nodes, degree, rng),
    "power_law": lambda nodes, degree, rng, rewired: power_law(nodes, degree, rng),
    "small_world": small_world,
}


def parts(nodes: int, pairs: Iterable[Pair]) -> list[list[int]]:
    """The connected parts, each with its nodes in order, the part of the lowest node first."""
    leader = list(range(nodes))

    def find(number: int) -> int:
        while leader[number] != number:
            leader[number] = number = leader[leader[number]]
        return number

    for one, other in pairs:
        low, high = sorted((find(one), find(other)))
        leader[high] = low
    found: dict[int, list[int]] = {}
    for number in range(nodes):
        found.setdefault(find(number), []).append(number)
    return list(found.values())


def _bad_places(pairs: list[Pair]) -> list[int]:
    seen: set[Pair] = set()
    bad = []
    for place, (one, other) in enumerate(pairs):
        pair = (min(one, other), max(one, other))
        if one == other or pair in seen:
            bad.append(place)
        seen.add(pair)
    return bad


def _clean(pairs: list[Pair]) -> list[Pair]:
    bad = set(_bad_places(pairs))
    return [pair for place, pair in enumerate(pairs) if place not in bad]


def _joined(nodes: int, pairs: list[Pair], rng: Random) -> list[Pair]:
    groups = parts(nodes, pairs)
    first = groups[0]
    return pairs + [(group[below(rng, len(group))], first[below(rng, len(first))]) for group in groups[1:]]
