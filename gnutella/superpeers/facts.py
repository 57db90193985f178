"""What a node measured of itself and its surroundings, and what is asked of an ultrapeer (protocol digest 6.1).

Two sets of demands: those of the public network are what gtk-gnutella and LimeWire ask of their own ultrapeers; in an island
(a LAN, a laboratory) everybody is new, near and unproven, and only what makes an ultrapeer useless excludes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gnutella.units import format_duration, format_size

#: An ultrapeer sends at least this much upstream (LimeWire; digest 6.1).
MIN_UPLOAD_BYTES_S = 10 * 1024
#: Average time that a servent of the public network has been up before it may be an ultrapeer (LimeWire; digest 6.1).
MIN_UPTIME_S = 3600.0
#: Memory for each leaf (our own measure, rounded up; gtk-gnutella reckons with 256 KiB).
LEAF_BYTES = 64 * 1024
#: Descriptors beside those of links: transfers, the library, logs, sockets of consoles (our own number).
OTHER_FILES = 128


@dataclass(frozen=True, slots=True)
class Facts:
    """None: not known.

    `tcp`, `udp`: whether strangers reach us; `upload_bytes_s`: the best upstream seen or allowed; `files`: descriptors that the
    process may have open; `memory_bytes`: what it may still take; `is_clock_sane`: it has not jumped.

    `ultrapeers`, `leaves`: open links to such.  `candidates`: ultrapeers that are known and could be linked, or are being
    dialled.  `wanted_by`, `not_wanted_by`: linked ultrapeers that said X-Ultrapeer-Needed, True or False.  `full`: ultrapeers
    that lately refused us for want of a slot.
    """

    uptime_s: float = 0.0
    tcp: bool | None = None
    udp: bool | None = None
    upload_bytes_s: int | None = None
    files: int | None = None
    memory_bytes: int | None = None
    is_clock_sane: bool = True
    ultrapeers: int = 0
    leaves: int = 0
    candidates: int = 0
    wanted_by: int = 0
    not_wanted_by: int = 0
    full: int = 0


@dataclass(frozen=True, slots=True)
class Demands:
    """What is asked of an ultrapeer, and how patient all are.  Times in seconds, of the caller's clock.

    `needs_proof`: what is not known counts as not met, but for memory and descriptors.  `first_delay_s`, `spread_s`: a node
    that finds that an ultrapeer is missing waits between the two in sum, the fittest shortest.  `knock_s`: how long it must
    have been without any ultrapeer before it becomes one for a leaf that asks.  `no_leaves_s`: how long an ultrapeer stays one
    without leaves.  `unfit_s`: how long a fact may be bad.  `retry_s`, `max_retry_s`: after a step back, doubling.
    `answer_s`: how long a host that is dialled may say nothing before it is no hope any more.
    `neighbours`: ultrapeers that each one wants beside it, before it asks for none.
    """

    needs_proof: bool
    min_uptime_s: float
    first_delay_s: float
    spread_s: float
    knock_s: float
    no_leaves_s: float
    unfit_s: float
    retry_s: float
    max_retry_s: float
    answer_s: float
    neighbours: int
    min_upload_bytes_s: int = MIN_UPLOAD_BYTES_S
    max_leaves: int = 100
    max_links: int = 32

    def sized(self, max_leaves: int, max_links: int) -> Demands:
        """The same for an ultrapeer of that many links."""
        return replace(self, max_leaves=max_leaves, max_links=max_links)

    @property
    def files(self) -> int:
        """Descriptors needed."""
        return self.max_leaves + self.max_links + OTHER_FILES

    @property
    def memory_bytes(self) -> int:
        """Memory needed for the leaves."""
        return self.max_leaves * LEAF_BYTES


#: Retries from digest 6.1 (gtk-gnutella: after 30 min, doubling up to 17 h), an hour without leaves too.  A node that cannot
#: find any ultrapeer in half a minute has no network: it may well be the first of one.
PUBLIC = Demands(
    needs_proof=True,
    min_uptime_s=MIN_UPTIME_S,
    first_delay_s=10.0,
    spread_s=15.0,
    knock_s=10.0,
    no_leaves_s=3600.0,
    unfit_s=60.0,
    retry_s=1800.0,
    max_retry_s=61200.0,
    answer_s=10.0,
    neighbours=8,
)
#: Our own numbers: an island settles within a minute, whoever is there; two neighbours each make a triangle, in which one may
#: fail.
ISLAND = Demands(
    needs_proof=False,
    min_uptime_s=0.0,
    first_delay_s=3.0,
    spread_s=15.0,
    knock_s=0.0,
    no_leaves_s=45.0,
    unfit_s=30.0,
    retry_s=60.0,
    max_retry_s=960.0,
    answer_s=2.0,
    neighbours=2,
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One fact as people read it; `is_met` None: not known, and that is no obstacle."""

    name: str
    value: str
    wanted: str
    is_met: bool | None

    def row(self) -> dict[str, object]:
        """As `gnutella status` shows it."""
        return {"fact": self.name, "value": self.value, "wanted": self.wanted, "met": self.is_met}


