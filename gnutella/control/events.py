"""The journal: what happened in this node, numbered, typed, bounded.

The node adds events; consoles, `gnutella events` and the HTTP event stream read them.  Every type is a row of `EVENT_TYPES`,
from which the reference page is made.  A reader that asks for events older than the ring holds gets one `gap` event first, so
that it knows what it cannot know.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple

from gnutella.errors import LocalMisuse

#: Events kept for replay.  At some 300 bytes each this stays below 2 MiB; a busy hour of a leaf makes about a thousand.
MAX_EVENTS = 4096
#: Seconds between two progress events of one download: people cannot read faster, and scripts poll no faster.
PROGRESS_INTERVAL_S = 1.0


class Event(NamedTuple):
    """One thing that happened.  `id` counts from 1 and never repeats while the node runs; `time` is seconds of the epoch."""

    id: int
    time: float
    type: str
    data: Mapping[str, object]

    def row(self) -> dict[str, object]:
        """The wire form: id, time, type, data."""
        return {"id": self.id, "time": self.time, "type": self.type, "data": dict(self.data)}


class EventType(NamedTuple):
    """A row of the reference table; at most one event each `interval_s` for one value of `data["id"]`, 0 meaning all."""

    name: str
    keys: tuple[str, ...]
    meaning: str
    interval_s: float = 0.0


EVENT_TYPES: Mapping[str, EventType] = {
    row.name: row
    for row in (
        EventType("node_started", ("version", "servent_id", "listen"), "the node is up and its ports are open"),
        EventType("node_stopping", ("reason",), "an orderly stop began"),
        EventType("node_ready", ("shared",), "the listener is up and the shared files are served"),
        EventType("link_opened", ("address", "direction", "role", "vendor"), "a link to a peer was established"),
        EventType("link_closed", ("address", "reason", "detail"), "a link ended, and why"),
        EventType("link_failed", ("address", "reason", "detail"), "a link could not be established"),
        EventType("message_refused", ("address", "reason", "detail"), "a message was dropped for an unusual reason"),
        EventType("search_started", ("guid", "words"), "a query of our own was sent"),
        EventType("search_stopped", ("guid", "hits"), "a query of our own takes no more hits"),
        EventType("hit_received", ("guid", "hit", "name", "size", "urn"), "a new row in the hits of our own query"),
        EventType("share_changed", ("files", "bytes"), "another set of files is served"),
        EventType("file_hashed", ("name", "size", "urn"), "a shared file was hashed"),
        EventType("download_added", ("id", "name", "size"), "a download was added and is kept"),
        EventType("download_state", ("id", "name", "state"), "a download changed its state"),
        EventType(
            "download_progress",
            ("id", "name", "downloaded", "size", "speed"),
            "bytes arrived; at most one a second for each download",
            PROGRESS_INTERVAL_S,
        ),
        EventType(
            "download_finished", ("id", "name", "size", "path"), "a download was verified and moved to its place"
        ),
        EventType("download_failed", ("id", "name", "error"), "a download gave up"),
        EventType("download_cancelled", ("id", "name"), "a download was removed by a command"),
        EventType("source_dropped", ("id", "address", "reason"), "a download no longer uses a source"),
        EventType(
            "push_answered",
            ("servent_id", "address", "way"),
            "a source that cannot be dialled called us; way: its push proxy that was asked, or the overlay",
        ),
        EventType("upload_started", ("id", "name", "address"), "a peer began to fetch a shared file"),
        EventType("upload_finished", ("id", "name", "address", "sent"), "an upload ended"),
        EventType("blocklist_read", ("path", "state", "ranges", "error"), "a blocklist was read, or could not be"),
        EventType("config_changed", ("key", "value"), "a setting was changed at run time"),
        EventType("reachability_changed", ("tcp", "udp"), "whether others can reach this node"),
        EventType("port_mapped", ("method", "address"), "the router maps our port to this address; empty: no more"),
        EventType(
            "web_cache_asked", ("url", "hosts", "error"), "a web cache was asked; how many hosts it told, or why none"
        ),
        EventType("role_changed", ("role", "reason"), "this node became a leaf, or an ultrapeer, and why"),
        EventType("control_refused", ("address", "reason"), "a console or API caller was refused"),
        EventType("gap", ("first", "last"), "events first..last happened but are no longer kept"),
    )
}


class Journal:
    """A ring of the newest events, and those who listen.

    `clock` gives seconds of the epoch.  A listener is called synchronously and must neither raise nor block; it may
    unsubscribe itself.
    """

    def __init__(self, clock: Callable[[], float], size: int = MAX_EVENTS) -> None:
        self._clock = clock
        self._ring: deque[Event] = deque(maxlen=size)
        self._last_id = 0
        self._listeners: dict[int, Callable[[Event], None]] = {}
        self._next_listener = 0
        self._progress: dict[tuple[str, object], float] = {}

    @property
    def last_id(self) -> int:
        """Number of the newest event; 0 before the first."""
        return self._last_id

    def add(self, kind: str, **data: object) -> Event | None:
        """Record an event of a type of EVENT_TYPES; None when it came too soon after its like and was left out.

        LocalMisuse for an unknown type or for keys other than the type's.
        """
        row = EVENT_TYPES.get(kind)
        if row is None or data.keys() != set(row.keys):
            raise LocalMisuse(f"event {kind!r} with keys {sorted(data)}")
        now = self._clock()
        if row.interval_s and self._too_soon(row, data.get("id"), now):
            return None
        self._last_id += 1
        event = Event(self._last_id, now, kind, data)
        self._ring.append(event)
        for listener in tuple(self._listeners.values()):
            listener(event)
        return event

    def since(self, event_id: int) -> list[Event]:
        """Events numbered above `event_id`, oldest first; led by a `gap` event (numbered as the last lost one) if some of
        them are gone."""
        kept = [event for event in self._ring if event.id > event_id]
        first_kept = kept[0].id if kept else self._last_id + 1
        first_wanted = max(event_id, 0) + 1
        if first_wanted < first_kept:
            lost = {"first": first_wanted, "last": first_kept - 1}
            kept.insert(0, Event(first_kept - 1, kept[0].time if kept else self._clock(), "gap", lost))
        return kept

    def subscribe(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Call `listener` with every later event, until the returned function is called."""
        self._next_listener += 1
        number = self._next_listener
        self._listeners[number] = listener

        def unsubscribe() -> None:
            self._listeners.pop(number, None)

        return unsubscribe

    def _too_soon(self, row: EventType, subject: object, now: float) -> bool:
        key = (row.name, subject)
        if now - self._progress.get(key, now - row.interval_s) < row.interval_s:
            return True
        self._progress = {k: t for k, t in self._progress.items() if now - t < row.interval_s}
        self._progress[key] = now
        return False
