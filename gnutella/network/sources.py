"""Whether each way to find first peers works, and if not, why: what `status` and `doctor` say of it.

off      not wanted: by a setting or the profile           absent   an extra is not installed
idle     not needed so far, or there is nobody to ask      asking   no answer yet
good     it runs, or somebody answered the last time       failed   nobody did, or the system does not permit it
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

SourceState = Literal["off", "absent", "idle", "asking", "good", "failed"]
#: Letters of a reason; it may hold the text of a library or of a stranger's server.
MAX_REASON = 120

_FIXES = {
    "multicast": "bootstrap.multicast = false, where the system does not permit it; `gnutella connect HOST:PORT` instead",
    "mDNS": "bootstrap.mdns = false, where the system does not permit it; multicast finds servents of the network all the same",
    "UDP host caches": "see that UDP gets out, or name others in bootstrap.udp_host_caches",
    "web caches": "`gnutella caches` says what each answered; name others in bootstrap.gwebcaches",
}


_INSTALL = {"mDNS": "pip install 'gnutella-servent[mdns]'"}


class Source(NamedTuple):
    """One way to find peers."""

    name: str
    state: SourceState
    detail: str = ""

    def row(self) -> dict[str, object]:
        """source, state, detail."""
        return {"source": self.name, "state": self.state, "detail": self.detail}

    def check(self, *, has_links: bool) -> dict[str, object] | None:
        """A row of `doctor`; None where there is nothing to tell.  Who has links can do without."""
        if self.state in ("off", "idle"):
            return None
        good = True if self.state == "good" else False if self.state == "failed" and not has_links else None
        fix = {"failed": _FIXES, "absent": _INSTALL}.get(self.state, {}).get(self.name, "")
        return {"name": self.name, "ok": good, "detail": self.detail, "fix": fix}


class Asked(NamedTuple):
    """What became of one cache: how often in a row it failed, whether it ever answered, is being asked, and why it failed."""

    failures: int
    has_answered: bool
    is_asked: bool
    why: str = ""


def caches_source(name: str, caches: Iterable[Asked], none_known: str) -> Source:
    """All caches of one kind as one source; the reason is that of one that failed."""
    rows: Sequence[Asked] = list(caches)
    if not rows:
        return Source(name, "idle", none_known)
    good = sum(row.has_answered and not row.failures for row in rows)
    if good:
        return Source(name, "good", f"{good} of {len(rows)} answered")
    failed = [row for row in rows if row.failures]  # also those that are being asked once more
    if not failed:
        if any(row.is_asked for row in rows):
            return Source(name, "asking", f"{len(rows)} known, no answer yet")
        return Source(name, "idle", f"{len(rows)} known, not needed so far")
    why = next((row.why for row in failed if row.why), "no answer")
    return Source(name, "failed", f"{len(failed)} of {len(rows)} asked in vain: {reason(why)}")


def reason(text: str) -> str:
    """A reason as one short line."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= MAX_REASON else line[: MAX_REASON - 1] + "…"
