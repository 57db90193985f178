"""The relay path: one received chunk in, one batch of forwarded queries out (the hottest code of the servent).

The loop of `walk` treats the everyday query, of a plain link and new and within all limits, with a handful of operations: note
its GUID and the way back, ask the library, rewrite TTL and hops in a copy of the chunk.  Everything else leaves the loop for a
slower function.  Forwarded messages that lie next to each other stay one slice; the whole chunk becomes one flood.

The rules are those of digest 4.3.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from gnutella.protocol.frames import HEADER, HOPS_AT, TTL_AT, Frame
from gnutella.protocol.kinds import HEADER_SIZE, MAX_PAYLOAD, QUERY
from gnutella.protocol.query import MAX_QUERY
from gnutella.reasons import DropReason
from gnutella.routing.actions import Action
from gnutella.routing.answers import Answers, wants_hits_elsewhere
from gnutella.routing.dynamic import Dynamic
from gnutella.routing.link import HARD_MAX_TTL, Link, wrong_ttl
from gnutella.routing.reverse import PROBE_GENERATION, ReversePaths
from gnutella.routing.seams import Library, Shared
from gnutella.routing.switchboard import OWN, Switchboard
from gnutella.routing.tables import Tables
from gnutella.routing.trace import readable_text
from gnutella.settings import RoutingSettings
from gnutella.units import Guid, LinkId

#: Longest query payload that is passed on (gtk-gnutella, Shareaza; digest 2.1).  Longer than MAX_QUERY closes the link.
MAX_RELAYED_QUERY = 256
#: Flags word and the NUL of an empty text: a query needs more than that.
MIN_QUERY = 4
#: Files that one query is answered with at most; seven messages of ten records (our own number).
MAX_ANSWERED_FILES = 64
#: High byte of the flags word that says that it is one (digest 2.4, bit 15).
MARK = 0x80
#: Frames are at least this long if they are forwarded: bounds how many entries one chunk adds to the tables.
_MIN_RELAYED = HEADER_SIZE + MIN_QUERY
#: TTL and hops as two bytes, for all that is believed of a message.
_AGED = [[bytes((ttl, hops)) for hops in range(HARD_MAX_TTL + 1)] for ttl in range(HARD_MAX_TTL + 1)]
#: A chunk up to this length may be treated as the one message that it is; longer ones are bulk, where a call more is nothing.
MAX_LONE = 4096

#: What the header at the start of a chunk says: GUID, kind, TTL, hops, payload length.
ReadHeader = Callable[[bytes], tuple[Any, ...]]
Slow = Callable[[Link, Frame, float], None]


class Relay:
    """Walks chunks; floods queries; hands all other messages to `others`."""

    def __init__(
        self,
        board: Switchboard,
        paths: ReversePaths,
        answers: Answers,
        tables: Tables,
        dynamic: Dynamic,
        others: Slow,
        read_header: ReadHeader = HEADER.unpack_from,
    ) -> None:
        self._board = board
        self._tables = tables
        self._dynamic = dynamic
        self._read_header = read_header
        self._paths = paths
        self._answers = answers
        self._others = others
        self._library_answer: Callable[[bytes, int], Sequence[Shared]] | None = None
        self._max_ttl = board.settings.max_ttl
        self._last_hop: list[bytes] = []

    def use_settings(self, settings: RoutingSettings) -> None:
        """Trim to another TTL from now on."""
        self._max_ttl = settings.max_ttl

    def set_library(self, library: Library) -> None:
        """Ask this snapshot from now on; an empty one is not asked at all."""
        self._library_answer = library.answer if library.file_count else None

    def look_up(self, payload: bytes, limit: int) -> Sequence[Shared]:
        """Files of ours that a query matches."""
        return () if self._library_answer is None else self._library_answer(payload, limit)

    def lone(self, link: Link, data: bytes, now: float) -> list[Action] | None:
        """Treat a chunk that is one everyday message, as `walk` would; None, with nothing done, when it is anything else.

        Most chunks of a link with little traffic are such, and half of the cost of `walk` is for there being more messages.
        """
        size, source, board = len(data), link.id, self._board
        if size < HEADER_SIZE:
            return None
        guid, kind, ttl, hops, length = self._read_header(data)
        if length + 23 != size:
            return None
        counters = board.counters
        if kind != 0x80:
            link.rx_messages += 1
            link.rx_bytes += size
            counters.kind(kind).rx += 1
            counters.rx_bytes += size
            self._others(link, Frame(guid, kind, ttl, hops, data, 0, size), now)
            return board.flush()
        if self._tables.is_used or board.is_leaf or not 0 < ttl <= self._max_ttl - hops or not 3 < length < 257:
            return None
        queries = self._paths.queries
        known = queries.young.get(guid)
        if known is None:
            known = queries.old.get(guid)
        if known is not None:
            if known in (source, OWN) or (ttl > 1 and guid in self._paths.probes):
                return None
            link.dropped += 1
            counters.drops[DropReason.DUPLICATE] += 1
            actions: list[Action] = []
        elif data[23] > 127 and data[25]:
            queries.room(1, now)[0][guid] = source
            actions = self._new(link, Frame(guid, kind, ttl, hops, data, 0, size), now)
        else:
            return None
        link.rx_messages += 1
        link.rx_bytes += size
        counters.messages[QUERY].rx += 1
        counters.rx_bytes += size
        return actions

    def _new(self, link: Link, frame: Frame, now: float) -> list[Action]:
        """Answer and pass on a query that came alone, for the first time."""
        board, data = self._board, frame.data
        if self._library_answer is not None and (found := self._library_answer(data[23:], MAX_ANSWERED_FILES)):
            self._answers.reply(link, frame, found, now)
        if frame.ttl > 1:
            board.counters.queries_relayed += len(board.links) > 1  # else there is nobody to forward it to
            aged = _AGED[frame.ttl - 1][frame.hops + 1]
            board.flood(link, data[:TTL_AT] + aged + data[HOPS_AT + 1 :], 1)
        else:
            link.dropped += 1
            board.counters.drops[DropReason.TTL_SPENT] += 1
            self._paths.probes.put(frame.guid, link.id, now)
            if board.has_leaves:
                board.flood_leaves(link, data[:TTL_AT] + _AGED[1][frame.hops + 1] + data[HOPS_AT + 1 :], 1)
        return board.flush()

    def walk(self, link: Link, data: bytes, now: float) -> int:
        """Treat the whole messages of `data`; gives where the incomplete one at the end starts.

        The link may be closed afterwards; then the rest of the chunk was not looked at.
        """
        size, source = len(data), link.id
        young, old = self._paths.queries.room(size // _MIN_RELAYED, now)
        reach = self._max_ttl if link.is_plain else 0
        answer, guide = self._library_answer, self._tables.guide if self._tables.is_used else None
        header, last = HEADER.unpack_from, size - HEADER_SIZE
        buf, runs = bytearray(data), list[bytearray]()
        pos = start = new = spent = duplicates = kept = 0
        while pos <= last:
            guid, kind, ttl, hops, length = header(data, pos)
            end = pos + 23 + length
            if end > size:
                break
            if (
                kind == 0x80
                and 0 < ttl <= reach - hops
                and 3 < length < 257
                and data[pos + 23] > 127
                and data[pos + 25]
                and guid not in old
                and guid not in young
            ):
                young[guid] = source
                new += 1
                if answer is not None and (found := answer(data[pos + 23 : end], MAX_ANSWERED_FILES)):
                    self._answers.reply(link, Frame(guid, kind, ttl, hops, data, pos, end), found, now)
                if ttl > 1 and (guide is None or guide(link, data, pos, end, ttl - 1, hops + 1)):
                    buf[pos + 17], buf[pos + 18] = ttl - 1, hops + 1
                    pos = end
                    continue
                is_spent = self._is_spent(link, Frame(guid, kind, ttl, hops, data, pos, end), now)
                spent, kept = (spent + 1, kept) if is_spent else (spent, kept - 1)
            elif kind == 0x80 and 0 < ttl <= reach - hops and length < 257 and self._came_elsewhere(guid, source, ttl):
                duplicates += 1
            else:
                kept += self._count(link, new, spent, duplicates)
                new = spent = duplicates = 0
                if self._other(link, Frame(guid, kind, ttl, hops, data, pos, end), buf, now):
                    kept += 1
                    pos = end
                    continue
            runs.append(buf[start:pos])
            start = pos = end
            if link.is_closed:
                break
        runs.append(buf[start:pos])
        kept += self._count(link, new, spent, duplicates)
        self._leave(link, b"".join(runs), kept, pos)
        return pos

    def _is_spent(self, link: Link, frame: Frame, now: float) -> bool:
        """Whether a query that left the flood has no hop left; then nobody but leaves gets it, with a TTL of 1 to be legal.

        If not, it was led by tables.
        """
        if frame.ttl > 1:
            return False
        probes = self._paths.probes.young
        if len(probes) < PROBE_GENERATION:
            probes[frame.guid] = link.id
        else:
            self._paths.probes.put(frame.guid, link.id, now)
        if self._tables.is_used:
            self._tables.guide(link, frame.data, frame.start, frame.end, 0, frame.hops + 1)
        if self._board.has_leaves:
            self._last_hop.append(frame.passed_on(1, frame.hops + 1))
        return True

    def _came_elsewhere(self, guid: bytes, source: LinkId, ttl: int) -> bool:
        """Whether this GUID came from another link before, as each query does in a mesh: nobody's fault, and of no use."""
        known = self._paths.queries.get(Guid(guid))
        if known is None or known in (source, OWN):
            return False
        probes = self._paths.probes
        return ttl < 2 or not (guid in probes.young or guid in probes.old)

    def _count(self, link: Link, new: int, spent: int, duplicates: int) -> int:
        """Note queries that the loop treated itself: new ones, those of them on their last hop, and duplicates.

        Gives how many of them stay in the flood.  To a leaf every query comes on its last hop: nothing of it is dropped.
        """
        if new or duplicates:
            counters = self._board.counters
            refused = 0 if self._board.is_leaf else spent
            link.rx_messages += new + duplicates
            link.dropped += refused + duplicates
            counters.messages[QUERY].rx += new + duplicates
            if duplicates:
                counters.drops[DropReason.DUPLICATE] += duplicates
            if refused:
                counters.drops[DropReason.TTL_SPENT] += refused
        return new - spent

    def _leave(self, link: Link, queries: bytes, forwarded: int, walked: int) -> None:
        """Count what the loop did not, and flood what it forwarded."""
        board = self._board
        counters = board.counters
        link.rx_bytes += walked
        counters.rx_bytes += walked
        if forwarded and not board.is_leaf:
            if len(board.links) > (link.id in board.links):  # else there was nobody to forward them to
                counters.queries_relayed += forwarded
            board.flood(link, queries, forwarded)
        if self._last_hop:
            messages, self._last_hop = self._last_hop, []
            board.flood_leaves(link, b"".join(messages), len(messages))
        self._tables.deliver(link)

    def _other(self, link: Link, frame: Frame, buf: bytearray, now: float) -> bool:
        """Whatever the loop does not treat; True when it is a query that stays in the flood."""
        if frame.length > MAX_PAYLOAD:
            self._board.close(link, DropReason.MESSAGE_TOO_LARGE, f"{frame.length} bytes announced")
            return False
        link.rx_messages += 1
        self._board.counters.kind(frame.kind).rx += 1
        if frame.kind != QUERY:
            self._others(link, frame, now)
            return False
        if frame.ttl > 1 and frame.guid in self._paths.probes and self._extend(link, frame, now):
            return False
        reason = self._refusal(link, frame, now)
        if reason is None:
            return self._query(link, frame, buf, now)
        self._board.drop_query(link, frame, reason, now)
        if frame.length > MAX_QUERY:
            self._board.close(link, reason, f"{frame.length} bytes")
        return False

    def _query(self, link: Link, frame: Frame, buf: bytearray, now: float) -> bool:
        """A query that the loop left out for its link, its size or its last hop; True when it stays in the flood."""
        board = self._board
        self._paths.queries.put(frame.guid, link.id, now)
        if board.traces_all:
            board.trace.start(frame.guid, readable_text(frame.payload), now, is_own=False)
            board.trace.step(frame.guid, now, "received from", link.id)
        if self._library_answer is not None:
            found = self._library_answer(frame.payload, MAX_ANSWERED_FILES)
            if found:
                self._answers.reply(link, frame, found, now)
        if frame.length > MAX_RELAYED_QUERY:
            board.drop_query(link, frame, DropReason.QUERY_TOO_LONG, now)
            return False
        if link.info.is_leaf and self._dynamic.is_used:
            self._lead_to_leaves(link, frame, now)
            self._dynamic.start(frame.guid, frame.payload, link, max(1, board.settings.query_ttl - 1), now)
            return False
        ttl = min(frame.ttl, self._max_ttl - frame.hops) - 1
        if ttl < 1:
            self._paths.probes.put(frame.guid, link.id, now)
            self._end_of_path(link, frame, now)
            return False
        buf[frame.start + TTL_AT] = ttl
        buf[frame.start + HOPS_AT] = frame.hops + 1
        is_flooded = self._guide(link, frame, ttl, now)
        if board.traces_all:
            for target in board.targets(link) if is_flooded else board.unguided(link):
                board.trace.step(frame.guid, now, "forwarded to", target)
        return is_flooded

    def _guide(self, link: Link, frame: Frame, ttl: int, now: float) -> bool:
        """As Tables.guide, also into the trace."""
        tables, board = self._tables, self._board
        if not tables.is_used:
            return True
        if board.traces_all:  # `led_to` tells of one query
            tables.deliver(link)
        is_flooded = tables.guide(link, frame.data, frame.start, frame.end, ttl, frame.hops + 1)
        if board.traces_all:
            for target in tables.led_to():
                board.trace.step(frame.guid, now, "led to", target)
        return is_flooded

    def _end_of_path(self, link: Link, frame: Frame, now: float) -> None:
        """The TTL is spent: nobody but leaves gets it, with the TTL 1 that makes it a legal message."""
        if self._board.is_leaf:
            return
        self._board.drop(link, DropReason.TTL_SPENT)
        self._board.trace.step(frame.guid, now, "ttl spent", None, DropReason.TTL_SPENT.value)
        self._lead_to_leaves(link, frame, now)

    def _lead_to_leaves(self, link: Link, frame: Frame, now: float) -> None:
        board = self._board
        self._guide(link, frame, 0, now)
        leaves = board.leaves(link)
        if leaves:
            self._last_hop.append(frame.passed_on(1, frame.hops + 1))
            if board.traces_all:
                for leaf in leaves:
                    board.trace.step(frame.guid, now, "forwarded to", leaf.id)

    def _extend(self, link: Link, frame: Frame, now: float) -> bool:
        """Pass on a query that was a probe until now, to all neighbours it did not come from; our leaves had it (digest 4.3).

        False when it is no query that may be passed on.
        """
        board, ttl = self._board, min(frame.ttl, self._max_ttl - frame.hops) - 1
        if ttl < 1 or board.is_leaf or link.info.is_leaf or wrong_ttl(frame) or frame.length > MAX_RELAYED_QUERY:
            return False
        if _unreadable(frame) or (link.queue is not None and link.queue.is_busy):
            return False
        self._paths.extend(frame.guid)
        first = self._paths.queries.get(frame.guid)
        message = frame.passed_on(ttl, frame.hops + 1)
        targets = [one for one in self._tables.neighbours_for(frame.payload, ttl) if one.id not in (link.id, first)]
        for target in targets:
            board.send_queries(target, [message])
            board.trace.step(frame.guid, now, "forwarded to", target.id)
        board.counters.queries_relayed += bool(targets)
        return True

    def _refusal(self, link: Link, frame: Frame, now: float) -> DropReason | None:
        """Why a query is neither handled nor forwarded; None when it is."""
        reason = wrong_ttl(frame)
        if reason is not None:
            return reason
        if link.info.is_leaf and frame.hops:
            return DropReason.LEAF_RELAYED
        known = self._paths.queries.get(frame.guid)
        if known is not None or frame.guid in self._paths.searches:
            return self._repeated(link, frame, known, now)
        reason = _unreadable(frame)
        if reason is not None:
            return reason
        # Its hits would be announced to somebody who never asked (digest 8.4).
        if link.info.is_leaf and wants_hits_elsewhere(frame, link.info.host):
            return DropReason.FORGED_RETURN
        if link.queue is not None and link.queue.is_busy:
            return DropReason.SENDER_BUSY
        if link.info.is_leaf and not link.may_query(now):
            return DropReason.RATE
        if link.info.is_leaf and self._dynamic.is_used and not self._dynamic.has_room(link):
            return DropReason.TOO_MANY_QUERIES
        return None

    def _repeated(self, link: Link, frame: Frame, known: LinkId | None, now: float) -> DropReason:
        """A GUID that was handled before: normal in a mesh, unless the link that sent it first sends it again."""
        if frame.guid in self._paths.searches or known == OWN:
            return DropReason.OWN_MESSAGE
        if known == link.id and link.repeats_itself():
            self._board.close(link, DropReason.TOO_MANY_DUPLICATES)
        return DropReason.DUPLICATE


def _unreadable(frame: Frame) -> DropReason | None:
    """Why a query is not looked at; None when it is."""
    length, flags_at = frame.length, frame.start + HEADER_SIZE
    if length > MAX_QUERY:
        return DropReason.QUERY_TOO_LONG
    if length < MIN_QUERY - 1:
        return DropReason.BAD_QUERY
    if not frame.data[flags_at] & MARK:
        return DropReason.QUERY_UNMARKED
    if not frame.data[flags_at + 2] and not frame.payload[2:].strip(b"\0\x1c"):
        return DropReason.QUERY_EMPTY
    return None


def unforwardable(frame: Frame) -> DropReason | None:
    """Why a query that comes by UDP is not looked at; None when it is."""
    return DropReason.QUERY_TOO_LONG if frame.length > MAX_RELAYED_QUERY else _unreadable(frame)
