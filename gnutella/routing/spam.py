"""How likely a hit is spam, as a score from 0 to 100 with its reasons; nothing is dropped for it.

Spammers on this network answer every query with a file named just like it: a worm, a zip with one, a licence-bound .wma or
.wmv that opens a web page, each under thousands of names.  What gives them away is looked for here: in the hit itself, in the
other hits of the same search, and in what the same servents and contents answered to earlier searches.  Weights are our own,
set so that no single fault of an honest old servent makes spam; and so that files which somebody asks for by their full
name, as people do on small networks, stay clean.
"""

from __future__ import annotations

import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from gnutella.routing.sorts import sort_of
from gnutella.units import format_size

#: Contents and servents that are remembered from search to search.
MAX_CONTENTS = 5000
MAX_SERVENTS = 2000
#: Words of a name that are looked at; more is no name.
MAX_WORDS = 64
#: Different names of one file that are compared with each other.
MAX_NAMES = 8
#: Searches without a common word that one servent may answer with a suspicious kind of file named just like them.
MAX_ECHOED = 3
#: Results of one servent for one query; 64 is what LimeWire sends at most.
MAX_OF_SERVENT = 100
#: Different contents of one search that have the same size and ending by chance; songs and films differ.
MAX_SAME_SIZE = 3
#: Sizes below which a file of the kind is suspicious: worms had 20 KB to 2 MB, media that only open a page less than 1 to 2 MB.
SMALL_PROGRAM = 5 << 20
SMALL_ARCHIVE = 2 << 20
SMALL_MEDIA = {"wma": 1 << 20, "asf": 2 << 20, "wmv": 2 << 20, "avi": 1 << 20, "mpg": 1 << 20, "mov": 1 << 18}
ARCHIVES = frozenset(("zip", "rar", "7z", "ace", "arj", "cab", "jar"))
#: Score from which a hit counts as likely spam, if the settings say nothing else.
DEFAULT_THRESHOLD = 50
MAX_SCORE = 100

_WORD = re.compile(r"\w+")


class Source(Protocol):
    """What one servent says of the file."""

    @property
    def servent_id(self) -> bytes: ...
    @property
    def vendor(self) -> str: ...
    @property
    def name(self) -> str: ...


