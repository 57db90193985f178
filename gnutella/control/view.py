"""What commands may ask of a node: the only door between the control room and the rest.

`gnutella.node` implements `NodeView`; `gnutella.testing.fake_node` implements it in memory.  Every face (console, CLI, HTTP)
reaches a node through this Protocol and nothing else.  Rows are plain mappings that can be written as JSON (str, int, float,
bool, None, lists and mappings of those); their keys are those of the command table's columns (docs/reference/commands.md).  A
row may carry more keys; a missing one is filled with the column's default by the table.

Awaitables may be coroutines or Deferreds.  Errors that the person must see are `gnutella.errors.UserError`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from gnutella.reasons import DropReason
from gnutella.units import Address, Guid

if TYPE_CHECKING:
    from gnutella.control.events import Journal
    from gnutella.control.relay_view import RelayView
    from gnutella.settings_file import Loaded

Row = Mapping[str, object]

#: Hit lists (searches and browses) that a node keeps so that their hits stay addressable by number.
MAX_HIT_LISTS = 16


class HitRef(NamedTuple):
    """A hit by its number within one hit list; `search` None means the newest list of the node."""

    number: int
    search: Guid | None = None


class HitList(Protocol):
    """The numbered hits of one search or one browse, as rows (hit counts from 1).

    Keys: hit, name, size, urn, tth, hops, vendor, magnet, sources[{address, servent_id, push}].
    """

    @property
    def guid(self) -> Guid: ...

    @property
    def rows(self) -> Sequence[Row]: ...

    def stop(self) -> None:
        """Take no more hits; the rows stay addressable.  A second call does nothing."""
        ...


class NodeView(Protocol):
    """One running node, as the commands see it."""

    @property
    def directory(self) -> str:
        """The node's directory (DIR of the product contract), absolute."""
        ...

    @property
    def journal(self) -> Journal:
        """What happened; the node adds, the faces read."""
        ...

    @property
    def config(self) -> Loaded:
        """Effective settings with the origin of each value (gnutella.settings_file)."""
        ...

    def set_config(self, key: str, value: str) -> Awaitable[Row]:
        """Change `section.key` at run time and keep it in state.db: row of `config show` plus `applies` ("now"/"restart").

        Use `gnutella.settings_file.with_runtime`, which checks the value; UserError for what is wrong.  An empty `value`
        takes a run-time change back.
        """
        ...

    def count_drop(self, reason: DropReason) -> None:
        """Count something that a face refused (wrong token, line too long, ...)."""
        ...

    def status(self) -> Row:
        """version, servent_id (32 hex), role, uptime_s, listen[], links{ultrapeers,leaves,peers} (peers counts all),
        shared{files,bytes}, reachable{tcp,udp} (True, False, or None while unknown), ready; and for one screen: profile,
        hashing{pending,current}, transfers{downloads,uploads,download_rate,upload_rate} (bytes a second),
        limits{max_links,max_leaves,max_uploads,max_downloads,upload_kib_s,download_kib_s},
        safety{blocklists, blocklists_broken, ranges, blocked, network_full, waiting, waits[{host, wait_s}], hammering}.
        """
        ...

    def checks(self) -> Awaitable[Sequence[Row]]:
        """Rows of `doctor` (name, ok, detail, fix) that only the running node knows: ports listening, reachability, links.

        What anybody can see from outside (clock, disk, limits, token, socket, certificate, hash back end) is added by
        gnutella.control.doctor.
        """
        ...

    def blocklists(self) -> Sequence[Row]:
        """Each list of safety.blocklists: path, state (ok, broken, or kept: broken, and the last good one holds), ranges,
        bad_lines, blocked (how often), loaded (seconds of the epoch, or None), error."""
        ...

    def blocklist_reload(self) -> Awaitable[Sequence[Row]]:
        """Read all lists again; their rows when that is done."""
        ...

    def blocklist_check(self, address: str) -> Row:
        """address, blocked, path and line of the list that has it.  UserError (64) when it is no IP address."""
        ...

    def shutdown(self) -> None:
        """Begin an orderly stop; return at once, so that the reply still leaves."""
        ...

    # -- links ---------------------------------------------------------------------------------------------------------

    def peers(self) -> Sequence[Row]:
        """Links in order of opening: address, direction ("out"/"in"), role, vendor, since_s, deflate, tls, rx_messages,
        tx_messages, dropped."""
        ...

    def connect(self, address: Address) -> Awaitable[Row]:
        """Open a link; its row of `peers`.  UserError (exit 69) when nobody answers or the handshake is refused."""
        ...

    def disconnect(self, address: str) -> Awaitable[Row]:
        """Close the link whose row of `peers` says `address`; its last row.  UserError (exit 1) when there is none."""
        ...

    def hosts(self) -> Sequence[Row]:
        """The host cache, the best to dial first: address, state ("good", "new" or "failed"), ultrapeer, last_ok, last_seen
        (seconds of the epoch, None for never), uptime_s (a day's average), failures (in a row), next_try_s (None: now)."""
        ...

    def web_caches(self) -> Sequence[Row]:
        """Web caches, the best first: url, state (as hosts), version (1, 2, or None), last_ok, failures, next_try_s."""
        ...

    # -- what is shared ------------------------------------------------------------------------------------------------

    def share_add(self, directory: str) -> Awaitable[Row]:
        """Share `directory` (absolute, exists); its row of `share_directories`.  Returns before all of it is hashed."""
        ...

    def share_remove(self, directory: str) -> Awaitable[Row]:
        """Stop sharing it; its last row.  UserError (exit 1) when it was not shared."""
        ...

    def share_list(self) -> Iterable[Row]:
        """Shared files: path, name, size, urn, tth, hits, uploads.  May be lazy; a snapshot either way."""
        ...

    def share_directories(self) -> Sequence[Row]:
        """Shared directories: path, files, bytes, source ("config", "runtime" or "incoming")."""
        ...

    def share_rescan(self) -> Awaitable[Row]:
        """Look at every directory again; when done: files, bytes, pending (files still to be hashed)."""
        ...

    # -- searches ------------------------------------------------------------------------------------------------------

    def search(
        self,
        words: str,
        kinds: Sequence[str] = (),
        limit: int = 0,
        on_row: Callable[[Row], None] | None = None,
        ttl: int | None = None,
    ) -> HitList:
        """Ask the network for words or for one `urn:sha1:...`; the hit list becomes the newest of the node.

        `kinds` is a subset of gnutella.control.table.KINDS; `limit` 0 means the node's own bound.  `on_row` gets each new
        row once, never from within this call.  `ttl` None means the setting routing.query_ttl; UserError (64) for one that is
        not between 1 and routing.max_ttl.
        """
        ...

    def hit(self, ref: HitRef) -> Row | None:
        """The row that `ref` names, or None."""
        ...

    def browse(self, address: Address) -> Awaitable[HitList]:
        """A peer's shared files, as a finished hit list that becomes the newest.  UserError (exit 69) when it fails."""
        ...

    def trace(self, guid: Guid) -> Sequence[Row] | None:
        """The life of one query here: time (seconds of the epoch), step, link (address, or "" for this node), reason.
        None when no such query is remembered."""
        ...

    def traced(self) -> Sequence[Row]:
        """Recent traced queries, newest last: guid (32 hex), time, words, own, steps."""
        ...

    # -- the relay layer -----------------------------------------------------------------------------------------------

    def relay(self) -> RelayView:
        """The relay layer of the node; UserError (78) where it is off."""
        ...

    # -- transfers -----------------------------------------------------------------------------------------------------

    def get(self, target: HitRef | str, to: str = "") -> Awaitable[Row]:
        """Add a download of a hit, a `urn:...` or a `magnet:...`; `to` is the wished file name (no path).

        The row of `downloads`; returned when the download is kept durably.  UserError when it cannot be read (64) or no
        such hit exists (1).
        """
        ...

    def downloads(self) -> Sequence[Row]:
        """id, state (locating, queued, transferring, verifying, done, paused, failed), name, size, downloaded, speed (bytes
        a second), sources, eta_s (None when unknown), path, error."""
        ...

    def pause(self, download: int) -> Awaitable[Row]:
        """Its row.  UserError (exit 1) for an unknown id, as for the next two."""
        ...

    def resume(self, download: int) -> Awaitable[Row]: ...

    def cancel(self, download: int) -> Awaitable[Row]:
        """Forget it and remove its partial file; its last row, state "cancelled"."""
        ...

    def uploads(self) -> Sequence[Row]:
        """As `downloads`, seen from the other side: `downloaded` and `sent` are both what the peer got; address, vendor."""
        ...
