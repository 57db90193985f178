"""Downloads of the lab are checked leaf by leaf: who sent wrong bytes is dropped, and only those bytes come from elsewhere."""

from __future__ import annotations

import pytest

from gnutella.lab import uploads
from gnutella.lab.content import content_of
from gnutella.lab.runner import Run, build
from gnutella.lab.scenario import parse
from gnutella.protocol.tth import node_size_for, tree_of
from gnutella.reasons import DropReason

SIZE = 2_000_000
LEAF = node_size_for(SIZE)
TWO_SOURCES = f"""
[network]
latency_ms = 10
bandwidth_kib_s = 512
[topology]
kind = "star"
[[node]]
name = "bob"
[[node]]
name = "alice"
files = ["summer song.ogg"]
size = {SIZE}
[[node]]
name = "carol"
files = ["summer song.ogg"]
size = {SIZE}
[[action]]
do = "download"
at_s = 1
node = "bob"
text = "summer song"
within_s = 60
"""
CORRUPT = """
[[action]]
do = "fault"
at_s = 0
between = ["alice", "bob"]
kind = "corrupt"
at_byte = 600000
on = "transfer"
"""


def finished(text: str) -> Run:
    run = build(parse(text))
    assert run.finish().failures == []
    return run


def test_who_sends_wrong_bytes_is_dropped_and_the_leaf_comes_from_elsewhere() -> None:
    run = finished(TWO_SOURCES + CORRUPT)
    (download,) = run.downloads.all
    alice, carol = (run.net.nodes[name].address for name in ("alice", "carol"))
    reasons = {source.address: source.reason for source in download.book}
    assert reasons[alice] is DropReason.SOURCE_CORRUPT and reasons[carol] is not DropReason.SOURCE_CORRUPT
    assert len(download.wrong) == 1 and download.wrong[0].stop - download.wrong[0].start == LEAF
    assert download.state == "done" and download.runs == 0
    assert bytes(download.file.content) == content_of("summer song.ogg", SIZE)


def test_a_sound_download_finds_every_leaf_right_as_it_comes() -> None:
    (download,) = finished(TWO_SOURCES).downloads.all
    assert download.checking.leaves is not None and download.checking.leaves.is_complete
    assert download.wrong == [] and len(download.contributors) == 2


def test_a_tree_that_all_sources_contradict_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tree_of(bytes(SIZE))
    monkeypatch.setattr("gnutella.lab.checking.tree_for", lambda name, size: wrong)
    monkeypatch.setattr(uploads, "tree_for", lambda name, size: wrong)
    (download,) = finished(TWO_SOURCES.replace("within_s = 60", "within_s = 300")).downloads.all
    assert download.checking.distrusts_trees and download.state == "done"


def test_a_file_of_one_leaf_has_no_tree_and_is_known_by_its_hash() -> None:
    (download,) = finished(TWO_SOURCES.replace(str(SIZE), "4096")).downloads.all
    assert download.checking.tree is None and download.state == "done"
