"""How stems could give away whose a circuit is, and that they do not: pitfalls 1, 2, 3, 9, 12 and 13 of the design."""

from __future__ import annotations

import ast
import math
import random
from collections import Counter
from pathlib import Path

from anonymizer import stem as stem_module
from anonymizer.cells import HEADER_SIZE, Cell, Command
from anonymizer.circuits import AGE_S, Circuits
from anonymizer.wire import Ciphertext, Close, CloseReason, Credit, Open, Phase, Post, cell_of, parse
from gnutella.testing.lone_stem import LARGE, PIVOT, SMALL, A, B, C, LoneStem, forwarding, seal
from gnutella.testing.relay_net import RelayNet

#: Two-sample Kolmogorov-Smirnov: beyond this many times sqrt((n + m) / nm), samples differ with p < .001.
KS_BOUND = 1.95


def differ(one: list[float], other: list[float]) -> bool:
    """Whether two samples are of different laws (Kolmogorov-Smirnov)."""
    marks = sorted(one + other)
    apart = max(
        abs(sum(x <= mark for x in one) / len(one) - sum(x <= mark for x in other) / len(other)) for mark in marks
    )
    return apart > KS_BOUND * math.sqrt((len(one) + len(other)) / (len(one) * len(other)))


def to_guard() -> LoneStem:
    """One where circuits from C go where own ones do."""
    for seed in range(1_000):
        made = LoneStem(seed)
        if made.next_edge(C) == A and not made.ends_stem(C):
            return made
    raise AssertionError("no such seed")


def first(made: LoneStem, node: bytes, command: Command) -> tuple[float, Cell]:
    """When the next such cell leaves for the node, and the cell."""
    while (when := made.next_at) is not None:
        for to, cell in made.due(when):
            if to == node and cell.command is command:
                return when, cell
    raise AssertionError("nothing left")


def test_own_openings_have_no_byte_that_others_have_not() -> None:
    """Pitfall 1: all that is not drawn is the same, and what is drawn has the same law."""
    kinds: list[Counter[bytes]] = [Counter(), Counter()]
    channels: list[list[float]] = [[], []]
    waits: list[list[float]] = [[], []]
    made = to_guard()
    for number in range(300):
        now = 1_000.0 * number
        for kind in (0, 1):
            sealed = made._chance.getrandbits(8 * 1_472).to_bytes(1_472, "big")
            if kind:
                made.receive(C, cell_of(Open(Phase.STEM, PIVOT, 0, sealed), 2 * number + 3), now)
            else:
                assert made.open(PIVOT, sealed, now) is not None
            when, cell = first(made, A, Command.OPEN)
            data = cell.encode()
            kinds[kind][data[:4] + data[8:].replace(sealed, b"")] += 1
            channels[kind].append(cell.channel)
            waits[kind].append(when - now)
        made.tick(now + 999)
    assert kinds[0] == kinds[1]
    assert len(kinds[0]) == 1
    assert not differ(*channels)
    assert not differ(*waits)


def test_an_edge_has_one_way_for_all_that_comes_by_it() -> None:
    """Pitfall 2: circuits and posts, over a day of them, tell no more than the first."""
    ways: Counter[tuple[bytes, Phase]] = Counter()
    for seed in range(8):
        made = LoneStem(seed)
        made.link_up(PIVOT, is_client=False)
        went = set()
        for number in range(250):
            now = 360.0 * number
            sealed = seal(number)
            body = Post(Phase.STEM, PIVOT, 0, sealed) if number % 3 else Open(Phase.STEM, PIVOT, 0, sealed)
            made.receive(C, cell_of(body, 0 if number % 3 else 2 * number + 3), now)
            for to, found in made.sent(now + 100):
                if isinstance(found, Open | Post):
                    went.add((to, found.phase))
            made.tick(now + 100)
        assert len(went) == 1
        ways.update(went)
    assert len(ways) > 1


def test_nothing_is_put_onto_an_edge_but_where_it_is_the_same_for_own_and_others() -> None:
    """Pitfall 3: who adds a place from which cells are sent has to think of this test."""
    tree = ast.parse(Path(stem_module.__file__).read_text("utf-8"))
    places = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("later", "now")
        and ast.unparse(call.func.value) == "self._outbox"
    }
    # Cells, openings and closes; posts; credit; refusals, which origins never make; cells of no circuit.
    assert places == {"enqueue_from", "_post", "_grant", "_refuse", "send"}


def test_an_origin_gives_credit_as_late_as_a_relay() -> None:
    """Pitfall 3: who sends cells down cannot tell by the credit whether they were passed on."""
    waits: dict[bool, list[float]] = {}
    for is_own in (True, False):
        made = to_guard()
        found = waits[is_own] = []
        if is_own:
            made.open(PIVOT, seal(1), 0.0)
            channel = first(made, A, Command.OPEN)[1].channel
            back = 0
        else:
            cell, _, channel = made.circuit()
            back = cell.channel
        for number in range(400):
            now = 1_000.0 + 50 * number
            for _ in range(8):
                made.receive(A, cell_of(Ciphertext(LARGE), channel), now)
            found.append(first(made, A, Command.CREDIT)[0] - now)
            made.due(now + 40)
            if back:
                made.receive(C, cell_of(Credit(32), back), now + 40)
    assert not differ(waits[True], waits[False])


