"""What the demo prints: a few lines for people, or the same facts as one JSON object a line.

The paths and the reasons are read from the nodes' traces, which is what `gnutella trace GUID` shows of one node.
"""

from __future__ import annotations

import json
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TextIO

from gnutella.control.order import width_of
from gnutella.units import Guid, format_duration, format_size

if TYPE_CHECKING:
    from gnutella.node import Node
    from gnutella.searches import HitListOf

_ARROW = " → "
#: What stands between two facts of a line.
APART = "   "
#: Columns left of the facts, and one free at the right.
MARGIN = 13
#: Columns of a text beside its label: with fewer it stands below, and more do not read well.
LEAST_ROOM, MOST_ROOM = 30, 84
#: What the reasons that every demo has mean.  The last is no fault: a neighbour looked whether a port can be reached.
_IN_WORDS = {
    "duplicate": "seen before",
    "ttl_spent": "no hop left",
    "no_table_match": "no neighbour has such words",
    "own_message": "came back to its sender",
    "hit_quota": "more hits than are wanted",
    "connect_back": "probes of a port",
}
#: Kinds in the order of the closing table.
_KINDS = ("ping", "pong", "query", "query_hit", "push", "vendor", "bye")


class Show:
    """Writes to `out`; `is_json` chooses the form."""

    def __init__(self, is_json: bool, out: TextIO) -> None:
        self._is_json = is_json
        self._out = out

    def overlay(self, nodes: Mapping[str, Node], links: int, took_s: float) -> None:
        """All nodes run, are linked, and have hashed their files."""
        files = sum(node.library.catalog.file_count for node in nodes.values())
        facts = {"nodes": list(nodes), "links": links, "files": files, "took_s": round(took_s, 3)}
        text = f"{len(nodes)} nodes  {links} links up  {files} files shared"
        self._say("overlay", facts, [self._timed(text, took_s)])

    def query(self, words: str, found: HitListOf, first_s: float | None, nodes: Mapping[str, Node]) -> None:
        """One search: its hits, the way of each, and where and why it stopped."""
        travels = Travels(found.guid, nodes)
        paths = {
            str(source["servent_id"]): travels.path_to(str(source["servent_id"]))
            for row in found.rows
            for source in _sources(row)
        }
        shown = [_ARROW.join(path) for path in sorted(paths.values(), key=lambda path: (len(path), path)) if path]
        stops = travels.stops()
        facts = {
            "words": words,
            "guid": found.guid.hex(),
            "hits": len(found.rows),
            "first_hit_ms": None if first_s is None else round(first_s * 1000, 1),
            "messages": travels.messages,
            "paths": [path for path in paths.values() if path],
            "stopped": [{"node": node, "reason": reason} for node, reason in stops],
        }
        noun = "file" if len(found.rows) == 1 else "files"
        first = "" if first_s is None else f"   first hit {format_duration(first_s)}"
        quoted = words if words.startswith("urn:") else f'"{words}"'
        lines = [f"{quoted}   {len(found.rows)} {noun}{first}   {travels.messages} messages"]
        lines += [f"  found   {path}" for path in shown]
        lines += [f"  stopped at {node}: {reason}" for node, reason in stops]
        self._say("query", facts, lines)

    def download(self, row: Mapping[str, Any], asker: Node, nodes: Mapping[str, Node], took_s: float) -> None:
        """The finished download, its SHA-1 and tiger tree found right: from whom how much."""
        names = _names_by_address(nodes)
        sent = asker.transfers.received(int(row["id"]))
        parts = {names.get(address, address): count for address, count in sent.items() if count}
        facts = {
            "name": row["name"],
            "size": row["size"],
            "sources": parts,
            "sha1": "ok",
            "tth": "ok",
            "took_s": round(took_s, 3),
        }
        text = f"{row['name']}   {format_size(int(row['size']))} from {len(parts)} sources   sha1 ok   tth ok"
        lines = [self._timed(text, took_s)]
        lines += [f"  from    {name}   {format_size(count)}" for name, count in sorted(parts.items())]
        self._say("download", facts, lines)

    def anonymous(self, facts: Mapping[str, Any], sights: Iterable[Any]) -> None:
        """One file put and fetched by the relay layer, and what each node on its way could see."""
        others = facts["accepted_small_set"]
        lines = [
            f"{facts['name']}   {format_size(facts['size'])}   sha256 ok   {format_duration(facts['took_s'])}",
            f"  put by {facts['put_by']}   asked for by {facts['asked_by']}, through {facts['pivots']} pivots"
            f"   {facts['plain_queries']} queries in the clear",
            f"  {others} others hide nobody; 20 are wanted   accepted here: --accept-small-set {others}",
        ]
        self._say("anonymous", facts, lines)
        for number, sight in enumerate(sights):
            if self._is_json:
                told = {"node": sight.node, "role": sight.role, "saw": sight.saw, "hidden": sight.hidden}
                self._write({"step": "seen", **told, **sight.facts})
            else:
                self._lines("" if number else "seen by", self._sight(sight))

    def _sight(self, sight: Any) -> list[str]:
        lead = f"{sight.node:<8} {sight.role:<6}  "
        room = width_of(self._out) - MARGIN - len(lead)
        if room < LEAST_ROOM:
            texts = self._texts(sight, width_of(self._out) - MARGIN - 2)
            return [lead.rstrip(), *(f"  {text}" for text in texts)]
        first, *others = self._texts(sight, min(room, MOST_ROOM))
        return [lead + first, *(" " * len(lead) + text for text in others)]

    def _texts(self, sight: Any, room: int) -> list[str]:
        said = textwrap.wrap(f"{sight.saw}.", room)
        return said + textwrap.wrap(f"not: {sight.hidden}", room, subsequent_indent=" " * 5)

    def no_anonymous(self, why: str) -> None:
        """The relay layer is not there."""
        self._say("anonymous", {"left_out": why}, [why])

    def traffic(self, counts: Iterable[Mapping[str, int]]) -> None:
        """Messages by kind over all nodes."""
        total: Counter[str] = Counter()
        for node in counts:
            total.update(node)
        kinds = {kind: total[f"messages_rx_{kind}"] for kind in _KINDS}
        dropped = {name[8:]: count for name, count in sorted(total.items()) if name.startswith("dropped_")}
        facts = {"messages": kinds, "bytes": total["bytes_rx"], "dropped": dropped}
        parts = [f"{kind.replace('_', '-')} {count}" for kind, count in kinds.items() if count]
        lines = ["  ".join([*parts, f"bytes {format_size(total['bytes_rx'])}"])]
        if dropped:
            lines.append("dropped  " + APART.join(f"{in_words(reason)} {count}" for reason, count in dropped.items()))
        self._say("traffic", facts, lines)

    def ending(self, took_s: float) -> None:
        """What to try next."""
        if self._is_json:
            self._write({"step": "done", "took_s": round(took_s, 3)})
            return
        self._lines("next", ["gnutella init        write a settings file for a node of your own"])
        self._lines("", ["twistd -n gnutella   run it; then: gnutella status, search, get"])

    def kept(self, nodes: Mapping[str, Node]) -> None:
        """How to reach the nodes that are left running."""
        for name, node in nodes.items():
            facts = {"name": name, "directory": str(node.directory), "listen": node.links.listening}
            self._say("node", facts, [f"{name:8} gnutella --dir {node.directory} status"])
        if not self._is_json:
            self._lines("", ["Ctrl-C ends them and removes their directories."])

    # -- inside --------------------------------------------------------------------------------------------------------

    def _timed(self, text: str, took_s: float) -> str:
        return f"{text}   {format_duration(took_s)}"

    def _say(self, step: str, facts: Mapping[str, object], lines: list[str]) -> None:
        if self._is_json:
            self._write({"step": step, **facts})
        else:
            self._lines(step, lines)

    def _lines(self, title: str, lines: list[str]) -> None:
        room = width_of(self._out) - MARGIN
        for number, part in enumerate(part for line in lines for part in folded(line, room)):
            print(f" {title if number == 0 else '':10} {part}", file=self._out, flush=True)

    def _write(self, facts: Mapping[str, object]) -> None:
        print(json.dumps(facts, ensure_ascii=False), file=self._out, flush=True)


