"""SIGHUP: settings are read again, logs are opened anew, and nothing a person wrote wrongly hurts."""

from __future__ import annotations

import gc
import os
import signal
import weakref
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.python.logfile import LogFile

from gnutella.control.events import Journal
from gnutella.errors import UserError
from gnutella.reload import Reload, reopen_logs
from gnutella.settings_file import Loaded, load


class Node:
    """What Reload touches of a node."""

    def __init__(self, loaded: Loaded) -> None:
        self.config = loaded
        self.is_ready = True
        self.journal = Journal(Clock().seconds)
        self.reactor = self
        self.calls: list[Callable[[], object]] = []
        self.safety = self.blocklists = self
        self.lists_read = 0

    def reload(self) -> None:
        self.lists_read += 1

    def use_settings(self, loaded: Loaded) -> None:
        self.config = loaded

    def callFromThread(self, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def changes(self) -> list[Any]:
        return [event.data for event in self.journal.since(0) if event.type == "config_changed"]


class File:
    """A settings file that is read like the daemon's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.write("")

    def write(self, text: str) -> None:
        self.path.write_text(text)

    def read(self, runtime: Mapping[str, object]) -> Loaded:
        return load(str(self.path), {}, {}, runtime)


@pytest.fixture
def file(tmp_path: Path) -> File:
    return File(tmp_path / "gnutella.toml")


def test_changed_settings_are_used_and_told(file: File) -> None:
    node: Any = Node(file.read({}))
    file.write("[transfers]\nmax_uploads = 7\n")
    Reload(node, file.read).reload()
    assert node.config.settings.transfers.max_uploads == 7
    assert node.changes() == [{"key": "transfers.max_uploads", "value": 7}]


def test_blocklists_are_read_again_even_if_the_settings_cannot_be(file: File) -> None:
    node: Any = Node(file.read({}))
    Reload(node, file.read).reload()
    file.write("[net")
    Reload(node, file.read).reload()
    assert node.lists_read == 2


def test_run_time_changes_stay_on_top(file: File) -> None:
    node: Any = Node(file.read({"transfers.max_uploads": 3}))
    file.write("[transfers]\nmax_uploads = 7\nmax_downloads = 2\n")
    Reload(node, file.read).reload()
    assert node.config.settings.transfers.max_uploads == 3
    assert node.config.settings.transfers.max_downloads == 2
    assert [row["key"] for row in node.config.changes()] == ["transfers.max_uploads"]


def test_a_file_that_cannot_be_read_changes_nothing(file: File) -> None:
    node: Any = Node(file.read({}))
    before = node.config
    for wrong in ("[transfers]\nmax_uploads = -1\n", "[net", "[network]\nrolle = 1\n"):
        file.write(wrong)
        Reload(node, file.read).reload()
        assert node.config is before
        with pytest.raises(UserError):
            file.read({})
    assert node.changes() == []


def test_a_node_that_is_not_ready_keeps_what_it_started_with(file: File) -> None:
    node: Any = Node(file.read({}))
    node.is_ready = False
    file.write("[transfers]\nmax_uploads = 7\n")
    Reload(node, file.read).reload()
    assert node.config.settings.transfers.max_uploads != 7


@pytest.fixture
def old_handler() -> Iterator[Any]:
    before = signal.getsignal(signal.SIGHUP)
    yield before
    signal.signal(signal.SIGHUP, before)


def test_the_signal_is_taken_and_given_back(file: File, old_handler: Any) -> None:
    node: Any = Node(file.read({}))
    reload = Reload(node, file.read)
    reload.install()
    os.kill(os.getpid(), signal.SIGHUP)
    assert node.calls == [reload.reload], "the work is done in the reactor's turn, not inside the signal"
    reload.remove()
    assert signal.getsignal(signal.SIGHUP) == old_handler
    reload.remove()


def test_a_log_that_was_moved_away_is_opened_anew(tmp_path: Path) -> None:
    log = LogFile("node.log", str(tmp_path))
    log.write("before\n")
    os.rename(tmp_path / "node.log", tmp_path / "node.log.old")
    reopen_logs()
    log.write("after\n")
    log.close()
    assert (tmp_path / "node.log").read_text() == "after\n"
    assert (tmp_path / "node.log.old").read_text() == "before\n"
    reopen_logs()  # a closed one stays closed
    assert log.closed


def test_dead_weak_references_do_not_disturb(tmp_path: Path) -> None:
    class Thing:
        pass

    thing = Thing()
    proxy = weakref.proxy(thing)
    assert gc.is_tracked(proxy)
    del thing
    log = LogFile("node.log", str(tmp_path))
    reopen_logs()
    assert not log.closed
    log.close()
