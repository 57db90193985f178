"""What keeps one node from harm by others: its blocklists and its gate, tied to the parts that ask them.

`gnutella.network.gate` judges, `gnutella.network.blocklists` knows the lists; here the parts of a node get to know both.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from gnutella.control.view import Row
from gnutella.errors import UserError
from gnutella.network.blocklists import Blocklists
from gnutella.network.gate import Gate
from gnutella.reasons import DropReason
from gnutella.routing.events import HitReceived

if TYPE_CHECKING:
    from gnutella.node import Node


class Safety:
    """Of one node; `wire` it once the parts are made."""

    def __init__(self, node: Node) -> None:
        settings = node.config.settings
        self._node = node
        self.blocklists = Blocklists(node.reactor, node.workers, settings.safety.blocklists, self._lists_changed)
        self.gate = Gate(
            node.reactor.seconds, self._count, self.blocklists, settings.safety, profile=settings.network.profile
        )

    # -- life ----------------------------------------------------------------------------------------------------------

    def wire(self) -> None:
        """Tell the parts that ask, but were not made with the gate."""
        node, gate = self._node, self.gate
        node.hosts.refuses = gate.blocks
        node.router.refuse_hosts(gate.is_listed)
        node.transfers.exchange.refused = gate.refused
        self._tell_shares()

    async def start(self) -> None:
        """Read the lists; before the first connection."""
        await self.blocklists.start()

    async def stop(self) -> None:
        """Watch the lists no more."""
        await self.blocklists.stop()

    def use_settings(self) -> None:
        """The node's settings have changed."""
        settings = self._node.config.settings
        self.gate.use_settings(settings.safety, settings.network.profile)
        self._tell_shares()
        if self.blocklists.use_paths(settings.safety.blocklists):
            self.blocklists.reload()

    def _tell_shares(self) -> None:
        self._node.hosts.shares = self.gate.shares
        self._node.transfers.exchange.slots.shares = self.gate.shares

    def _lists_changed(self) -> None:
        """Let go of everybody who is listed by now."""
        node = self._node
        node.hosts.forget_refused()
        node.router.refuse_hosts(self.gate.is_listed)
        node.links.close_listed()
        node.dialler.close_listed()
        for row in self.blocklists.rows():
            node.journal.add("blocklist_read", **{key: row[key] for key in ("path", "state", "ranges", "error")})

    def _count(self, reason: DropReason) -> None:
        self._node.router.count_drop(reason)

    # -- what the parts ask --------------------------------------------------------------------------------------------

    def takes_hit(self, event: HitReceived) -> bool:
        """Whether a hit of our own search may be shown: not when it comes from a blocked address."""
        return not self.gate.blocks(event.hit.address.host)

    def spam_threshold(self) -> int:
        """The score from which a hit is likely spam, as the settings have it now."""
        return self._node.config.settings.safety.spam_threshold

    # -- what people ask -----------------------------------------------------------------------------------------------

    def row(self) -> Row:
        """For `status`."""
        rows = self.blocklists.rows()
        drops = self._node.router.counters.drops
        return {
            "blocklists": len(rows),
            "blocklists_broken": sum(row["state"] != "ok" for row in rows),
            "ranges": sum(int(str(row["ranges"])) for row in rows),
            "blocked": drops[DropReason.BLOCKED],
            "network_full": drops[DropReason.NETWORK_FULL],
            **self.gate.row(),
        }

    def checks(self) -> Sequence[Row]:
        """For `doctor`: each list, and whether somebody hammers."""
        found: list[Row] = []
        for row in self.blocklists.rows():
            is_ok = row["state"] == "ok"
            kept = f"{row['ranges']} ranges" + (" of the last good one" if row["state"] == "kept" else "")
            detail = f"{row['path']}: {kept}" + (f"; {row['error']}" if row["error"] else "")
            fix = "" if is_ok else "put a whole list there, it is read by itself; or change safety.blocklists"
            found.append({"name": "blocklist", "ok": is_ok, "detail": detail, "fix": fix})
        row = self.gate.row()
        if row["waiting"]:
            detail = f"{row['waiting']} hosts have to wait, {row['hammering']} visits refused"
            found.append({"name": "hammering", "ok": None, "detail": detail, "fix": "status --json names the hosts"})
        return found

    def check_address(self, text: str) -> Row:
        """Whether and where an IP is listed; UserError (64) for what is none."""
        host = text.strip().removeprefix("[").partition("]")[0]
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise UserError(f"{text!r} is no IP address", "write 192.0.2.7 or 2001:db8::7", os.EX_USAGE) from None
        return self.blocklists.check(host)