def in_words(reason: str) -> str:
    """A reason for which something is dropped, short and for people; those that a demo seldom has are named as they are."""
    return _IN_WORDS.get(reason) or reason.replace("_", " ")


def folded(line: str, room: int) -> list[str]:
    """`line` in pieces of at most `room` columns, broken only where three spaces set facts apart."""
    shown, *others = line.split(APART)
    lines = []
    for part in others:
        if len(shown) + len(APART) + len(part) <= room:
            shown += APART + part
        else:
            lines.append(shown)
            shown = f"    {part}"
    return [*lines, shown]


class Travels:
    """Where one query went, out of the traces of all nodes."""

    def __init__(self, guid: Guid, nodes: Mapping[str, Node]) -> None:
        self._by_id = _names_by_id(nodes)
        by_address = _names_by_address(nodes)
        self.messages = 0
        self._came_from: dict[str, str] = {}
        self._stops: list[tuple[str, str]] = []
        for name, node in nodes.items():
            passed_on = False
            for row in node.face.trace(guid) or ():
                step, other = str(row["step"]), by_address.get(str(row["link"]), str(row["link"]))
                if step == "received from":
                    self._came_from[name] = other
                elif step in ("forwarded to", "led to"):
                    self.messages += 1
                    passed_on = True
                elif step == "dropped from":
                    self._stops.append((name, f"{row['reason']}, from {other}"))
                elif step == "ttl spent":
                    self._stops.append((name, "its TTL was spent"))
                    passed_on = True
            if name in self._came_from and not passed_on:
                why = "a leaf, which passes nothing on" if node.router.is_leaf else "nobody else to pass it on to"
                self._stops.append((name, why))

    def path_to(self, servent_id: str) -> list[str]:
        """Names of the nodes from the one that asked to the one that has this servent id (hex)."""
        name = self._by_id.get(servent_id)
        if name is None:
            return []
        path = [name]
        while (before := self._came_from.get(path[0])) is not None and before not in path:
            path.insert(0, before)
        return path

    def stops(self) -> list[tuple[str, str]]:
        """(node, reason) of each end of the query's travels."""
        return sorted(self._stops)


def _names_by_id(nodes: Mapping[str, Node]) -> dict[str, str]:
    return {node.router.servent_id.hex(): name for name, node in nodes.items()}


def _names_by_address(nodes: Mapping[str, Node]) -> dict[str, str]:
    return {str(address): name for name, node in nodes.items() for address in node.links.addresses}


def _sources(row: Mapping[str, object]) -> list[Mapping[str, object]]:
    sources = row["sources"]
    assert isinstance(sources, list)
    return sources
