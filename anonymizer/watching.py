"""What one node could see of a request: what came and left at its links, and what it was asked for as a pivot, recorded.

    observers = {name: node.layer.observe() for ...}     # before the request
    sights_of(observers, "edge-1")                        # after it: for each node on its way, role by role, what it saw

For demonstrations and tests: nothing is recorded in a node that nobody observes.  An observer knows no more than its node does:
cells with the neighbour they came from or went to, and the keys that a circuit asked its pivot for.  Only `sights_of` has the
observers of all nodes, and so knows which of it belongs to the one request: a node itself does not.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias, TypeVar

from anonymizer.cells import Cell, Command
from anonymizer.seams import Found, Routes
from anonymizer.wire import Block, BlockType, Fetch, Open, Phase, parse
from gnutella.units import format_size

Port: TypeAlias = tuple[bytes, int]
_T = TypeVar("_T")

#: Cells and keys that an observer keeps; what comes after them is not recorded.
MAX_RECORDS: Final = 20_000
_RECORDED: Final = frozenset((Command.OPEN, Command.CELL, Command.FETCH, Command.BLOCK))


class Watch(Protocol):
    """Who is told what a node sees."""

    def cell(self, peer: bytes, cell: Cell, is_out: bool) -> None:
        """A cell came from that neighbour, or left for it."""

    def asked(self, routing: bytes) -> None:
        """A circuit wants that key of this node, its pivot."""


class WatchedRoute:
    """The route as a pivot uses it; what it is asked for is told to whoever watches."""

    def __init__(self, route: Routes, watch: Callable[[], Watch | None]) -> None:
        self._route, self._watch = route, watch
        self.store = route.store

    def fetch(
        self, type: BlockType, routing: bytes, done: Callable[[Found], None], now: float, second: bool = False
    ) -> None:
        """As `Routes.fetch`."""
        if (watch := self._watch()) is not None:
            watch.asked(routing)
        self._route.fetch(type, routing, done, now, second)


@dataclass(slots=True)
class Circuit:
    """A circuit at one node; no `came`: it began here, no `goes`: it ended here.  Cells are those that say something."""

    sealed: bytes
    pivot: bytes
    came: Port | None = None
    goes: Port | None = None
    leaves_stem: bool = False
    onward: int = 0
    back: int = 0
    moved: int = 0


@dataclass(slots=True)
class Request:
    """A key request at one node: who asked, and whom it asked in turn; a block came back to `came` if it `has_block`."""

    routing: bytes
    came: bytes | None = None
    goes: bytes | None = None
    has_block: bool = False


class Observer:
    """A Watch that keeps what it is told, and reads circuits and key requests from it."""

    def __init__(self, node_id: bytes) -> None:
        self.id = node_id
        self._cells: list[tuple[bytes, Cell, bool]] = []
        #: Keys that circuits wanted of this node, each once, in their order.
        self.keys: dict[bytes, None] = {}

    def cell(self, peer: bytes, cell: Cell, is_out: bool) -> None:
        if cell.command in _RECORDED and len(self._cells) < MAX_RECORDS:
            self._cells.append((peer, cell, is_out))

    def asked(self, routing: bytes) -> None:
        if len(self.keys) < MAX_RECORDS:
            self.keys[routing] = None

    def circuits(self) -> list[Circuit]:
        """Those that were opened while this was watching, with the cells that went over them."""
        found: list[Circuit] = []
        by_port: dict[tuple[Port, bool], tuple[Circuit, bool]] = {}
        for peer, cell, is_out in self._cells:
            port = peer, cell.channel
            if cell.command is Command.OPEN:
                body = parse(cell)
                assert isinstance(body, Open)
                circuit = self._opened(found, port, body, is_out)
                # What belongs to it from now on, and whether that goes towards the pivot.
                by_port[port, is_out] = circuit, True
                by_port[port, not is_out] = circuit, False
            elif cell.command is Command.CELL and (known := by_port.get((port, is_out))) is not None:
                circuit, is_onward = known
                # At a relay each cell is seen twice, coming and leaving.
                if is_out or (circuit.came is None if not is_onward else circuit.goes is None):
                    circuit.onward += is_onward
                    circuit.back += not is_onward
                    circuit.moved += cell.size
        return found

    def _opened(self, found: list[Circuit], port: Port, body: Open, is_out: bool) -> Circuit:
        if not is_out:
            found.append(Circuit(body.sealed, body.pivot_id, came=port))
            return found[-1]
        for circuit in reversed(found):
            if circuit.sealed == body.sealed and circuit.goes is None:
                break
        else:
            circuit = Circuit(body.sealed, body.pivot_id)
            found.append(circuit)
        circuit.goes, circuit.leaves_stem = port, body.phase is Phase.BRIDGE
        return circuit

    def requests(self) -> dict[bytes, Request]:
        """Key requests, by their ids."""
        found: dict[bytes, Request] = {}
        for peer, cell, is_out in self._cells:
            if cell.command is Command.FETCH:
                body = parse(cell)
                assert isinstance(body, Fetch)
                request = found.setdefault(body.uid, Request(body.routing))
                if is_out:
                    request.goes = peer
                elif request.came is None:
                    request.came = peer
            elif cell.command is Command.BLOCK:
                block = parse(cell)
                assert isinstance(block, Block)
                if block.uid in found:
                    found[block.uid].has_block = True
        return found


@dataclass(frozen=True, slots=True)
class Sight:
    """What a node saw in one role; `saw` and `hidden` are said of it in words, `facts` are the numbers behind them."""

    node: str
    role: str
    saw: str
    hidden: str
    facts: dict[str, Any] = field(default_factory=dict)


def sights_of(observers: Mapping[str, Observer], asker: str) -> list[Sight]:
    """All roles of all nodes on the way of what that node asked for, in the order of the way."""
    return _Way(observers, asker).sights()


class _Way:
    """One request, put together from what all nodes saw."""

    def __init__(self, observers: Mapping[str, Observer], asker: str) -> None:
        self._observers, self._asker = observers, asker
        self._names = {observer.id: name for name, observer in observers.items()}
        own = [circuit for circuit in observers[asker].circuits() if circuit.came is None]
        self._own = own
        sealed = {circuit.sealed for circuit in own}
        self._circuits = {
            name: [circuit for circuit in observer.circuits() if circuit.sealed in sealed and circuit.came is not None]
            for name, observer in observers.items()
        }
        self._pivots = [name for name in observers if any(c.goes is None for c in self._circuits[name])]
        keys = {key for name in self._pivots for key in observers[name].keys}
        self._requests = {
            name: [request for request in observer.requests().values() if request.routing in keys]
            for name, observer in observers.items()
        }

    def sights(self) -> list[Sight]:
        found = [self._origin(), *self._relays(), *self._at_pivots()]
        for name, requests in self._requests.items():
            found += self._handed_on(name, [one for one in requests if one.came and one.goes and one.has_block])
            found += self._gave(name, [one for one in requests if one.came and not one.goes and one.has_block])
        return found

    def _called(self, node: bytes | None) -> str:
        return self._names.get(node or b"", "somebody")

    def _listed(self, nodes: Sequence[bytes]) -> str:
        return _joined(list(dict.fromkeys(self._called(node) for node in nodes)))

    def _origin(self) -> Sight:
        own = self._own
        first = self._listed([circuit.goes[0] for circuit in own if circuit.goes])
        onward, back, moved = _sums(own)
        saw = (
            f"It asked: {_count(len(own), 'circuit')}, by {first} alone; {_count(onward, 'sealed cell')} there, "
            f"{back} back ({format_size(moved)})"
        )
        facts = {"to": first, "circuits": len(own), "cells": onward + back, "bytes": moved}
        return Sight(self._asker, "origin", saw, "who has the blocks, and who put them there", facts)

    def _relays(self) -> Iterator[Sight]:
        """Along the way, from the origin on."""
        waiting = [circuit.goes[0] for circuit in self._own if circuit.goes]
        done: set[bytes] = set()
        while waiting:
            node = waiting.pop(0)
            if node in done or node not in self._names:
                continue
            done.add(node)
            passing = [circuit for circuit in self._circuits[self._names[node]] if circuit.goes]
            for group in _grouped(passing, lambda c: (c.came and c.came[0], c.leaves_stem)):
                yield self._relay(self._names[node], group)
            waiting += [circuit.goes[0] for circuit in passing if circuit.goes]

    def _relay(self, name: str, circuits: Sequence[Circuit]) -> Sight:
        came = self._called(circuits[0].came and circuits[0].came[0])
        ways = [(self._called(one.goes and one.goes[0]), self._called(one.pivot)) for one in circuits]
        onward, back, moved = _sums(circuits)
        on = _joined(list(dict.fromkeys(f"{goes} (pivot {pivot})" for goes, pivot in ways)))
        saw = (
            f"{_count(len(circuits), 'circuit')} from {came}, on to {on}; "
            f"{_count(onward + back, 'sealed cell')} ({format_size(moved)})"
        )
        facts: dict[str, Any] = {"from": came, "to": [goes for goes, _ in ways], "pivots": [pivot for _, pivot in ways]}
        facts |= {"circuits": len(circuits), "cells": onward + back, "bytes": moved}
        role = "bridge" if circuits[0].leaves_stem else "stem"
        return Sight(name, role, saw, f"what is asked; whether {came} asks it or passes it on", facts)

    def _at_pivots(self) -> Iterator[Sight]:
        for name in self._pivots:
            ended = [circuit for circuit in self._circuits[name] if circuit.goes is None]
            came = self._listed([circuit.came[0] for circuit in ended if circuit.came])
            keys = self._observers[name].keys
            begun = [one for one in self._requests[name] if one.came is None and one.goes]
            others = [one.goes for one in begun if one.goes]
            saw = f"It opened the seal of what {came} brought: {_wanted(len(keys))}"
            if others:
                saw += f"; it asked {self._listed(others)} for {len({one.routing for one in begun})} in its own name"
            elif keys:
                saw += "; it holds what is wanted"
            facts = {"from": came, "keys": len(keys), "asked": sorted({self._called(node) for node in others})}
            yield Sight(name, "pivot", saw, f"who wants it: {came} is only the last hop", facts)

    def _handed_on(self, name: str, requests: Sequence[Request]) -> Iterator[Sight]:
        for group in _grouped(requests, lambda one: (one.came, one.goes)):
            came, goes = self._called(group[0].came), self._called(group[0].goes)
            saw = f"{came} asked for {_count(len(group), 'key')}; it asked {goes}, and passed the sealed blocks back"
            facts = {"from": came, "to": goes, "keys": len(group)}
            yield Sight(name, "route", saw, f"what they say; for whom {came} asks", facts)

    def _gave(self, name: str, requests: Sequence[Request]) -> Iterator[Sight]:
        for group in _grouped(requests, lambda one: one.came):
            came = self._called(group[0].came)
            saw = f"{came} asked for {_count(len(group), 'key')}; it holds the sealed blocks, and gave them"
            facts = {"from": came, "keys": len(group)}
            yield Sight(name, "holder", saw, f"what they say; for whom {came} asks", facts)


def _sums(circuits: Sequence[Circuit]) -> tuple[int, int, int]:
    return sum(c.onward for c in circuits), sum(c.back for c in circuits), sum(c.moved for c in circuits)


def _grouped(rows: Sequence[_T], by: Callable[[_T], object]) -> list[list[_T]]:
    groups: dict[object, list[_T]] = {}
    for row in rows:
        groups.setdefault(by(row), []).append(row)
    return list(groups.values())


def _wanted(keys: int) -> str:
    return f"{_count(keys, 'key')} wanted" if keys else "nothing was wanted yet"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _joined(texts: Sequence[str]) -> str:
    return " and ".join([", ".join(texts[:-1]), texts[-1]] if len(texts) > 1 else texts)
