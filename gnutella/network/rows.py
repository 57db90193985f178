"""Links as rows: the keys of the product contract's `peers`, and some more."""

from __future__ import annotations

from collections.abc import Mapping

from gnutella.network.link import PeerLink


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
    }
