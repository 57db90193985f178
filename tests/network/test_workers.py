"""Jobs in threads: results, order, cancellation and a stop that leaves nothing behind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import CancelledError

from gnutella.network.workers import Workers, WorkersStopped


class Calls:
    """Stands for the reactor: what threads hand over waits here until `turn` runs it."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[tuple[Callable[..., object], tuple[object, ...]]] = queue.Queue()

    def callFromThread(self, callable: Callable[..., object], *args: object) -> None:
        self.waiting.put((callable, args))

    def turn(self) -> None:
        fn, args = self.waiting.get(timeout=30)
        fn(*args)


def stop(calls: Calls, workers: Workers, **how: bool) -> None:
    ended: list[None] = []
    workers.stop(**how).addCallback(ended.append)
    while not ended:
        calls.turn()


def test_result_arrives_through_the_reactor_and_not_in_the_thread() -> None:
    results: list[Any] = []
    calls = Calls()
    workers = Workers(calls)
    workers.run(lambda n: (n + 1, threading.current_thread()), 41).addCallback(results.append)
    assert results == []
    calls.turn()
    assert results[0][0] == 42
    assert results[0][1] is not threading.current_thread()
    stop(calls, workers)


def test_exception_becomes_a_failure_of_the_deferred() -> None:
    failures: list[Any] = []
    calls = Calls()
    workers = Workers(calls)
    workers.run(int, "x").addBoth(failures.append)
    calls.turn()
    assert failures[0].check(ValueError)
    stop(calls, workers)


def test_one_thread_keeps_the_order_of_jobs() -> None:
    order: list[int] = []
    calls = Calls()
    workers = Workers(calls, count=1)
    for n in range(20):
        workers.run(order.append, n)
    stop(calls, workers, finish=True)
    assert order == list(range(20))


def test_no_more_threads_than_allowed() -> None:
    names: set[str] = set()
    calls, gate = Calls(), threading.Event()
    workers = Workers(calls, count=2, name="counted")

    def job() -> None:
        gate.wait(30)
        names.add(threading.current_thread().name)

    for _ in range(8):
        workers.run(job)
    assert sum(t.name.startswith("counted") for t in threading.enumerate()) == 2
    assert workers.pending == 8
    gate.set()
    stop(calls, workers, finish=True)
    assert names <= {"counted-0", "counted-1"}
    assert workers.pending == 0
    assert not any(t.name.startswith("counted") for t in threading.enumerate())


def test_cancelled_job_that_waits_is_never_run() -> None:
    ran: list[int] = []
    failures: list[Any] = []
    calls, gate = Calls(), threading.Event()
    workers = Workers(calls, count=1)
    workers.run(gate.wait, 30)
    waiting = workers.run(ran.append, 1)
    waiting.addBoth(failures.append)
    waiting.cancel()
    gate.set()
    stop(calls, workers, finish=True)
    assert ran == []
    assert failures[0].check(CancelledError)


def test_stop_fails_what_is_queued_and_refuses_what_comes_later() -> None:
    failures: list[Any] = []
    calls, gate = Calls(), threading.Event()
    workers = Workers(calls, count=1)
    begun = threading.Event()

    def job() -> None:
        begun.set()
        gate.wait(30)

    workers.run(job)
    assert begun.wait(30)
    workers.run(int, "1").addBoth(failures.append)
    ended = workers.stop()
    assert failures[0].check(WorkersStopped)
    assert not ended.called
    gate.set()
    while not ended.called:
        calls.turn()
    late: list[Any] = []
    workers.run(int, "1").addBoth(late.append)
    assert late[0].check(WorkersStopped)


@pytest.mark.parametrize("text, expected", [("7", 7), ("x", None)])
def test_inline_runs_at_once(text: str, expected: int | None) -> None:
    results: list[Any] = []
    Workers(Calls(), inline=True).run(int, text).addBoth(results.append)
    assert results[0] == expected or results[0].check(ValueError)
