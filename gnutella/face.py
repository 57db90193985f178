"""The node as the commands see it: `gnutella.control.view.NodeView`, put together from the node's parts.

Translation only: rows out of objects, `UserError` for what a person asked wrongly.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred

from gnutella import __version__
from gnutella.control.events import Journal
from gnutella.control.relay_view import RelayView
from gnutella.control.view import HitRef, Row
from gnutella.errors import Refused, UserError
from gnutella.reasons import DropReason
from gnutella.relaying import view_of
from gnutella.searches import HitListOf
from gnutella.settings_file import RESTART_KEYS, Loaded, value_in, with_runtime
from gnutella.units import Address, Guid
from gnutella.wanted import add_hit, add_text

if TYPE_CHECKING:
    from gnutella.node import Node

#: Servers that answer nothing are told so by these hints.
_STARTING = UserError("the node is still starting", "try again in a moment", os.EX_TEMPFAIL)

_REACHED = {
    True: "peers connect to us",
    False: "nobody can connect: the settings say so, or peers that were asked to did not",
    None: "nobody from outside has connected yet",
}


class Face:
    """Implements NodeView for a Node."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def directory(self) -> str:
        return str(self._node.directory)

    @property
    def journal(self) -> Journal:
        return self._node.journal

    @property
    def config(self) -> Loaded:
        return self._node.config

    @property
    def is_reachable(self) -> bool | None:
        """Whether others can connect to us; None while that is not known, False also when the settings say so."""
        return self._node.standing.tcp

    @property
    def is_reachable_by_udp(self) -> bool | None:
        """Whether datagrams come through that we did not provoke; None while that is not known."""
        return self._node.standing.udp

    def set_config(self, key: str, value: str) -> Awaitable[Row]:
        async def change() -> Row:
            node = self._node
            changed = with_runtime(node.config, key, value)
            await node.memory.save_settings(changed.runtime)
            node.use_settings(changed)
            now = value_in(changed.settings, key)
            node.journal.add("config_changed", key=key, value=now)
            row = next(row for row in node.config.rows() if row["key"] == key)
            return {**row, "applies": "restart" if key in RESTART_KEYS else "now"}

        return Deferred.fromCoroutine(change())

    def count_drop(self, reason: DropReason) -> None:
        self._node.router.count_drop(reason)

    def status(self) -> Row:
        node, settings = self._node, self._node.config.settings
        catalog = node.library.catalog
        return {
            "version": __version__,
            "servent_id": node.router.servent_id.hex(),
            **node.links.roles.status(node.reactor.seconds()),
            "uptime_s": round(node.reactor.seconds() - node.started_at, 1),
            "listen": node.links.listening,
            "links": node.links.summary(),
            "shared": {"files": catalog.file_count, "bytes": catalog.total_bytes},
            "reachable": {"tcp": self.is_reachable, "udp": self.is_reachable_by_udp},
            "ready": node.is_ready,
            "bootstrap": node.bootstrap.status(),
            "nat": node.bootstrap.nat_status(),
            "external": node.own_address.external,
            "profile": node.config.in_force("network.profile"),
            "hashing": node.library.status()["hashing"],
            "transfers": node.transfers.status(),
            "limits": {
                "max_links": settings.network.max_links,
                "max_leaves": settings.network.max_leaves,
                "max_uploads": settings.transfers.max_uploads,
                "max_downloads": settings.transfers.max_downloads,
                "upload_kib_s": settings.transfers.upload_kib_s,
                "download_kib_s": settings.transfers.download_kib_s,
            },
            "traffic": node.memory.all_time(node.router.counters),
            "safety": node.safety.row(),
            "consoles": node.consoles,
        }

    def relay(self) -> RelayView:
        return view_of(self._node.layer)

    def checks(self) -> Awaitable[Sequence[Row]]:
        async def look() -> Sequence[Row]:
            node = self._node
            listening = node.links.listening
            datagrams = node.udp.addresses
            reached = self.is_reachable
            is_local = node.config.settings.network.profile == "loopback"
            peers = node.links.summary()["peers"]
            return [
                {
                    "name": "peer port",
                    "ok": bool(listening),
                    "detail": ", ".join(listening) or "closed",
                    "fix": "" if listening else "see network.listen",
                },
                {
                    "name": "UDP port",
                    "ok": bool(datagrams),
                    "detail": ", ".join(map(str, datagrams)) or "closed; the log says why",
                    "fix": "" if datagrams else "stop the program that has it, or choose another network.listen",
                },
                {
                    "name": "reachable",
                    "ok": reached,
                    "detail": _REACHED[reached],
                    "fix": "" if reached or is_local else "forward the peer port in your router; pushes work meanwhile",
                },
                {
                    "name": "links",
                    "ok": True if peers else None,
                    "detail": f"{peers} open",
                    "fix": "" if peers else "gnutella connect HOST:PORT",
                },
                *node.safety.checks(),
                *node.bootstrap.checks(),
            ]

        return Deferred.fromCoroutine(look())

    def blocklists(self) -> Sequence[Row]:
        return self._node.safety.blocklists.rows()

    def blocklist_reload(self) -> Awaitable[Sequence[Row]]:
        return self._node.safety.blocklists.reload()

    def blocklist_check(self, address: str) -> Row:
        return self._node.safety.check_address(address)

    def shutdown(self) -> None:
        self._node.reactor.callLater(0, self._node.reactor.stop)

    # -- links ---------------------------------------------------------------------------------------------------------

    def peers(self) -> Sequence[Row]:
        return self._node.links.peers()

    def connect(self, address: Address) -> Awaitable[Row]:
        self._must_run()
        return self._node.links.connect(address)

    def disconnect(self, address: str) -> Awaitable[Row]:
        async def close() -> Row:
            return self._node.links.disconnect(address)

        return Deferred.fromCoroutine(close())

    def hosts(self) -> Sequence[Row]:
        now = self._node.reactor.seconds()
        return [
            {
                "address": str(Address(row.host, row.port)),
                "state": "failed" if row.failures else "good" if row.last_ok else "new",
                "ultrapeer": row.is_ultrapeer,
                "last_ok": row.last_ok or None,
                "last_seen": row.last_seen or None,
                "uptime_s": row.daily_uptime,
                "failures": row.failures,
                "next_try_s": round(row.not_before - now, 1) if row.not_before > now else None,
            }
            for row in self._node.hosts.ranked()
        ]

    def web_caches(self) -> Sequence[Row]:
        return self._node.bootstrap.rows()

    # -- what is shared ------------------------------------------------------------------------------------------------

    def share_add(self, directory: str) -> Awaitable[Row]:
        return Deferred.fromCoroutine(self._node.library.add(directory))

    def share_remove(self, directory: str) -> Awaitable[Row]:
        return Deferred.fromCoroutine(self._node.library.remove(directory))

    def share_list(self) -> Iterable[Row]:
        return self._node.library.rows()

    def share_directories(self) -> Sequence[Row]:
        return self._node.library.directories()

    def share_rescan(self) -> Awaitable[Row]:
        return self._node.library.rescan()

    # -- searches ------------------------------------------------------------------------------------------------------

    def search(
        self,
        words: str,
        kinds: Sequence[str] = (),
        limit: int = 0,
        on_row: Callable[[Row], None] | None = None,
        ttl: int | None = None,
    ) -> HitListOf:
        self._must_run()
        most = self._node.config.settings.routing.max_ttl
        if ttl is not None and not 1 <= ttl <= most:
            raise UserError(f"--ttl {ttl} is not between 1 and {most}", "routing.max_ttl is the most", os.EX_USAGE)
        return self._node.searches.search(words, kinds, limit, on_row, ttl)

    def hit(self, ref: HitRef) -> Row | None:
        found = self._node.searches.hit(ref)
        return found.row() if found is not None else None

    def browse(self, address: Address) -> Awaitable[HitListOf]:
        self._must_run()

        async def ask() -> HitListOf:
            try:
                answer = await self._node.transfers.browse(address)
            except Refused as refused:
                is_no = refused.reason is DropReason.SOURCE_REFUSED
                hint = "it allows that seldom, or not at all" if is_no else "is a servent there?"
                raise UserError(f"cannot browse {address}: {refused.detail}", hint, os.EX_UNAVAILABLE) from None
            return self._node.searches.keep_browse(answer, f"browse {address}")

        return Deferred.fromCoroutine(ask())

    def trace(self, guid: Guid) -> Sequence[Row] | None:
        node = self._node
        steps = node.router.trace(guid)
        if not steps:
            return None
        return [
            {
                "time": step.time,
                "step": step.step,
                "link": node.links.name(step.link),
                "reason": step.reason,
            }
            for step in steps
        ]

    def traced(self) -> Sequence[Row]:
        router = self._node.router
        return [
            {
                "guid": query.guid.hex(),
                "time": query.started_at,
                "words": query.text,
                "own": query.is_own,
                "steps": len(query.steps),
            }
            for query in reversed(router.trace_summary())
        ]

    # -- transfers -----------------------------------------------------------------------------------------------------

    def get(self, target: HitRef | str, to: str = "") -> Awaitable[Row]:
        self._must_run()
        transfers = self._node.transfers
        if isinstance(target, str):
            return Deferred.fromCoroutine(add_text(transfers, target, to))
        hit = self._node.searches.hit(target)
        if hit is None:
            raise UserError(f"no hit number {target.number}", "search first: gnutella search WORDS", 1)
        return Deferred.fromCoroutine(add_hit(transfers, hit, to))

    def downloads(self) -> Sequence[Row]:
        return self._node.transfers.downloads()

    def pause(self, download: int) -> Awaitable[Row]:
        self._must_run()
        return Deferred.fromCoroutine(self._node.transfers.pause(download))

    def resume(self, download: int) -> Awaitable[Row]:
        self._must_run()
        return Deferred.fromCoroutine(self._node.transfers.resume(download))

    def cancel(self, download: int) -> Awaitable[Row]:
        self._must_run()
        return Deferred.fromCoroutine(self._node.transfers.cancel(download))

    def uploads(self) -> Sequence[Row]:
        return self._node.transfers.uploads()

    def _must_run(self) -> None:
        if not self._node.is_ready:
            raise _STARTING
