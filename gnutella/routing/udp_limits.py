"""How many datagrams are answered: so few, and so small, that nobody can use us against a third party.

The source address of a datagram is whatever its sender wrote there, so each answer may go to somebody who never asked.  The
rules (digest 5.2 and 12): a plain answer is at most twice as long as the ping, and one a second goes to one source; the longer
answer with packed hosts goes out once a minute; all answers together have a cap.
"""

from __future__ import annotations

from collections import Counter

from gnutella.networks import Shares, host_key, is_loopback, is_public, near, wide
from gnutella.reasons import DropReason
from gnutella.routing.seen import Generations
from gnutella.units import Address

#: Seconds between two plain answers to one source, and between two with packed hosts (gtk-gnutella; digest 5.2).
PLAIN_GAP_S = 1.0
PACKED_GAP_S = 60.0
#: A plain answer is at most this many times as long as the ping (digest 12).
MAX_AMPLIFICATION = 2
#: Answers of all kinds a second, on average and at once (our own numbers): at 250 bytes each, 100 kbit/s.
ANSWERS_PER_S = 50.0
ANSWER_BURST = 100.0
#: Sources noted in a generation of PACKED_GAP_S; only answered ones are noted, and there are never more than this.
MAX_SOURCES = int(ANSWERS_PER_S * PACKED_GAP_S + ANSWER_BURST)
#: Seconds over which the answers to one network are counted.
NETWORK_WINDOW_S = 10.0


def source_key(source: Address) -> str:
    """What counts as one source: an IPv4 address, an IPv6 network; on loopback, where whole test networks live, a port."""
    return str(source) if is_loopback(source.host) else host_key(source.host)


def network_key(source: Address) -> str:
    """What counts as one network: that of a public site; a private host, of which a LAN has many, counts for itself."""
    return near(source.host) if is_public(source.host) else source_key(source)


class Buckets:
    """A token bucket for each key: `rate` a second on average, `burst` at once.  At most 2 * `size` keys are kept.

    A key that is forgotten starts full again, so keys must live for longer than a bucket takes to fill.
    """

    def __init__(self, size: int, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._left: Generations[str, tuple[float, float]] = Generations(size, burst / rate, now)

    def take(self, key: str, now: float, amount: float = 1.0) -> bool:
        """Take `amount`, if so much is there."""
        left, at = self._left.get(key) or (self._burst, now)
        left = min(self._burst, left + max(0.0, now - at) * self._rate)
        is_enough = left >= amount
        self._left.put(key, (left - amount if is_enough else left, now), now)
        return is_enough

    def tick(self, now: float) -> None:
        """Forget buckets that are full again."""
        self._left.tick(now)

    def __len__(self) -> int:
        return len(self._left)


class AnswerLimits:
    """Says whether a ping may be answered now.  A generation is as long as the longest gap, so none is forgotten early.

    `shares` says which part of all answers may go to one network; whoever forges sources forges them of many hosts.
    """

    def __init__(self, now: float) -> None:
        self._plain: Generations[str, float] = Generations(MAX_SOURCES, PACKED_GAP_S, now)
        self._packed: Generations[str, float] = Generations(MAX_SOURCES, PACKED_GAP_S, now)
        self._tokens = ANSWER_BURST
        self._tokens_at = now
        self._networks: Counter[str] = Counter()
        self._window_ends = now + NETWORK_WINDOW_S
        self.shares = Shares()

    def refusal(self, key: str, now: float, *, packed: bool, host: str = "") -> DropReason | None:
        """Take one answer for the source `key` (see `source_key`) at `host`; the reason when there is none to be had."""
        table, gap_s = (self._packed, PACKED_GAP_S) if packed else (self._plain, PLAIN_GAP_S)
        last = table.get(key)
        if last is not None and now - last < gap_s:
            return DropReason.UDP_RATE
        self._tokens = min(ANSWER_BURST, self._tokens + max(0.0, now - self._tokens_at) * ANSWERS_PER_S)
        self._tokens_at = now
        if self._tokens < 1.0:
            return DropReason.UDP_BUSY
        if self.shares.applies_to(host) and not self._network_has_room(host, now):
            return DropReason.NETWORK_FULL
        self._tokens -= 1.0
        table.put(key, now, now)
        return None

    def _network_has_room(self, host: str, now: float) -> bool:
        """Count an answer to its networks, if both may have one more."""
        if now >= self._window_ends:
            self._networks.clear()
            self._window_ends = now + NETWORK_WINDOW_S
        near_limit, wide_limit = self.shares.limits(int(ANSWERS_PER_S * NETWORK_WINDOW_S))
        here, around = near(host), wide(host)
        if self._networks[here] >= near_limit or self._networks[around] >= wide_limit:
            return False
        self._networks[here] += 1
        self._networks[around] += 1
        return True

    def tick(self, now: float) -> None:
        """Forget sources whose gap is over."""
        self._plain.tick(now)
        self._packed.tick(now)

    def __len__(self) -> int:
        return len(self._plain) + len(self._packed)
