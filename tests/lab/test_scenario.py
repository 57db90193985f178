"""Scenario files: what is read, what is refused, what comes of a run, and how it is reported."""

from __future__ import annotations

import csv
import io
import json
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnutella.errors import UserError
from gnutella.lab import report
from gnutella.lab.cli import main
from gnutella.lab.reference import scenario_page
from gnutella.lab.runner import run
from gnutella.lab.scenario import Scenario, load, parse, schema
from gnutella.lab.telling import tell
from gnutella.lab.toml import toml_of

SCENARIOS = Path(__file__).resolve().parents[1] / "scenarios"
PAIR = """
link = [{ between = ["alice", "bob"] }]
[[node]]
name = "alice"
files = ["hello world.txt"]
[[node]]
name = "bob"
"""
QUERY = '[[action]]\ndo = "query"\nat_s = 1\nfrom = "bob"\ntext = "hello"\n'


def test_a_query_and_its_row() -> None:
    outcome = run(parse(PAIR + QUERY + "expect = { hits = 1, recall = { min = 1 }, hops = 1 }\n"))
    assert outcome.is_success
    (row,) = outcome.rows
    assert list(row)[:6] == ["query", "found", "expected", "messages", "first_hit_ms", "hops"]
    assert (row["query"], row["found"], row["expected"], row["messages"], row["hops"]) == ("hello", 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("expect", "told"),
    [
        ("hits = 2", "hits is 1, expected 2"),
        ("latency_ms = { max = 1 }", "expected at most 1"),
        ("messages = { min = 5, max = 9 }", "expected at least 5 and at most 9"),
    ],
)
def test_what_does_not_come_is_told(expect: str, told: str) -> None:
    outcome = run(parse(PAIR + QUERY + f"expect = {{ {expect} }}\n"))
    assert len(outcome.failures) == 1
    assert told in outcome.failures[0]


def test_the_average_of_one_action_is_judged_by_itself() -> None:
    text = PAIR + QUERY + "times = 2\non_average = { hits = 1 }\n"
    other = QUERY.replace("hello", "nothing") + "on_average = { hits = 3 }\n"
    assert run(parse(text)).is_success
    (failure,) = run(parse(text + other)).failures
    assert failure == "on average of queries from 1 s on: hits is 0, expected 3"


def test_a_census_counts_links_and_a_kill_takes_a_share_of_a_role() -> None:
    text = """
    [topology]
    kind = "superpeers"
    nodes = 12
    ultrapeers = 4
    leaf_links = 2
    [[action]]
    do = "census"
    at_s = 1
    expect = { linked = 1, well_linked = 0, ultrapeers = 4, leaves = 8, parts = 1 }
    [[action]]
    do = "kill"
    at_s = 2
    role = "ultrapeer"
    share = 1.0
    [[action]]
    do = "kill"
    at_s = 2
    role = "leaf"
    share = 0.5
    [[action]]
    do = "census"
    at_s = 3
    expect = { linked = 0, ultrapeers = 0, leaves = 4, parts = 4 }
    """
    outcome = run(parse(text))
    assert outcome.failures == []
    assert [row["leaf_links"] for row in outcome.censuses] == [2, 0]
    assert "of an ultrapeer" in report.text(outcome)
    wrong = run(parse(text.replace("leaves = 4", "leaves = 5")))
    assert wrong.failures == ["census at 3 s: leaves is 4, expected 5"]


def test_no_hit_at_all_fails_every_expectation_of_time() -> None:
    outcome = run(parse(PAIR + QUERY.replace("hello", "nothing") + "expect = { latency_ms = { max = 1000 } }\n"))
    assert "latency_ms is none" in outcome.failures[0]


