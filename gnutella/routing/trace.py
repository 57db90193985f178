"""The life of queries in this node, for the person who asks where one went and why it stopped.

Two bounded rings: the newest MAX_TRACED queries, and at most MAX_STEPS steps of each.  Which queries are traced is the setting
`routing.trace`: own ones, all (which takes the relay off its fast path; teaching and demo), or none.
"""

from __future__ import annotations

from gnutella.routing.actions import TraceStep
from gnutella.units import Guid, LinkId

#: Queries whose steps are kept; the oldest goes first.  Our own number: 256 * 64 steps are about 3 MiB.
MAX_TRACED = 256
#: Steps kept of one query; later ones are only counted.
MAX_STEPS = 64
#: Characters of a query's text that the summary shows.
MAX_TEXT = 80


class TracedQuery:
    """Steps of one query and its printable text."""

    __slots__ = ("guid", "is_own", "omitted", "started_at", "steps", "text")

    def __init__(self, guid: Guid, text: str, started_at: float, *, is_own: bool) -> None:
        self.guid = guid
        self.text = text[:MAX_TEXT]
        self.started_at = started_at
        self.is_own = is_own
        self.steps: list[TraceStep] = []
        self.omitted = 0


class Trace:
    """The ring of traced queries."""

    def __init__(self, max_traced: int = MAX_TRACED, max_steps: int = MAX_STEPS) -> None:
        self._queries: dict[Guid, TracedQuery] = {}
        self._max_traced = max_traced
        self._max_steps = max_steps

    def __contains__(self, guid: Guid) -> bool:
        return guid in self._queries

    def __len__(self) -> int:
        return len(self._queries)

    def start(self, guid: Guid, text: str, now: float, *, is_own: bool) -> None:
        """Trace this query from now on; the oldest one is forgotten when the ring is full."""
        if guid in self._queries:
            return
        while len(self._queries) >= self._max_traced:
            del self._queries[next(iter(self._queries))]
        self._queries[guid] = TracedQuery(guid, text, now, is_own=is_own)

    def step(self, guid: Guid, now: float, step: str, link: LinkId | None = None, reason: str = "") -> None:
        """Note a step of a traced query; nothing happens for others."""
        query = self._queries.get(guid)
        if query is None:
            return
        if len(query.steps) >= self._max_steps:
            query.omitted += 1
            return
        query.steps.append(TraceStep(guid, now, step, link, reason))

    def steps(self, guid: Guid) -> list[TraceStep]:
        """Steps in order; the last one says how many more were not kept, if any."""
        query = self._queries.get(guid)
        if query is None:
            return []
        steps = list(query.steps)
        if query.omitted:
            steps.append(TraceStep(guid, steps[-1].time, f"{query.omitted} more steps were not kept", None))
        return steps

    def recent(self) -> list[TracedQuery]:
        """Traced queries, the newest first."""
        return list(reversed(self._queries.values()))


def readable_text(payload: bytes) -> str:
    """The text of a raw query payload for people: cut, and whatever is not printable shown as a question mark.

    A query for a hash has no words, or the lone backslash that LimeWire puts there; then its first URN is shown.
    """
    words, _, extensions = payload[2 : 2 + 4 * MAX_TEXT].partition(b"\0")
    if words in (b"", b"\\"):
        words = next((part for part in extensions.split(b"\x1c") if part[:4].lower() == b"urn:"), words).partition(
            b"\0"
        )[0]
    text = words.decode("utf-8", "replace")[:MAX_TEXT]
    return "".join(c if c.isprintable() else "?" for c in text)
