"""What this machine and this process can give to an ultrapeer: descriptors, memory, upstream, a clock that does not jump.

Linux is asked through /proc and the control group of the process; where they tell nothing, the fact is not known.
"""

from __future__ import annotations

import resource
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from gnutella.settings import NetworkSettings
from gnutella.superpeers.facts import ISLAND, PUBLIC, Demands, Facts

#: Memory and descriptors are looked at this often; in between, the last answer holds.
LOOK_AGAIN_S = 10.0
#: Upstream is averaged over this time, and the best average counts (LimeWire's "recent maximum"; digest 6.1).
WINDOW_S = 10.0
#: A wall clock that moves by more than this against the one that cannot be set has jumped ...
MAX_JUMP_S = 5.0
#: ... and is not trusted again for so long.
UNTRUSTED_S = 600.0

MEMINFO = Path("/proc/meminfo")
#: The limit of the control group, and what it uses (version 2).
GROUP_LIMIT, GROUP_USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")


def demands_of(settings: NetworkSettings) -> Demands:
    """What is asked of an ultrapeer in that network, with that many links."""
    kind = PUBLIC if settings.profile == "public" else ISLAND
    return kind.sized(settings.max_leaves, settings.max_links)


class Measures:
    """Called once a second.

    `wall` and `steady` are clocks; `reach` tells whether strangers reach us over TCP and over UDP; `sent` is how many bytes
    links sent so far, `uploading` what uploads send, and `limit` what the user allows them, in bytes a second, 0 meaning any.
    """

    def __init__(
        self,
        wall: Callable[[], float],
        steady: Callable[[], float],
        reach: Callable[[], tuple[bool | None, bool | None]],
        sent: Callable[[], int],
        uploading: Callable[[], float],
        limit: Callable[[], int],
    ) -> None:
        self._wall, self._steady = wall, steady
        self._reach, self._sent, self._uploading, self._limit = reach, sent, uploading, limit
        self._started = steady()
        self._drift = wall() - self._started
        self._jumped_at = float("-inf")
        self._window = (self._started, sent())
        self._best = 0
        self._machine = Facts()
        self._looked_at = float("-inf")

    def __call__(self) -> Facts:
        """All that is known without looking at links."""
        now = self._steady()
        if now - self._looked_at >= LOOK_AGAIN_S:
            self._looked_at = now
            self._machine = Facts(files=open_files_allowed(), memory_bytes=memory_free())
        tcp, udp = self._reach()
        return replace(
            self._machine,
            uptime_s=now - self._started,
            tcp=tcp,
            udp=udp,
            upload_bytes_s=self._upstream(now),
            is_clock_sane=self._is_sane(now),
        )

    def _upstream(self, now: float) -> int | None:
        """None: we never sent enough to know.  A limit that the user set is the truth if it is lower."""
        began, sent = self._window
        if now - began >= WINDOW_S:
            total = self._sent()
            self._best = max(self._best, int((total - sent) / (now - began) + self._uploading()))
            self._window = now, total
        limit = self._limit()
        if limit and limit < PUBLIC.min_upload_bytes_s:
            return limit
        return self._best if self._best >= PUBLIC.min_upload_bytes_s else None

    def _is_sane(self, now: float) -> bool:
        drift = self._wall() - now
        if abs(drift - self._drift) > MAX_JUMP_S:
            self._jumped_at = now
        self._drift = drift
        return now - self._jumped_at >= UNTRUSTED_S


def open_files_allowed() -> int:
    """Descriptors that this process may have open."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 2**31 if soft == resource.RLIM_INFINITY else soft


def memory_free() -> int | None:
    """Bytes that this process may still take without anything being swapped out; None where nobody tells."""
    free = [value for value in (_available(), _left_in_group()) if value is not None]
    return min(free) if free else None


def _available() -> int | None:
    for line in _text(MEMINFO).splitlines():
        words = line.split()
        if words[:1] == ["MemAvailable:"] and len(words) > 1 and words[1].isdigit():
            return int(words[1]) * 1024
    return None


def _left_in_group() -> int | None:
    limit, used = _text(GROUP_LIMIT).strip(), _text(GROUP_USED).strip()
    return max(0, int(limit) - int(used)) if limit.isdigit() and used.isdigit() else None


def _text(path: Path) -> str:
    try:
        return path.read_text("ascii", "replace")
    except OSError:
        return ""