def test_drops_that_must_not_occur() -> None:
    text = '[topology]\nkind = "ring"\nnodes = 4\n[[action]]\ndo = "query"\nat_s = 1\ntext = "some words"\n'
    assert run(parse(text)).is_success
    assert "duplicate occurred" in run(parse('never = ["duplicate"]\n' + text)).failures[0]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("seed = -1", "seed"),
        ("colour = 1", "colour"),
        ("", "there are no nodes"),
        (PAIR + QUERY.replace('text = "hello"', 'urn = "urn:foo"'), "action[1].urn: 'urn:foo'"),
        (PAIR + QUERY.replace('text = "hello"', 'text = "..."'), "action[1].text: '...': nothing to search for"),
        (
            "[network]\nlatency_ms = [5, 1]\n[topology]\nkind = 'line'\nnodes = 2",
            "network.latency_ms: the least, 5, is more than the most, 1",
        ),
        (PAIR + '[[node]]\nname = "zoe"\nfiles = ["a/b"]', "'a/b' is no name of a file"),
        (PAIR + '[[node]]\nname = "zoe"\nfiles = ["a", "a"]', "'a' is there twice"),
        (PAIR.replace('"bob"] }', '"alice"] }'), "alice and itself"),
        ('strategy = "telepathy"\n' + PAIR, "telepathy"),
        (PAIR + QUERY.replace("bob", "zoe"), "no node 'zoe'"),
        (PAIR + QUERY.replace('text = "hello"', ""), "needs [content]"),
        (PAIR + '[[action]]\ndo = "dance"\nat_s = 1\n', "dance"),
        (PAIR + '[[node]]\nname = "bob"\n', "same name"),
        ('never = ["rain"]\n' + PAIR, "no drop reason"),
        ("duration_s = 0.5\n" + PAIR + QUERY, "after the end"),
        (PAIR + '[[action]]\ndo = "set"\nat_s = 1\nnode = "bob"\nkey = "busy"\nvalue = 3\n', "no value of busy"),
        ("[topology]\nnodes = 4\nleaves = 1\nkind = 'line'", "two_tier"),
        ("[topology]\nnodes = 4\nleaves = 4\nkind = 'two_tier'", "no ultrapeer"),
        ("[topology]\nnodes = 4\nkind = 'superpeers'", "line 3: topology.kind: superpeers without"),
        ("[topology]\nnodes = 4\nultrapeers = 1", 'write kind = "superpeers"'),
        ("[topology]\nnodes = 4\nultrapeers = 5\nkind = 'superpeers'", "more than all"),
        ("[topology]\nnodes = 4\nrole = 'auto'", "needs links.kept"),
        ("[topology]\nnodes = 4\nultrapeers = 2\nleaf_links = 6\nkind = 'superpeers'", "leaf_links"),
        (PAIR + '[[action]]\ndo = "kill"\nat_s = 1\n', "either node or share"),
        (PAIR + '[[action]]\ndo = "kill"\nat_s = 1\nnode = "bob"\nshare = 0.5\n', "either node or share"),
        ("[network]\nlatency_ms = [1, 2, 3]\n" + PAIR, "latency_ms"),
        ("[network]\nloss = 1.0\n" + PAIR, "loss"),
        ("this is no toml", "no TOML"),
    ],
)
def test_wrong_files_are_refused_with_the_place_of_the_fault(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        load(path)
    assert told in str(refused.value)
    assert refused.value.exit_code == 78


@pytest.mark.parametrize(
    ("text", "line", "told", "fix"),
    [
        ("seed = 1\n\nseeed = 2\n" + PAIR, 3, "seeed: there is no such key (its value is 2)", "did you mean seed?"),
        ("seed = -1", 1, "seed: -1 does not fit", "write a whole number >= 0"),
        ("[topology]\nkind = 'lien'\nnodes = 3", 2, "topology.kind: 'lien'", "there are complete, explicit, line"),
        (PAIR + QUERY.replace("bob", "bop"), 11, "action[1].from: there is no node 'bop'", "did you mean 'bob'?"),
        (PAIR + QUERY.replace("query", "dance"), 9, "action[1].do: 'dance'", "there are census, churn"),
        (PAIR + QUERY + QUERY.replace("at_s", "ats"), 15, "action[2].ats: there is no such key", "did you mean at_s?"),
        (PAIR + QUERY + QUERY.replace("at_s = 1", ""), 13, "action[2]: at_s is missing", "write at_s = ..."),
        (
            PAIR + QUERY + "expect = { hit = 3 }\n",
            13,
            "action[1].expect.hit: there is no such key",
            "did you mean hits?",
        ),
        (
            PAIR + QUERY + "expect = { hits = 'x' }\n",
            13,
            "action[1].expect.hits: 'x' does not fit",
            "write a number or a table",
        ),
        ('never = ["duplicates"]\n' + PAIR, 1, "never[1]: 'duplicates' is no drop reason", "did you mean 'duplicate'?"),
    ],
)
def test_a_fault_is_told_with_file_line_key_value_and_one_way_to_mend_it(
    text: str, line: int, told: str, fix: str, tmp_path: Path
) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        load(path)
    assert str(refused.value).startswith(f"{path} line {line}: {told}")
    assert fix in refused.value.hint


def test_files_that_are_missing_or_huge_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "huge.toml").write_bytes(b"#" * (1 << 20) + b"\n")
    with pytest.raises(UserError, match="too large"):
        load(tmp_path / "huge.toml")


def test_the_schema_knows_every_key_that_is_read() -> None:
    made = schema()
    defined = made["$defs"]
    for struct in msgspec.structs.fields(Scenario):
        assert struct.encode_name in defined["Scenario"]["properties"]
    assert defined["Query"]["properties"]["do"] == {"enum": ["query"]}
    assert defined["Query"]["additionalProperties"] is False
    json.dumps(made)


def test_every_key_is_documented() -> None:
    for line in scenario_page().splitlines():
        if line.startswith("| `"):
            assert not line.endswith("|  |"), line


def test_the_scenarios_of_the_project_are_readable_and_written_toml_is_read_back() -> None:
    found = sorted(SCENARIOS.glob("*.toml"))
    assert len(found) >= 4
    for path in found:
        tables = tomllib.loads(path.read_text())
        assert tomllib.loads(toml_of(tables)) == tables


