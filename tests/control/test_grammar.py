"""Command lines: words, quotes, abbreviations, options."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.control.commands import CLI_COMMANDS, COMMANDS, CONSOLE_COMMANDS, by_name
from gnutella.control.grammar import MAX_WORDS, line_of, parse, quote, resolve, split, values_of
from gnutella.errors import UserError
from gnutella.testing import strategies_control as some


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("search alice  wonderland", ["search", "alice", "wonderland"]),
        ("search \"alice in\" 'wonder land'", ["search", "alice in", "wonder land"]),
        ('"never closed', ["never closed"]),
        (r'a\ b \" "x\"y"', ["a b", '"', 'x"y']),
        ("get ''", ["get", ""]),
        ("trailing\\", ["trailing\\"]),
        (" \t ", []),
    ],
)
def test_a_line_is_split_into_words(line: str, words: list[str]) -> None:
    assert split(line) == words


@given(st.text())
def test_splitting_never_fails(line: str) -> None:
    assert all(isinstance(word, str) for word in split(line))


@given(some.word_lists)
def test_quoted_words_come_back(words: list[str]) -> None:
    assert split(" ".join(map(quote, words))) == words


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("status", "node.status"),
        ("STAT", "node.status"),
        ("share", "share.list"),
        ("share a /tmp", "share.add"),
        ("sha rem 1", "share.remove"),
        ("download pause 3", "download.pause"),
        ("downloads", "download.list"),
        ("dow --watch", "download.list"),
        ("events", "event.list"),
        ("events on", "console.events"),
        ("get 1", "download.add"),
        ("c d", "config.diff"),
        ("trace", "query.list"),
        ("trace 2", "query.trace"),
    ],
)
def test_a_verb_may_be_cut_short(said: str, name: str) -> None:
    assert parse(split(said), CONSOLE_COMMANDS).command.name == name


@pytest.mark.parametrize(
    ("line", "part", "hint"),
    [
        ("", "no command", "help"),
        ("serach x", "'serach'", 'did you mean "search"'),
        ("s", "ambiguous", "search"),
        ("config", "config what?", "config show"),
        ("config shw", "'config shw'", "config show"),
        ("search", "lacks WORDS", "usage: search"),
        ("peers now", "'now'", "usage: peers"),
        ("search x --wiat 3", "'--wiat'", 'did you mean "wait"'),
        ("search x --wait", "lacks its value", "--wait S"),
        ("search x --wait soon", "'soon'", ""),
        ("search x --wait -1", "'-1'", ""),
        ("search x --wait nan", "'nan'", ""),
        ("search x --limit 1.5", "'1.5'", ""),
        ("search x --kind audio,smell", "'audio,smell'", ""),
        ("downloads --watch=yes", "takes no value", ""),
        ("connect 1.2.3.4:0", "port between 1 and 65535", ""),
        ("connect ::1:5", "[address]:port", ""),
        ("pause x", "whole number", ""),
        ("pause ²", "whole number", ""),
        ("trace abc", "no GUID of 32 hexadecimal digits", ""),
        ("trace 00", "no GUID of 32 hexadecimal digits", ""),
        ("share add relative", "absolute", ""),
        ("peers --wait 3", "no option", "takes no options"),
        ("search ''", "empty", ""),
    ],
)
def test_a_bad_line_names_the_word_and_one_fix(line: str, part: str, hint: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(split(line), CONSOLE_COMMANDS)
    assert part in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 64


def test_options_may_stand_anywhere_and_be_cut_short() -> None:
    command, rest = resolve(split("search alice --wa=2.5 in --lim 3 wonderland --kind audio,video"), CONSOLE_COMMANDS)
    values = values_of(command, rest)
    assert values["words"] == ("alice", "in", "wonderland")
    assert (values["wait"], values["limit"], values["kind"]) == (2.5, 3, ("audio", "video"))


def test_two_dashes_end_the_options() -> None:
    assert parse(split("search -- --wait -x"), CONSOLE_COMMANDS).values["words"] == ("--wait", "-x")


def test_more_words_than_the_limit_are_refused() -> None:
    with pytest.raises(UserError, match="too many"):
        parse(["search"] + ["x"] * (MAX_WORDS + 1), CONSOLE_COMMANDS)


@given(
    words=some.word_lists,
    wait=st.none() | st.floats(0, 86400),
    limit=st.none() | st.integers(0, 10**9),
    ttl=st.none() | st.integers(1, 7),
)
def test_a_line_made_from_values_parses_to_the_same_values(
    words: list[str], wait: float | None, limit: int | None, ttl: int | None
) -> None:
    command = by_name("search.start")
    words = [word or "x" for word in words]
    asked = {"words": tuple(words), "wait": wait, "limit": limit, "ttl": ttl, "kind": ("audio",)}
    values = {**asked, "all": True, "anonymous": "off", "accept-small-set": None}
    assert parse(split(line_of(command, values)), CLI_COMMANDS).values == values


def test_every_command_can_be_said_in_full_and_is_found() -> None:
    for command in COMMANDS:
        for form in command.spoken:
            found, rest = resolve(list(form), COMMANDS)
            assert found is command or form == ("events",)
            assert rest == []


def test_no_verb_with_words_of_its_own_is_the_beginning_of_a_two_word_verb() -> None:
    """Otherwise `search start` could mean two things."""
    free = {form[0] for c in COMMANDS for form in c.spoken if len(form) == 1 and c.positionals}
    assert not free & {form[0] for c in COMMANDS for form in c.spoken if len(form) == 2}
