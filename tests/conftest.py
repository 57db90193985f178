"""What every test gets: the reactor on request, and a check that nothing is left in it.

Without the plugin (`-p no:twisted`, how the pure rooms are tested) there is no reactor and the check is off.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from twisted.python.failure import Failure

    from gnutella.testing.leaks import LeakWatch

pytest_plugins = ["pytester"]

settings.register_profile("default", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("long", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


#: Tests of these kinds may be skipped where a program is missing, but never in CI.
NEVER_SKIPPED_IN_CI = ("realtool", "packaging")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI (CI=true), a skipped test of NEVER_SKIPPED_IN_CI is a failed one."""
    report = yield
    is_needed = any(item.get_closest_marker(name) for name in NEVER_SKIPPED_IN_CI)
    if report.skipped and is_needed and os.environ.get("CI") == "true" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"must not be skipped in CI: {report.longrepr}"
    return report


def _has_reactor(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.pluginmanager.has_plugin("twisted"))


def _uses_reactor(request: pytest.FixtureRequest) -> bool:
    marked = hasattr(getattr(request.node, "obj", None), "_pytest_twisted_mark")
    return marked or "reactor" in request.fixturenames


@pytest.fixture(scope="session")
def reactor(request: pytest.FixtureRequest) -> Any:
    """The reactor that runs this test session."""
    if not _has_reactor(request):
        pytest.fail("this test needs the reactor; run it without -p no:twisted")
    from gnutella.testing.aio import current_reactor

    return current_reactor()


@pytest.fixture(autouse=True)
def leak_watch(request: pytest.FixtureRequest) -> Iterator[LeakWatch | None]:
    """Fail a test of the reactor that leaves failures, delayed calls, sockets or children behind."""
    if not _has_reactor(request) or not _uses_reactor(request):
        yield None
        return
    import pytest_twisted
    from twisted.internet.defer import Deferred

    from gnutella.testing.aio import current_reactor, turns
    from gnutella.testing.leaks import GRACE_TURNS, LeakWatch

    def let_turn() -> None:
        pytest_twisted.blockon(Deferred.fromCoroutine(turns(current_reactor())))

    let_turn()  # the waker exists after the first turn only
    watch = LeakWatch(current_reactor())
    watch.start()
    yield watch
    for _ in range(GRACE_TURNS):
        let_turn()
        if not watch.left_open():
            break
    if complaints := watch.stop():
        pytest.fail("left behind by this test:\n" + "\n".join(complaints), pytrace=False)


@pytest.fixture
def flush_failures(leak_watch: LeakWatch | None) -> Callable[..., list[Failure]]:
    """`flush_failures(SomeError)` takes out failures that the test provoked on purpose, and returns them."""
    if leak_watch is None:
        pytest.fail("flush_failures belongs to tests that use the reactor")
    return leak_watch.flush
