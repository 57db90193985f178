"""The last step of the demo: one file put and fetched by the relay layer, and what each node on its way could see.

The layer runs in the demo's nodes and in as many more as make eight, with the rules of an island: nodes are picked at once and
from one network.  So few hide nobody, which is said; what is shown is who sees what, as it was recorded at each node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from gnutella.control.relay_view import Terms
from gnutella.errors import UserError
from gnutella.network.memory import counts_of
from gnutella.relaying import check_layer
from gnutella.settings import AnonymousSettings

if TYPE_CHECKING:
    from gnutella.demo_show import Show
    from gnutella.node import Node

#: Nodes that have the layer.
NODES: Final = 8
#: Fewer links than nodes, so that there are ways of several hops.
LINKS: Final = 4
#: Seconds that it may take; a circuit that gets no answer is replaced after five at the least.
PATIENCE_S: Final = 40.0
NAME: Final = "The Hunting of the Snark - Lewis Carroll.txt"
_LINE: Final = "Just the place for a Snark! the Bellman cried"
_LINES: Final = 1_800

Until = Callable[[Callable[[], bool], str, float], Coroutine[Any, Any, None]]


def settings(connect: tuple[str, ...]) -> AnonymousSettings:
    """The layer on, with the rules of an island."""
    return AnonymousSettings(
        enabled=True, links=LINKS, connect=connect, min_age_h=0.0, min_sources=0, by_network=False, circuit_kib_s=0
    )


def missing() -> str:
    """Why the layer cannot be had here, in a line; empty: it can."""
    try:
        check_layer(AnonymousSettings(enabled=True))
    except UserError as error:
        return f"left out, the relay layer is not installed: {error.hint}"
    return ""


async def fetch_anonymously(
    nodes: dict[str, Node], giver: str, asker: str, directory: Path, until: Until, show: Show
) -> None:
    """Put a file at one node, get it at another; UserError if it is not the same."""
    layers = {name: node.layer for name, node in nodes.items() if node.layer is not None}
    others = len(layers) - 1
    seconds = nodes[asker].reactor.seconds
    path = directory / NAME
    path.write_text("".join(f"{number:5d}  {_LINE}\n" for number in range(_LINES)))

    def is_ready(name: str) -> bool:
        status = layers[name].view.status()
        return bool(status["pivots"] == others and status["guard"] == "ready")

    await until(lambda: all(map(is_ready, layers)), "the nodes of the relay layer know each other", PATIENCE_S)
    begun = seconds()
    terms = Terms("relay", others)
    put = layers[giver].view.put(str(path), "", terms, convergent=False, unlisted=True)
    await until(lambda: put.is_over, "the file is put", PATIENCE_S)
    _check(put)
    put_s = seconds() - begun
    observers = {name: layer.observe() for name, layer in layers.items()}
    queries = _queries(nodes)
    begun = seconds()
    got = layers[asker].view.get(put.row["uri"], NAME, terms)
    await until(lambda: got.is_over, "the file is fetched", PATIENCE_S)
    _check(got)
    got_s = seconds() - begun
    arrived = Path(str(got.row["path"])).read_bytes()
    if hashlib.sha256(arrived).digest() != hashlib.sha256(path.read_bytes()).digest():
        raise UserError("what was fetched anonymously is not what was put")
    facts = {
        "name": NAME,
        "size": len(arrived),
        "put_by": giver,
        "asked_by": asker,
        "nodes": list(layers),
        "level": got.row["level"],
        "pivots": got.row["pivots"],
        "accepted_small_set": others,
        "effective_set": got.row["effective_set"],
        "plain_queries": _queries(nodes) - queries,
        "sha256": "ok",
        "put_s": round(put_s, 3),
        "took_s": round(got_s, 3),
    }
    show.anonymous(facts, layers[asker].sights(observers, asker))


def _check(job: Any) -> None:
    if job.error is not None:
        raise job.error


def _queries(nodes: dict[str, Node]) -> int:
    """Queries in the clear that all nodes have handled."""
    return sum(counts_of(node.router.counters).get("messages_rx_query", 0) for node in nodes.values())