class File(Protocol):
    """A row of a hit list, as far as it matters here."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def sha1(self) -> bytes | None: ...
    @property
    def sources(self) -> Sequence[Source]: ...


class Verdict(NamedTuple):
    """`reasons` begin with the weightiest."""

    score: int = 0
    reasons: tuple[str, ...] = ()


#: Of a file that nobody judged.
NO_VERDICT = Verdict()


class SpamMemory:
    """What contents were called, and which searches servents echoed, in all searches of a node; bounded."""

    def __init__(self) -> None:
        self._names: OrderedDict[bytes, frozenset[str]] = OrderedDict()
        self._echoed: OrderedDict[bytes, list[frozenset[str]]] = OrderedDict()

    def other_name(self, sha1: bytes, words: frozenset[str]) -> bool:
        """Whether this content was met under a name that has no word in common with `words`; kept if it is new."""
        known = self._names.setdefault(sha1, words)
        while len(self._names) > MAX_CONTENTS:
            self._names.popitem(last=False)
        return bool(known) and bool(words) and known.isdisjoint(words)

    def echoed(self, servent_id: bytes, query: frozenset[str]) -> None:
        """A servent answered with a file named just like the query; counted once for queries that share a word."""
        queries = self._echoed.setdefault(servent_id, [])
        self._echoed.move_to_end(servent_id)
        if len(queries) <= MAX_ECHOED and all(query.isdisjoint(known) for known in queries):
            queries.append(query)
        while len(self._echoed) > MAX_SERVENTS:
            self._echoed.popitem(last=False)

    def echoes(self, servent_id: bytes) -> bool:
        """Whether it did so for more queries than by chance."""
        return len(self._echoed.get(servent_id, ())) > MAX_ECHOED


@dataclass(slots=True)
class _Case:
    """One file and the points found against it so far."""

    file: File
    ending: str
    points: list[tuple[int, str]] = field(default_factory=list)

    def add(self, points: int, reason: str) -> None:
        self.points.append((points, reason))


class SpamJudge:
    """For one search.  Tell it every file with `note` before its verdict is asked; an empty `query` is one for a hash."""

    def __init__(self, query: str = "", memory: SpamMemory | None = None, threshold: int = DEFAULT_THRESHOLD) -> None:
        self.threshold = threshold
        self._memory = memory or SpamMemory()
        is_hash = query.strip().lower().startswith("urn:")
        self._query = () if is_hash else tuple(_split(query))
        self._query_words = frozenset(self._query)
        self._of_servent: Counter[bytes] = Counter()
        self._alike: dict[tuple[int, str], set[bytes]] = {}
        self._renamed: set[bytes] = set()
        self._copied: set[bytes] = set()

    def note(self, file: File, source: Source) -> None:
        """One record: this source has that file."""
        self._of_servent[source.servent_id] += 1
        ending = _ending(file.name)
        if file.sha1 is not None:
            self._alike.setdefault((file.size, ending), set()).add(file.sha1)
            if self._query and self._memory.other_name(file.sha1, frozenset(_words(source.name))):
                self._renamed.add(file.sha1)
        if self._is_echo(source.name) and _oddity(file.name, file.size) is not None:
            self._memory.echoed(source.servent_id, self._query_words)

    def note_together(self, records: Iterable[tuple[bytes | None, tuple[object, ...]]]) -> None:
        """SHA-1s and alternates of one message: different files never have the very same other sources (LimeWire's rule)."""
        seen: dict[tuple[object, ...], set[bytes]] = {}
        for sha1, alternates in records:
            if sha1 is not None and len(alternates) > 1:
                seen.setdefault(alternates, set()).add(sha1)
        for alike in seen.values():
            if len(alike) > 1:
                self._copied |= alike

    def verdict(self, file: File) -> Verdict:
        """What is known of it by now."""
        case = _Case(file, _ending(file.name))
        if (oddity := _oddity(file.name, file.size)) is not None:
            case.add(*oddity)
        self._look_at_names(case, is_odd=oddity is not None and file.size > 0)
        self._look_at_search(case)
        self._look_at_sources(case)
        found = sorted(case.points, key=lambda point: -point[0])
        return Verdict(min(MAX_SCORE, sum(points for points, _ in found)), tuple(reason for _, reason in found))

    # -- what speaks against a file --------------------------------------------------------------------------------------

    def _look_at_names(self, case: _Case, *, is_odd: bool) -> None:
        if self._is_echo(case.file.name):
            case.add(30 if is_odd else 10, "named just like the query")
        elif self._query and self._query_words.isdisjoint(_words(case.file.name)):
            case.add(10, "no word of the query is in its name")
        if self._query and _are_unrelated({frozenset(_words(source.name)) for source in case.file.sources}):
            case.add(45, "the same file has names without a common word")
        elif case.file.sha1 in self._renamed:
            case.add(35, "the same file had another name in an earlier search")

    def _look_at_search(self, case: _Case) -> None:
        file = case.file
        if file.sha1 is None:
            case.add(10, "no SHA-1, so nothing proves what it is")
        elif len(alike := self._alike.get((file.size, case.ending), set())) > MAX_SAME_SIZE:
            points = 30 if self._is_echo(file.name) else 15
            case.add(points, f"{len(alike)} different files of just this size and kind")
        if file.sha1 in self._copied:
            case.add(40, "other files of the same hit have the very same other sources")

    def _look_at_sources(self, case: _Case) -> None:
        """An honest source clears a file of what speaks against others."""
        sources = case.file.sources
        if not sources:
            return
        if all(self._memory.echoes(source.servent_id) for source in sources):
            case.add(50, "its servents have a file for every search")
        if all(self._of_servent[source.servent_id] > MAX_OF_SERVENT for source in sources):
            case.add(25, "its servents sent an absurd number of results")
        if all(not source.vendor for source in sources):
            case.add(10, "no vendor")
        elif all(not _is_vendor(source.vendor) for source in sources):
            case.add(20, "an impossible vendor")
        if all(len(set(source.servent_id[:8])) == 1 for source in sources):
            case.add(20, "a servent id that is no random number")

    def _is_echo(self, name: str) -> bool:
        """Whether the name is the query, of two words at least, and nothing more."""
        return len(self._query) > 1 and tuple(_words(name)) == self._query


def _oddity(name: str, size: int) -> tuple[int, str] | None:
    """Points and reason for a kind and size that spammers send."""
    ending = _ending(name)
    if size == 0:
        return 20, "the file is empty"
    if sort_of(name) == "windows" and size < SMALL_PROGRAM:
        return 35, f"a program of {format_size(size)}"
    if ending in ARCHIVES and size < SMALL_ARCHIVE:
        return 15, f"an archive of {format_size(size)}"
    if size < SMALL_MEDIA.get(ending, 0):
        return 25, f"a .{ending} of only {format_size(size)}"
    return None


def _ending(name: str) -> str:
    stem, dot, ending = name.rpartition(".")
    return ending.casefold() if dot and stem else ""


def _words(name: str) -> list[str]:
    """Words of a name without its ending."""
    stem, dot, _ = name.rpartition(".")
    return _split(stem if dot and stem else name)


def _split(text: str) -> list[str]:
    return _WORD.findall(text.casefold().replace("_", " "))[:MAX_WORDS]


def _are_unrelated(names: set[frozenset[str]]) -> bool:
    """Whether two of them have no word in common; names without words say nothing."""
    told = [words for words in names if words][:MAX_NAMES]
    return any(one.isdisjoint(other) for at, one in enumerate(told) for other in told[at + 1 :])


def _is_vendor(vendor: str) -> bool:
    return len(vendor) == 4 and vendor.isascii() and vendor.isalnum()