def test_no_number_of_a_circuit_is_on_two_links() -> None:
    """Pitfall 9: of what a relay gets, nothing but what the pivot reads is in what it sends."""
    made = forwarding()
    bits = [0] * 32
    heads = set()
    for number in range(400):
        channel = made._chance.getrandbits(31) << 1 | 1
        now = 1_000.0 * number
        made.receive(C, cell_of(Open(Phase.STEM, PIVOT, 0, seal(number)), channel), now)
        (cell,) = (one for _, one in made.due(now + 100) if one.command is Command.OPEN)
        made.receive(C, cell_of(Ciphertext(SMALL), channel), now + 100)
        ((_, second),) = made.due(now + 200)
        assert second.channel == cell.channel != channel
        for bit in range(1, 32):
            bits[bit] += (cell.channel ^ channel) >> bit & 1
        data = second.encode()
        heads.add(data[:4] + data[8:HEADER_SIZE])
        made.tick(now + 900)
    assert heads == {cell_of(Ciphertext(SMALL), 1).encode()[:4] + cell_of(Ciphertext(SMALL), 1).encode()[8:HEADER_SIZE]}
    assert all(140 < count < 260 for count in bits[1:])


def test_channels_of_a_path_have_nothing_in_common() -> None:
    """Pitfall 9, on whole paths: each channel is of one link, and the two directions of a link draw alike."""
    net = RelayNet(20, seed=3, more_links=2)
    for number in range(30):
        origin, pivot = net.rng.sample(net.nodes, 2)
        origin.stem.open(pivot.id, seal(number), net.clock.now)
        net.wake(origin)
        net.clock.run(net.clock.now + 5)
    links: dict[int, set[frozenset[bytes]]] = {}
    for node in net.nodes:
        for came, to, cell in node.seen:
            links.setdefault(cell.channel, set()).add(frozenset((came, to)))
    assert len(links) > 60
    assert all(len(pairs) == 1 for pairs in links.values())


def test_circuits_that_are_killed_take_no_other_way_the_next_time() -> None:
    """Pitfall 12: two hundred circuits killed in every way there is; one first hop, and ends that look alike."""
    made = LoneStem()
    rng = random.Random(5)
    first_hops: Counter[bytes] = Counter()
    now = 0.0
    for number in range(200):
        now += 1_000
        own = made.open(PIVOT, seal(number), now)
        assert own is not None
        opened = [(to, cell) for to, cell in made.due(now + 10) if cell.command is Command.OPEN]
        first_hops.update(to for to, _ in opened)
        channel = opened[0][1].channel
        how = rng.randrange(3)
        if how == 0:
            made.receive(A, cell_of(Close(rng.choice(list(CloseReason))), channel), now + 10)
        elif how == 1:
            made.link_down(A, now + 10)
            assert made.open(PIVOT, seal(1_000 + number), now + 20) is None
            made.link_up(A, is_client=False)
        else:
            for _ in range(65):
                made.receive(A, cell_of(Ciphertext(LARGE), channel), now + 10)
        assert own in made.ends
        assert {to for to, _ in made.due(now + 500)} <= {A}
        made.tick(now + 500)
    assert first_hops == {A: 200}
    assert made.guards.ids == [A, B]


def test_an_own_end_looks_like_one_that_was_passed_on() -> None:
    """Pitfall 12: the same bytes but for the channel."""
    made = to_guard()
    cells = []
    for number in range(2):
        if number:
            cell, _, _ = made.circuit(7)
            made.receive(C, cell_of(Close(CloseReason.DONE), cell.channel), 200.0)
        else:
            own = made.open(PIVOT, seal(1), 0.0)
            assert own is not None
            made.due(50.0)
            made.close(own, CloseReason.DONE, 50.0)
            made.close(own, CloseReason.DONE, 51.0)
        cells.append(first(made, A, Command.CLOSE)[1].encode())
    assert cells[0][:4] + cells[0][8:] == cells[1][:4] + cells[1][8:]
    assert parse(cell_of(Close(CloseReason.DONE), 1)) == Close(CloseReason.DONE)
    assert made.circuits == 0


def test_who_ends_an_old_circuit_is_any_of_those_on_its_way() -> None:
    """Pitfall 13: every node has the same law, which has no end, so whose time is over first tells nothing."""
    rng = random.Random(2)
    nodes = [Circuits(rng) for _ in range(6)]
    firsts: Counter[int] = Counter()
    for number in range(600):
        ends = []
        for place, node in enumerate(nodes):
            assert node.connect((A, number), (B, number), False, 0.0)
            way = node.get((A, number))
            assert way is not None
            ends.append((way.ends_at, place))
            assert way.ends_at > AGE_S
            assert len(node.over(AGE_S)) == 1  # idle
            node.forget((A, number))
        firsts[min(ends)[1]] += 1
    assert all(abs(firsts[place] - 100) < 3 * math.sqrt(600 / 6 * 5 / 6) for place in range(6))
