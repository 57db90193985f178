"""What a node lends to the part of it that finds first peers (gnutella.network.bootstrap)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gnutella import USER_AGENT
from gnutella.network.bootstrap import Bootstrap, Parts
from gnutella.network.mdns import Mdns
from gnutella.network.nat import Mapping, Nat
from gnutella.network.upnp import find_igd
from gnutella.routing.actions import Emit
from gnutella.routing.events import HostLearned
from gnutella.units import Address

if TYPE_CHECKING:
    from gnutella.node import Node


def bootstrap_of(node: Node) -> Bootstrap:
    """The node's own; its router must be there."""

    def learned(hosts: Sequence[Address], are_ultrapeers: bool) -> None:
        # The way of all pongs: the links know which addresses are our own.
        node.links.execute([Emit(HostLearned(host, 0, 0, are_ultrapeers, None)) for host in hosts])

    def told(url: str, hosts: int, error: str) -> None:
        node.journal.add("web_cache_asked", url=url, hosts=hosts, error=error)

    parts = Parts(
        links=lambda: node.links,
        hosts=node.hosts,
        own_address=node.own_address,
        rng=node.rng,
        learned=learned,
        told=told,
        is_blocked=node.safety.gate.is_listed,
        count_drop=node.router.count_drop,
        udp_sources=lambda: node.udp.sources(),
        is_relay=lambda: not node.router.is_leaf,
        was_reached=lambda: node.standing.tcp is True,
        user_agent=node.config.settings.network.user_agent or USER_AGENT,
    )
    settings = node.config.settings
    mdns = None
    if settings.network.profile == "lan" and settings.bootstrap.mdns:
        name = f"gnutella-{node.router.servent_id.hex()[:12]}"
        mdns = Mdns(node.reactor, name, lambda hosts: learned(hosts, False), node.router.count_drop)
    return Bootstrap(node.reactor, settings, node.store, parts, _nat_of(node), mdns)


def _nat_of(node: Node) -> Nat | None:
    """Who asks the router; None with other profiles: an island does not open the router of its network."""
    network = node.config.settings.network
    if network.profile != "public" or network.nat == "off":
        return None

    def changed(mapping: Mapping | None) -> None:
        host, port = (mapping.host, mapping.port) if mapping is not None else (None, None)
        if node.own_address.mapped(host, port):
            node.router.self_changed()
            node.standing.moved()
        method, address = (mapping.method, f"{host or '?'}:{port}") if mapping is not None else ("", "")
        node.journal.add("port_mapped", method=method, address=address)

    return Nat(node.reactor, changed, node.router.count_drop, igd=find_igd())