ACTIONS = """
[network]
handshake = "full"
[routing]
query_ttl = 3
[topology]
kind = "two_tier"
nodes = 12
leaves = 4
degree = 3
[content]
files = 5
copies = 20
[[action]]
do = "publish"
at_s = 1
node = "n1"
files = ["new song.ogg"]
[[action]]
do = "join"
at_s = 2
node = "late"
links = 2
files = ["late song.ogg"]
[[action]]
do = "leave"
at_s = 3
node = "n2"
[[action]]
do = "kill"
at_s = 3
node = "*"
power_failure = true
[[action]]
do = "join"
at_s = 5
node = "n2"
links = ["n1", "n3"]
[[action]]
do = "set"
at_s = 5
node = "*"
key = "query_ttl"
value = 6
[[action]]
do = "set"
at_s = 5
node = "n1"
key = "firewalled"
value = true
[[action]]
do = "fault"
at_s = 6
between = ["n2", "n1"]
kind = "cut"
[[action]]
do = "partition"
at_s = 7
groups = [["n0", "n1"], ["n3"]]
[[action]]
do = "heal"
at_s = 9
[[action]]
do = "churn"
at_s = 9
mean_up_s = 5
mean_down_s = 2
until_s = 14
[[action]]
do = "query"
at_s = 6
times = 20
every_s = 0.5
[[action]]
do = "query"
at_s = 6.2
from = "n1"
urn = "urn:sha1:PLSTHIPQGSSZTS5FJUPAKUZWUGYQYPFB"
wait_s = 1
"""


def test_every_action_can_be_run() -> None:
    outcome = run(parse(ACTIONS))
    assert outcome.failures == []
    assert outcome.totals["queries"] == 21
    assert outcome.totals["nodes"] == 13


def test_a_download_must_be_whole_in_time() -> None:
    scenario = load(SCENARIOS / "download.toml")
    outcome = run(scenario)
    assert outcome.is_success
    assert [row["state"] for row in outcome.downloads] == ["done", "done"]
    assert outcome.downloads[0]["sources"] >= 2
    late = [msgspec.structs.replace(action, within_s=0.001) for action in scenario.action]
    failed = run(msgspec.structs.replace(scenario, action=tuple(late)))
    assert len(failed.failures) == 2


def test_a_download_of_nothing_fails() -> None:
    text = PAIR + '[[action]]\ndo = "download"\nat_s = 1\nnode = "bob"\ntext = "nothing"\n'
    assert "nothing was found" in run(parse(text)).failures[0]


def test_a_trace_tells_the_life_of_a_query_in_every_node() -> None:
    steps = tell(load(SCENARIOS / "line.toml"), 2)
    assert [step["node"] for step in steps if step["step"] == "received from"] == [
        "bob",
        "carol",
        "dave",
        "erin",
        "frank",
    ]
    assert steps[0]["step"] == "asked"
    assert any(step["step"].startswith("hit arrived") for step in steps)
    with pytest.raises(UserError, match="no query 3"):
        tell(load(SCENARIOS / "line.toml"), 3)


def test_reports_agree(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = str(SCENARIOS / "line.toml")
    assert main([path, "--json", "--csv", str(tmp_path / "rows.csv"), "--events", str(tmp_path / "events")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["found"] for line in lines[:-1]] == [0, 1]
    assert lines[-1]["ok"] is True
    rows = list(csv.DictReader(io.StringIO((tmp_path / "rows.csv").read_text())))
    assert [row["found"] for row in rows] == ["0", "1"]
    assert list(rows[0]) == [column.key for column in report.COLUMNS]
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert {"up", "link", "asks"} <= {event["what"] for event in events}
    assert main([path]) == 0
    shown = capsys.readouterr().out
    assert "all as expected" in shown and lines[-1]["trace"] in shown


def test_a_failure_is_exit_code_one(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "fails.toml"
    path.write_text(PAIR + QUERY + "expect = { hits = 7 }\n")
    assert main([str(path)]) == 1
    assert "FAILED" in capsys.readouterr().out


def test_the_other_commands(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["trace", str(SCENARIOS / "line.toml"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[0])["step"] == "asked"
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"]
    arguments = ["compare", "--nodes", "20", "--queries", "4", "--json", "--strategies", "flooding,random_walks"]
    assert main([*arguments, "--csv", str(tmp_path / "c.csv")]) == 0
    rows: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["strategy"] for row in rows] == ["flooding", "random_walks"]
    assert main([]) == 0
    with pytest.raises(UserError, match="unknown"):
        main(["compare", "--strategies", "telepathy"])
    with pytest.raises(UserError, match="lab:"):
        main(["x.toml", "--colour"])
    with pytest.raises(UserError, match="'comapre' is no command and no file"):
        main(["comapre"])
    with pytest.raises(UserError, match="--html needs virtual time"):
        main(["x.toml", "--live", "--html", "x.html"])
