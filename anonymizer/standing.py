"""How a running layer is, for its owner: who is there to hide among, what is carried for others, and what was refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from anonymizer.chk import BLOCK_BYTES
from anonymizer.client import MIN_LINKS
from anonymizer.errors import MIN_SET
from anonymizer.explain import Facts
from anonymizer.meter import SPIES
from anonymizer.reasons import Refusal

if TYPE_CHECKING:
    from anonymizer.service import RelayLayer


def status_of(layer: RelayLayer) -> dict[str, Any]:
    """Keys of `anonymous status`."""
    now, core = layer.now(), layer.core
    nodes, links = core.client.set_size(now), len(layer.links.nodes)
    reading = core.client.meter.reading(0, nodes, core.guard_age(now), now)
    guard = core.stem.guard(now)
    why = ""
    if nodes < MIN_SET or links < MIN_LINKS:
        why = f"AnonymitySetTooSmall: {nodes} other nodes of {MIN_SET}, {links} links of {MIN_LINKS}"
    elif guard is None:
        why = "NoAnonymousRoute: there is no first hop yet"
    return {
        "on": True,
        "level": "relay",
        "ready": not why,
        "why": why,
        "links": links,
        "nodes": len(core.known),
        "pivots": nodes,
        "effective_set": round(reading.set_size, 1) if nodes else None,
        "assumed_spies": SPIES,
        "chance_first_hop": SPIES,
        "guard": "ready" if guard else "missing",
        "guard_age_s": None if reading.edge_age_s is None else round(reading.edge_age_s, 1),
        "guard_doubtful": core.client.is_guard_doubtful,
        "own_share": None if reading.own_share is None else round(reading.own_share, 3),
        "cover": reading.warning.name if reading.warning else "good",
        "clock_skew_s": core.membership.clock_skew_s,
        "circuits": core.stem.circuits,
        "relayed": core.forwarded,
        "traffic": layer.links.counts,
        "stored": layer.blocks.held,
        "refused": refused(layer),
    }


def refused(layer: RelayLayer) -> dict[str, int]:
    """Everything that was refused, by label."""
    disk = {Refusal.DISK_BLOCK.value: count} if (count := layer.blocks.failures) else {}
    return layer.core.refused() | layer.links.refusals.rows() | layer.refusals.rows() | disk


def facts_of(layer: RelayLayer) -> Facts:
    """What `anonymous explain` is made from."""
    now, core, settings = layer.now(), layer.core, layer.settings
    nodes = core.client.set_size(now)
    reading = core.client.meter.reading(0, nodes, core.guard_age(now), now)
    held, shares = layer.blocks.held, list(core.shares)
    return Facts(
        links=len(layer.links.nodes),
        nodes=len(core.known),
        pivots=nodes,
        cache_blocks=held["cache"],
        store_blocks=held["store"],
        block_bytes=BLOCK_BYTES,
        relayed_bytes=core.forwarded,
        circuits=core.stem.circuits,
        is_pivot=bool(core.membership.own.facts.capabilities),
        is_gateway=settings.gateway,
        guard_age_s=reading.edge_age_s,
        effective_set=reading.set_size if nodes else None,
        assumed_spies=SPIES,
        own_share=reading.own_share,
        shares=len(shares),
        siblings=sum(bool(layer.warning(share)) for share in shares),
        min_age_h=settings.min_age_h,
        has_sources_rule=settings.min_sources >= 3,
        by_network=settings.by_network,
    )
