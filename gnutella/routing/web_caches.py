"""Web caches (GWebCache): which of them to ask, and when (protocol digest 5.3, 5.5).

They are run by volunteers and come last: one request an hour for each, whatever became of it, kept over restarts; one at a
time; and after failures twice as long each time.  Caches that others told of are kept within a bound, and never preferred to
one that has worked.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from gnutella.errors import RemoteViolation
from gnutella.protocol.gwebcache import OWN_PATH, CacheAnswer, Spec, check_url
from gnutella.reasons import DropReason
from gnutella.routing.seams import Chance
from gnutella.units import Address, is_plausible_peer

#: Seconds between two requests to one cache, of whatever kind (digest 5.3).
REST_S = 3600.0
#: After failures twice as long each time, up to a week (our own number).
MAX_REST_S = 7 * 86400.0
#: Seconds between two requests to different caches (our own number).
GAP_S = 10.0
#: Caches known (our own number); one that was learned gives way when it has failed.
MAX_CACHES = 50
#: Seconds between two requests that tell of us, to whichever cache (digest 5.3: at most once an hour).
UPDATE_GAP_S = 3600.0


class WebCacheRow(NamedTuple):
    """One cache as it is stored; times in seconds of the caller's clock, 0 meaning never."""

    url: str
    next_at: float
    failures: int
    last_ok: float
    spec: int


class CacheTask(NamedTuple):
    """Ask this cache; `is_update`: tell it of us, instead of asking.

    `may_be_private`: its name may stand for an address of the local network.
    """

    url: str
    spec: Spec
    may_be_private: bool
    wants_urls: bool = False
    is_update: bool = False


@dataclass(slots=True)
class _Cache:
    url: str
    is_configured: bool
    next_at: float = 0.0
    failures: int = 0
    last_ok: float = 0.0
    spec: Spec = 0
    asked_for_urls: bool = True


class WebCaches:
    """Knows caches by their URLs.  `configured` ones are never dropped; URLs among them must have been checked."""

    def __init__(self, configured: Iterable[str], rng: Chance, *, allow_private: bool) -> None:
        self._allow_private = allow_private
        # In another order in each node, or all would ask the first one first.
        shuffled = sorted(dict.fromkeys(configured), key=lambda _: rng.random())
        self._caches = {url: _Cache(url, True) for url in shuffled[:MAX_CACHES]}
        self._rng = rng
        self._next_task_at = 0.0
        self._next_update_at = 0.0
        self._is_busy = False

    def __len__(self) -> int:
        return len(self._caches)

    def load(self, rows: Iterable[WebCacheRow], now: float) -> None:
        """What the store has, after a restart; a clock that was wrong then silences no cache for more than MAX_REST_S."""
        for row in rows:
            self.learn(row.url)
            cache = self._caches.get(row.url)
            if cache is not None:
                cache.next_at = min(row.next_at, now + MAX_REST_S)
                cache.failures, cache.last_ok = row.failures, row.last_ok
                cache.spec = 1 if row.spec == 1 else 2 if row.spec == 2 else 0

    def rows(self) -> list[WebCacheRow]:
        """Everything, for the store and for people, the best first."""
        ranked = sorted(self._caches.values(), key=_rank)
        return [WebCacheRow(cache.url, cache.next_at, cache.failures, cache.last_ok, cache.spec) for cache in ranked]

    def learn(self, text: str) -> bool:
        """Somebody told of this cache; whether it is known now.  One that cannot be a cache's URL is not."""
        url = self._checked(text)
        if url is None or url in self._caches:
            return url is not None
        if len(self._caches) >= MAX_CACHES:
            worst = max(self._caches.values(), key=_rank)
            if worst.is_configured or not worst.failures:
                return False
            del self._caches[worst.url]
        self._caches[url] = _Cache(url, False)
        return True

    def working(self) -> list[str]:
        """Those that may be told to others: they answered us, and did so the last time."""
        return [cache.url for cache in sorted(self._caches.values(), key=_rank) if cache.last_ok and not cache.failures]

    def due(self, now: float, *, needs_hosts: bool, may_update: bool) -> CacheTask | None:
        """What to do now, counted as done: `answered` or `failed` must follow.  `may_update`: we are worth being told of."""
        if self._is_busy or now < self._next_task_at:
            return None
        ready = [cache for cache in self._caches.values() if cache.next_at <= now]
        is_update = not needs_hosts and may_update and now >= self._next_update_at
        if is_update:
            ready = [cache for cache in ready if cache.last_ok and not cache.failures]
        if not ready or not (needs_hosts or is_update):
            return None
        cache = ready[int(self._rng.random() * len(ready))] if is_update else min(ready, key=_rank)
        cache.next_at = now + REST_S
        self._next_task_at = now + GAP_S
        self._is_busy = True
        if is_update:
            self._next_update_at = now + UPDATE_GAP_S
        else:
            cache.asked_for_urls = cache.spec == 1 and not cache.asked_for_urls
        private = self._allow_private and (cache.is_configured or cache.url.endswith(OWN_PATH))
        return CacheTask(cache.url, cache.spec, private, cache.asked_for_urls and not is_update, is_update)

    def answered(self, url: str, answer: CacheAnswer, now: float) -> tuple[list[Address], int]:
        """It gave an answer that could be read: hosts to learn, and how many hosts and URLs of it were no use.

        RemoteViolation CACHE_REFUSED, after which it rests as after a failure, if it said nothing but why not.
        """
        self._is_busy = False
        cache = self._caches.get(url)
        if cache is not None:
            cache.spec = answer.spec
        if answer.remark and not (answer.hosts or answer.urls or answer.took_update):
            self.failed(url, now)
            raise RemoteViolation(DropReason.CACHE_REFUSED, repr(answer.remark))
        if cache is not None:
            cache.failures, cache.last_ok = 0, now
        hosts = [host for host in answer.hosts if is_plausible_peer(host, allow_private=self._allow_private)]
        unusable = [text for text in answer.urls if self._checked(text) is None]
        for text in answer.urls:
            self.learn(text)
        return hosts, len(answer.hosts) - len(hosts) + len(unusable)

    def _checked(self, text: str) -> str | None:
        """The URL that a stranger told, if it can be a cache's.

        In the local network only where our own servents have theirs: any other URL there might make a router do something.
        """
        try:
            url = check_url(text, allow_private=self._allow_private and text.endswith(OWN_PATH))
        except ValueError:
            return None
        return url

    def left_out(self) -> None:
        """It was not asked after all."""
        self._is_busy = False

    def failed(self, url: str, now: float) -> None:
        """No answer, or none that could be read."""
        self._is_busy = False
        cache = self._caches.get(url)
        if cache is not None:
            cache.next_at = now + min(MAX_REST_S, REST_S * 2.0 ** min(cache.failures, 16))
            cache.failures += 1


def _rank(cache: _Cache) -> tuple[int, float, bool]:
    """Smaller is better: few failures, worked lately, configured."""
    return cache.failures, -cache.last_ok, not cache.is_configured
