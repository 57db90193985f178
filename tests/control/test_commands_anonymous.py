"""The commands of the relay layer: what they ask of it, and that nothing anonymous ever becomes a plain request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gnutella.control.call import Call, Memory
from gnutella.control.commands import by_name
from gnutella.control.relay_view import Terms
from gnutella.control.view import Row
from gnutella.errors import UserError
from gnutella.testing.fake_node import FakeNode

JOB: Row = {"id": 1, "state": "fetching", "name": "a.txt", "size": 10, "downloaded": 0, "level": "relay"}


class FakeJob:
    def __init__(self, end: Row, error: Exception | None = None) -> None:
        self.row: Row = JOB
        self.is_over = False
        self.error: Exception | None = None
        self.cancelled = False
        self._end, self._failure = end, error
        self._calls: list[Callable[[], None]] = []

    def changed(self, call: Callable[[], None]) -> Callable[[], None]:
        self._calls.append(call)
        return lambda: self._calls.remove(call)

    def cancel(self) -> None:
        self.cancelled = True

    def finish(self) -> None:
        self.row, self.is_over, self.error = {**JOB, **self._end}, True, self._failure
        for call in list(self._calls):
            call()


class FakeSeeking:
    told: Row = {"level": "relay", "pivots": 1}

    def __init__(self) -> None:
        self.is_over = False
        self.error: Exception | None = None

    def stop(self) -> None:
        self.is_over = True


class FakeLayer:
    """A layer whose view keeps what it was asked."""

    def __init__(self) -> None:
        self.view: Any = self
        self.asked: list[tuple[object, ...]] = []
        self.job = FakeJob({"state": "done", "downloaded": 10, "path": "/incoming/a.txt"})
        self.seeking = FakeSeeking()
        self.rows: Sequence[Row] = ()
        self.searched_at = 0.0

    def get(self, what: str, to: str, terms: Terms) -> FakeJob:
        self.asked.append(("get", what, to, terms))
        return self.job

    def put(self, path: str, document: str, terms: Terms, *, convergent: bool, unlisted: bool) -> FakeJob:
        self.asked.append(("put", path, document, terms, convergent, unlisted))
        return self.job

    def search(
        self, words: str, kinds: Sequence[str], limit: int, terms: Terms, gateway: bool, hit: Callable[[Row], None]
    ) -> FakeSeeking:
        self.asked.append(("search", words, tuple(kinds), limit, terms, gateway))
        for row in self.rows:
            hit(row)
        return self.seeking


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def node(clock: Clock, tmp_path: Any) -> FakeNode:
    node = FakeNode(str(tmp_path), clock)
    node.layer = FakeLayer()
    return node


class Run:
    """One command under way."""

    def __init__(
        self, node: FakeNode, clock: Clock, name: str, values: dict[str, object], memory: Memory | None = None
    ) -> None:
        self.rows: list[dict[str, Any]] = []
        command = by_name(name)
        whole = {param.name: param.default for param in command.params if param.default is not None} | values
        call = Call(node, clock, command, whole, lambda row: self.rows.append(dict(row)), memory=memory)
        self.error: BaseException | None = None
        self.is_done = False
        assert command.run is not None
        running: Deferred[None] = Deferred.fromCoroutine(command.run(call))  # type: ignore[arg-type]
        running.addCallbacks(lambda _: setattr(self, "is_done", True), lambda f: setattr(self, "error", f.value))


def test_a_fetch_is_followed_to_its_end(node: FakeNode, clock: Clock) -> None:
    run = Run(node, clock, "anonymous.get", {"what": "arl:chk:x", "accept-small-set": 4})
    clock.advance(0.5)
    assert not run.is_done
    node.layer.job.finish()
    assert run.is_done
    assert [row["state"] for row in run.rows] == ["fetching", "done"]
    assert node.layer.asked == [("get", "arl:chk:x", "", Terms("relay", 4))]


def test_get_with_a_level_is_the_same_and_asks_nothing_of_the_plain_overlay(node: FakeNode, clock: Clock) -> None:
    run = Run(node, clock, "download.add", {"what": "1", "to": "b.txt", "anonymous": "strong"})
    node.layer.job.finish()
    assert run.is_done
    assert node.layer.asked == [("get", "1", "b.txt", Terms("strong"))]
    assert not node.transfers


def test_what_fails_says_so_by_name(node: FakeNode, clock: Clock) -> None:
    node.layer.job = FakeJob({"state": "failed"}, UserError("DataNotFound: nobody has it", "", 1))
    run = Run(node, clock, "anonymous.put", {"file": "/tmp/a", "as": "arl:own:x/notes"})
    node.layer.job.finish()
    assert "DataNotFound" in str(run.error)
    assert run.rows[-1]["state"] == "failed"


def test_waiting_ends_with_75_and_the_job_goes_on(node: FakeNode, clock: Clock) -> None:
    run = Run(node, clock, "anonymous.get", {"what": "arl:chk:x", "wait": 2.0})
    clock.pump([0.5] * 5)
    assert isinstance(run.error, UserError) and run.error.exit_code == 75
    assert not node.layer.job.cancelled


def test_hits_show_how_they_were_found_and_stop_at_the_limit(node: FakeNode, clock: Clock) -> None:
    node.layer.rows = [{"hit": n, "name": f"{n}", "size": 1, "uri": "arl:chk:y"} for n in (1, 2, 3)]
    run = Run(node, clock, "search.start", {"words": ("song",), "limit": 2, "anonymous": "relay", "wait": 1.0})
    clock.advance(1.0)
    assert run.is_done and node.layer.seeking.is_over
    assert [(row["hit"], row["level"], row["pivots"]) for row in run.rows] == [(1, "relay", 1), (2, "relay", 1)]
    assert not node.searches, "no query in the clear"


def test_a_hit_of_the_layer_is_not_fetched_in_the_clear(node: FakeNode, clock: Clock) -> None:
    memory = Memory()
    search = Run(node, clock, "anonymous.search", {"words": ("song",), "wait": 0.1}, memory)
    clock.advance(0.2)
    assert isinstance(search.error, UserError) and search.error.exit_code == 1
    for what in ("1", "arl:chk:abc"):
        got = Run(node, clock, "download.add", {"what": what}, memory)
        assert isinstance(got.error, UserError) and got.error.exit_code == 64, what
        assert "relay layer" in str(got.error)
    assert not node.transfers
    Run(node, clock, "search.start", {"words": ("alice",), "wait": 0.0}, memory)
    assert not memory.is_anonymous


def test_a_command_line_knows_that_the_last_search_of_the_node_was_anonymous(node: FakeNode, clock: Clock) -> None:
    node.layer.searched_at = 7.0
    got = Run(node, clock, "download.add", {"what": "1"})
    assert isinstance(got.error, UserError) and "--anonymous relay" in str(got.error)
    Run(node, clock, "search.start", {"words": ("alice",), "wait": 0.0})
    got = Run(node, clock, "download.add", {"what": "1"})
    assert "--anonymous" not in str(got.error)


def test_without_the_layer_every_command_of_it_is_refused(node: FakeNode, clock: Clock) -> None:
    node.layer = None
    for name in ("status", "explain", "get", "put", "search", "share", "unshare", "shares", "jobs", "cancel", "key"):
        run = Run(node, clock, f"anonymous.{name}", {"what": "1", "file": "/a", "words": ("b",), "name": "a", "id": 1})
        assert isinstance(run.error, UserError) and run.error.exit_code == 78, name
    assert not node.searches
