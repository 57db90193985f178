"""Pitfall 19: nothing that is asked for, found, published or offered is in any event that is logged, whatever its level.

In virtual time and in every way that ends differently; what real daemons write is read in tests/live/test_relay_attacks.py.
"""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.logger import FileLogObserver, LogEvent, eventAsText, globalLogPublisher

from anonymizer import jobs, ownfiles
from anonymizer.jobs import Job
from anonymizer.ssk import WriteKey
from anonymizer.uri import ChkUri, OwnUri, SskUri, UskUri, parse_uri
from gnutella.logs import Discreet
from tests.anonymizer.test_jobs import World
from tests.anonymizer.transfers import publish

ROUNDS = 5
DATA = random.Random(4).randbytes(40_000)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """All that a daemon would log, as text and as it is."""
    heard: list[str] = []

    def hear(event: LogEvent) -> str:
        heard.append(eventAsText(event) + repr(event))
        return ""

    observer = Discreet(FileLogObserver(io.StringIO(), hear))
    globalLogPublisher.addObserver(observer)
    yield heard
    globalLogPublisher.removeObserver(observer)


def forms(secret: bytes) -> list[str]:
    return [secret.hex(), repr(secret)[2:-1]]


class Asked:
    """What was used, in every form that a log could have."""

    def __init__(self) -> None:
        self.secrets: list[str] = []

    def key(self, text: str) -> Any:
        uri = parse_uri(text)
        if isinstance(uri, ChkUri):
            self.secrets += [*forms(uri.routing), *forms(uri.key)]
        self.secrets += [part for part in text.replace("/", ",").replace(":", ",").split(",") if len(part) > 8]
        return uri

    def name(self, name: str) -> str:
        self.secrets.append(name)
        return name


def finish(world: World, job: Job) -> Job:
    return world.run(job)


def test_dozens_of_operations_leave_nothing_in_any_log(
    tmp_path: Path, logged: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, asked, operations = random.Random(19), Asked(), 0
    writing: Callable[..., None] = ownfiles.write_at

    def broken(fd: int, data: bytes, offset: int) -> None:
        raise KeyError(asked.secrets[-1])

    def full(fd: int, data: bytes, offset: int) -> None:
        raise OSError(28, "No space left on device", asked.secrets[-1])

    for round in range(ROUNDS):
        world = World(tmp_path, round)
        path = tmp_path / asked.name(f"secret-source-{round}.txt")
        path.write_bytes(DATA)
        key = WriteKey(rng.randbytes(32), rng.randbytes(32))
        asked.secrets += [*forms(key.seed), *forms(key.secret)]
        put = finish(world, world.put(path, OwnUri(key), convergent=bool(round % 2)))
        assert put.state == "done" and put.document, put.row
        got = finish(world, world.get(asked.key(put.uri), asked.name(f"secret-target-{round}")))
        document = finish(world, world.get(UskUri(key.read_key, "news", 0), asked.name(f"secret-news-{round}")))
        assert got.state == document.state == "done"
        nobody = finish(world, world.get(SskUri(key.read_key, asked.name(f"secret-page-{round}"))))
        cancelled = world.get(asked.key(str(publish(world.net, DATA[:-1]))))
        cancelled.cancel()
        for write in (broken, full):
            monkeypatch.setattr(jobs, "write_at", write)
            world.cache.expire(world.now() + 1e6)
            failed = finish(world, world.get(asked.key(str(publish(world.net, DATA[round:])))))
            assert failed.state == "failed"
        monkeypatch.setattr(jobs, "write_at", writing)
        with pytest.raises(Exception, match="cannot be read"):
            world.put(tmp_path / asked.name(f"secret-missing-{round}"))
        assert nobody.state == "failed" and cancelled.state == "cancelled"
        operations += 9
        world.net.settle()
    assert operations > 40 and len(asked.secrets) > 100
    text = "\n".join(logged)
    # Only what was a fault of ours is there at all, with its kind and its place.
    assert text.count("KeyError") >= ROUNDS and "in broken" in text
    assert [secret for secret in asked.secrets if secret in text] == []
