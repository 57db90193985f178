"""The last step of the demo: one file put and fetched by the relay layer, and what each node on its way could see.

The layer runs in the demo's nodes and in as many more as make eight, with the rules of an island: nodes are picked at once and
from one network.  So few hide nobody, which is said; what is shown is who sees what, as it was recorded at each node.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class Inserted:
    """What was put: its file, its key, and the seconds that it took."""

    path: Path
    uri: str
    seconds: float


async def put_anonymously(nodes: dict[str, Node], giver: str, directory: Path, until: Until) -> Inserted:
    """Put a file at one node, once all know each other.  Begin early: what goes up waits for the clock of its circuits."""
    layers = _layers(nodes)
    path = directory / NAME
    path.write_text("".join(f"{number:5d}  {_LINE}\n" for number in range(_LINES)))

    def is_ready() -> bool:
        rows = {name: layer.view.status() for name, layer in layers.items()}
        knows_all = all(row["pivots"] == len(layers) - 1 for row in rows.values())
        return knows_all and rows[giver]["guard"] == "ready"

    await until(is_ready, "the nodes of the relay layer know each other", PATIENCE_S)
    begun = nodes[giver].reactor.seconds()
    put = layers[giver].view.put(str(path), "", _terms(layers), convergent=False, unlisted=True)
    await until(lambda: put.is_over, "the file is put", PATIENCE_S)
    _check(put)
    return Inserted(path, str(put.row["uri"]), nodes[giver].reactor.seconds() - begun)


async def fetch_anonymously(
    nodes: dict[str, Node], put: Inserted, giver: str, asker: str, until: Until, show: Show
) -> None:
    """Get at one node what was put at another; UserError if it is not the same."""
    layers, seconds = _layers(nodes), nodes[asker].reactor.seconds
    await until(lambda: layers[asker].view.status()["guard"] == "ready", "the asker has its first hop", PATIENCE_S)
    observers = {name: layer.observe() for name, layer in layers.items()}
    queries = _queries(nodes)
    begun = seconds()
    got = layers[asker].view.get(put.uri, NAME, _terms(layers))
    await until(lambda: got.is_over, "the file is fetched", PATIENCE_S)
    _check(got)
    got_s = seconds() - begun
    arrived = Path(str(got.row["path"])).read_bytes()
    if hashlib.sha256(arrived).digest() != hashlib.sha256(put.path.read_bytes()).digest():
        raise UserError("what was fetched anonymously is not what was put")
    facts = {
        "name": NAME,
        "size": len(arrived),
        "put_by": giver,
        "asked_by": asker,
        "nodes": list(layers),
        "level": got.row["level"],
        "pivots": got.row["pivots"],
        "accepted_small_set": len(layers) - 1,
        "effective_set": got.row["effective_set"],
        "plain_queries": _queries(nodes) - queries,
        "sha256": "ok",
        "put_s": round(put.seconds, 3),
        "took_s": round(got_s, 3),
    }
    show.anonymous(facts, layers[asker].sights(observers, asker))


def _layers(nodes: dict[str, Node]) -> dict[str, Any]:
    return {name: node.layer for name, node in nodes.items() if node.layer is not None}


def _terms(layers: dict[str, Any]) -> Terms:
    """All there are hide nobody; the demo accepts that, and says so."""
    return Terms("relay", len(layers) - 1)


def _check(job: Any) -> None:
    if job.error is not None:
        raise job.error


def _queries(nodes: dict[str, Node]) -> int:
    """Queries in the clear that all nodes have handled."""
    return sum(counts_of(node.router.counters).get("messages_rx_query", 0) for node in nodes.values())
