"""What a link is to others: a LinkInfo to the router, to people a row.

The row has the keys of the product contract's `peers`, and some more.
"""

from __future__ import annotations

from collections.abc import Mapping

from gnutella.network.link import PeerLink
from gnutella.protocol.handshake import Peer
from gnutella.routing.link import LinkInfo


def link_row(link: PeerLink, now: float, counters: Mapping[str, int]) -> dict[str, object]:
    """One link; `counters` are the router's of it, empty when it is gone."""
    rx_deflate, tx_deflate = link.deflates
    is_ultrapeer = None if link.peer is None else link.peer.is_ultrapeer
    return {
        "address": str(link.address),
        "direction": "in" if link.incoming else "out",
        "role": "peer" if is_ultrapeer is None else "ultrapeer" if is_ultrapeer else "leaf",
        "vendor": "" if link.peer is None else link.peer.user_agent,
        "since_s": round(now - link.opened_at, 1),
        "deflate": rx_deflate or tx_deflate,
        "tls": link.is_tls,
        "rx_messages": counters.get("rx_messages", 0),
        "tx_messages": counters.get("tx_messages", 0),
        "dropped": counters.get("dropped", 0),
        "rx_bytes": counters.get("rx_bytes", 0),
        "tx_bytes": counters.get("tx_bytes", 0),
        "link": int(link.id),
        "blocked": link.is_blocked,
        "hops_flow": counters.get("hops_flow"),
    }


def link_info(link: PeerLink, peer: Peer, *, we_are_leaf: bool) -> LinkInfo:
    """An open link as its handshake left it.

    Our routing table is for the ultrapeers of a leaf, and for an ultrapeer's neighbours that announced that they read it.
    """
    reads_tables = peer.query_routing if we_are_leaf else peer.ultrapeer_query_routing
    return LinkInfo(
        host=link.host,
        local_host=link.local_host,
        is_leaf=link.is_leaf,
        is_ultrapeer=peer.is_ultrapeer is True,
        reads_ggep=peer.reads_ggep,
        reads_bye=peer.reads_bye,
        max_ttl=peer.max_ttl,
        incoming=link.incoming,
        listen=link.reached_at,
        servent_id=peer.servent_id,
        vendor_messages=peer.vendor_messages,
        reads_tables=reads_tables and peer.is_ultrapeer is True,
        is_deflated=link.deflates[1],
        degree=peer.degree,
        is_dynamic=peer.dynamic_querying,
        extends_probes=peer.extends_probes,
        user_agent=peer.user_agent,
    )