def judge(facts: Facts, demands: Demands) -> tuple[Finding, ...]:
    """Every fact against what is asked."""
    proof = demands.needs_proof
    return (
        _reach("reached over TCP", facts.tcp, proof),
        _reach("reached over UDP", facts.udp, proof, is_vital=proof),
        _at_least("upstream", facts.upload_bytes_s, demands.min_upload_bytes_s, proof, _rate),
        _at_least("open files", facts.files, demands.files, False),
        _at_least("memory", facts.memory_bytes, demands.memory_bytes, False, format_size),
        Finding("clock", "steady" if facts.is_clock_sane else "jumps", "steady", facts.is_clock_sane),
        _at_least("uptime", int(facts.uptime_s), int(demands.min_uptime_s), proof, format_duration),
    )


def obstacle(facts: Facts, demands: Demands) -> str | None:
    """What makes us useless as an ultrapeer, whoever else is there: a fact known to be bad, but for uptime; None: nothing."""
    if (
        facts.tcp is not False
        and facts.is_clock_sane
        and (facts.upload_bytes_s is None or facts.upload_bytes_s >= demands.min_upload_bytes_s)
        and (facts.files is None or facts.files >= demands.files)
        and (facts.memory_bytes is None or facts.memory_bytes >= demands.memory_bytes)
    ):
        return None
    return shortcoming(facts, replace(demands, needs_proof=False, min_uptime_s=0.0))


def shortcoming(facts: Facts, demands: Demands) -> str | None:
    """What we still lack to be one where there are others; None: nothing."""
    return next((_told(finding) for finding in judge(facts, demands) if finding.is_met is False), None)


def fitness(facts: Facts, demands: Demands) -> float:
    """From 0 to 1: what is proven, how fast we send, how long we are up, and how large we are."""
    points = 1.0 * (facts.tcp is True) + 1.0 * (facts.udp is True)
    points += min(1.0, (facts.upload_bytes_s or 0) / (64 * demands.min_upload_bytes_s))
    points += min(1.0, facts.uptime_s / MIN_UPTIME_S)
    points += min(1.0, (facts.files or 0) / (4 * demands.files))
    points += min(1.0, (facts.memory_bytes or 0) / (16 * demands.memory_bytes)) if demands.memory_bytes else 1.0
    return points / 6


def _reach(name: str, value: bool | None, needs_proof: bool, *, is_vital: bool = True) -> Finding:
    text = "not known" if value is None else "yes" if value else "no"
    if value is None and needs_proof:
        is_met: bool | None = False
    else:
        is_met = True if value else None if value is None or not is_vital else False
    return Finding(name, text, "yes" if needs_proof else "yes or not known" if is_vital else "any", is_met)


def _at_least(
    name: str, value: int | None, wanted: int, needs_proof: bool, show: Callable[[int], str] = str
) -> Finding:
    least = f"{show(wanted)} or more"
    if value is None:
        return Finding(name, "not known", least, False if needs_proof else None)
    return Finding(name, show(value), least, value >= wanted)


def _rate(bytes_s: int) -> str:
    return f"{format_size(bytes_s)}/s"


def _told(finding: Finding) -> str:
    return f"{finding.name}: {finding.value}, wanted {finding.wanted}"
