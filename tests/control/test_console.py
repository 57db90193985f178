"""The console session without any connection: what it says and asks for, line by line."""

from __future__ import annotations

import json
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnutella.control.console import (
    MAX_LINE,
    MAX_WAITING,
    Authenticated,
    Console,
    Count,
    Effect,
    Follow,
    Hangup,
    Interrupt,
    Run,
    Write,
)
from gnutella.control.table import Role
from gnutella.control.token import role_of
from gnutella.errors import UserError
from gnutella.reasons import DropReason
from gnutella.testing import strategies_control as some


def text_of(effects: list[Effect]) -> str:
    return b"".join(effect.data for effect in effects if isinstance(effect, Write)).decode()


def runs(effects: list[Effect]) -> list[str]:
    return [effect.invocation.command.name for effect in effects if isinstance(effect, Run)]


def drained(console: Console, effects: list[Effect]) -> list[Effect]:
    while more := console.advance():
        effects = effects + more
    return effects


def say(console: Console, data: bytes) -> list[Effect]:
    return drained(console, console.receive(data))


def finish(console: Console, end: dict[str, object]) -> list[Effect]:
    return drained(console, console.finish(end))


def fail(console: Console, error: UserError) -> list[Effect]:
    return drained(console, console.fail(error))


def ended(console: Console) -> list[Effect]:
    console.input_ended()
    return drained(console, [])


def machine(role: Role = Role.ADMIN) -> Console:
    console = Console(role, newline="\n")
    say(console, b"mode machine\n")
    return console


def test_a_person_is_greeted_and_prompted() -> None:
    text = text_of(Console(Role.ADMIN).start())
    assert text.startswith("PyGnutella ")
    assert text.endswith("\r\ngnutella> ")


def test_a_program_gets_rows_end_and_errors_with_codes() -> None:
    console = machine()
    assert runs(say(console, b"peers\n")) == ["link.list"]
    assert console.row({"address": "1.2.3.4:5"}) == b'250-{"address":"1.2.3.4:5"}\n'
    assert text_of(finish(console, {"rows": 1})) == '250 {"rows":1}\n'
    say(console, b"peers\n")
    assert text_of(fail(console, UserError("no", "do", 75))) == "575 no | do\n"
    assert text_of(say(console, b"nonsense\n")).startswith("564 no command 'nonsense' | ")


def test_the_answer_to_mode_machine_begins_a_line_after_the_prompt() -> None:
    console = Console(Role.ADMIN, newline="\n")
    greeting = text_of(console.start())
    reply = text_of(say(console, b"mode machine\nmode human\n"))
    lines = (greeting + reply).split("\n")
    assert [line for line in lines if line.startswith('250 {"mode":"machine"')]
    assert reply.endswith("gnutella> ")


def test_commands_wait_for_the_one_before() -> None:
    console = machine()
    assert runs(say(console, b"search a\npeers\nstatus\n")) == ["search.start"]
    assert say(console, b"uploads\n") == []
    assert runs(finish(console, {})) == ["link.list"]
    assert runs(fail(console, UserError("x"))) == ["node.status"]
    assert runs(finish(console, {})) == ["upload.list"]


def test_everything_asked_before_the_half_close_is_answered_and_then_it_closes() -> None:
    console = machine()
    say(console, b"search a\npeers")
    assert ended(console) == []
    assert runs(finish(console, {})) == ["link.list"]
    assert finish(console, {})[-1] == Hangup()


def test_an_empty_line_or_ctrl_c_interrupts_only_what_runs() -> None:
    console = machine()
    say(console, b"search a --wait 50\n")
    assert say(console, b"\r\n") == [Interrupt()]
    assert Interrupt() in say(console, b"\xff\xf4\xff\xfd\x06")
    assert Interrupt() in say(console, b"\x03")
    finish(console, {})
    assert Interrupt() not in say(console, b"\n\x03")


def test_empty_lines_within_a_script_interrupt_nothing() -> None:
    console = machine()
    assert Interrupt() not in say(console, b"search a\n\n\npeers\n")
    assert Interrupt() not in say(console, b"\n")


def test_the_line_feed_of_a_cut_line_end_is_no_empty_line() -> None:
    console = machine()
    assert runs(say(console, b"search a\r")) == ["search.start"]
    assert say(console, b"\n") == []
    assert say(console, b"\0") != [Interrupt()]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r\0", b"\r"])
def test_every_line_end_of_telnet_is_one(end: bytes) -> None:
    console = machine()
    assert runs(say(console, b"peers" + end)) == ["link.list"]
    assert runs(finish(console, {})) == []
    assert runs(say(console, b"status" + end)) == ["node.status"]


@given(
    lines=st.lists(
        st.sampled_from([b"peers", b"nonsense", b"share", b"help get", b"", b"status --x", b"get \xff\xff1"]),
        max_size=6,
    ),
    ends=st.lists(st.sampled_from([b"\n", b"\r\n", b"\r\0", b"\r"]), min_size=6, max_size=6),
    data=st.data(),
)
def test_any_cut_of_the_stream_gives_the_same_replies(
    lines: list[bytes], ends: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(line + end for line, end in zip(lines, ends, strict=False))

    def conversation(pieces: list[bytes]) -> str:
        console, said = machine(), []
        for piece in pieces:
            effects = say(console, piece)
            while True:
                said.append(text_of(effects) + "".join(f"<{name}>" for name in runs(effects)))
                if console.running is None:
                    break
                effects = finish(console, {})
        return "".join(said)

    assert conversation(data.draw(some.cuts(stream))) == conversation([stream])


def test_nothing_is_answered_before_the_token() -> None:
    console = Console(None, {"secret": Role.CONTROL}.get)
    assert "token: " in text_of(console.start())
    effects = say(console, b"status\nhelp\n")
    assert runs(effects) == []
    assert [e for e in effects if isinstance(e, Count)] == [Count(DropReason.BAD_TOKEN)] * 2
    effects = say(console, b"secret\r\nstatus\r\n")
    assert Authenticated(Role.CONTROL) in effects
    assert runs(effects) == ["node.status"]


def test_a_whole_line_of_the_token_file_is_as_good_as_its_token() -> None:
    tokens = {role: str(role)[0] * 64 for role in Role}
    for line in (f"read {'a' * 64}", f"admin  {'a' * 64}\r", f"admin\t{'a' * 64}", "a" * 64):
        assert Authenticated(Role.ADMIN) in say(Console(None, partial(role_of, tokens)), line.encode() + b"\n")
    for line in ("admin", f"boss {'a' * 64}", f"admin {'x' * 64}", f"admin admin {'a' * 64}", "admin "):
        effects = say(Console(None, partial(role_of, tokens)), line.encode() + b"\n")
        assert [effect for effect in effects if not isinstance(effect, Write)] == [Count(DropReason.BAD_TOKEN)]


def test_control_characters_of_a_line_are_left_out() -> None:
    (run,) = say(machine(), b"search a\x00li\x08ce\tin\x7f\n")
    assert isinstance(run, Run)
    assert run.invocation.values["words"] == ("alice", "in")


def test_three_wrong_tokens_close_the_line() -> None:
    console = Console(None, {"secret": Role.ADMIN}.get)
    effects = say(console, b"a\nb\nc\nsecret\nstatus\n")
    assert [e for e in effects if isinstance(e, Count)] == [Count(DropReason.BAD_TOKEN)] * 3
    assert effects[-1] == Hangup()
    assert say(console, b"secret\n") == []


def test_a_role_may_not_do_more_than_it_may() -> None:
    console = machine(Role.READ)
    effects = say(console, b"shutdown\n")
    assert runs(effects) == []
    assert Count(DropReason.FORBIDDEN) in effects
    assert text_of(effects).startswith("577 shutdown needs the role admin")
    assert runs(say(console, b"peers\n")) == ["link.list"]


def test_a_line_beyond_the_limit_ends_the_session() -> None:
    console = machine()
    assert text_of(say(console, b"search " + b"x" * (MAX_LINE - 10) + b"\n")) == ""
    finish(console, {})
    effects = say(console, b"y" * (MAX_LINE + 1))
    assert Count(DropReason.LINE_TOO_LONG) in effects
    assert effects[-1] == Hangup()
    assert text_of(effects).startswith("564 a line of more than")


def test_it_wants_no_more_input_than_it_can_hold() -> None:
    console = machine()
    say(console, b"search a\n")
    assert console.wants_input
    say(console, b"peers\n" * (MAX_WAITING // 6 + 1))
    assert not console.wants_input


def test_events_come_between_replies_and_never_break_a_line() -> None:
    console = machine()
    assert Follow(True) in say(console, b"events on\n")
    event = {"id": 1, "time": 1.5, "type": "link_opened", "data": {}}
    assert json.loads(console.event(event)[4:]) == event
    assert console.event(event).startswith(b"650 ")
    assert Follow(False) in say(console, b"events off\n")
    person = Console(Role.ADMIN)
    person.start()
    assert person.event(event).startswith(b"\r\n* ")
    assert person.event(event).endswith(b"gnutella> ")


@given(some.rows)
def test_no_row_can_act_on_a_terminal(row: dict[str, object]) -> None:
    for mode in (b"mode machine\n", b"mode human\n"):
        console = Console(Role.ADMIN, newline="\n")
        say(console, mode + b"search a\n")
        shown = console.row(row).decode() + text_of(console.finish({}))
        assert all(char.isprintable() or char == "\n" for char in shown.removesuffix("gnutella> "))
        assert mode != b"mode machine\n" or shown.count("\n") == 2


def test_network_text_in_an_error_stays_on_one_harmless_line() -> None:
    console = machine()
    say(console, b"connect 1.2.3.4:5\n")
    assert text_of(fail(console, UserError("refused: \x1b[2J\r\n250 {}", "x", 69))).count("\n") == 1


def test_help_and_quit_work_in_both_modes() -> None:
    person = Console(Role.ADMIN)
    assert "search WORDS" in text_of(say(person, b"help\r\n"))
    assert "usage: get" in text_of(say(person, b"help get\r\n"))
    assert "error: no command 'nix'" in text_of(say(person, b"help nix\r\n"))
    assert say(person, b"quit\r\n")[-1] == Hangup()
    program = machine()
    assert all(line.startswith("250") for line in text_of(say(program, b"help\n")).splitlines())
    assert text_of(say(program, b"quit\n")) == "250 {}\n"


def test_rows_before_a_failure_are_shown_and_no_false_emptiness() -> None:
    person = Console(Role.ADMIN, newline="\n")
    say(person, b"peers\n")
    person.row({"address": "1.2.3.4:5"})
    assert "1.2.3.4:5" in text_of(fail(person, UserError("broke")))
    say(person, b"peers\n")
    assert "no links" not in text_of(fail(person, UserError("broke")))


_pieces = st.lists(
    st.one_of(
        st.binary(max_size=20),
        some.telnet_streams,
        st.sampled_from(
            [
                b"search ",
                b"get ",
                b"--wait ",
                b"--",
                b"config set ",
                b"trace ",
                b"events on\n",
                b"mode machine\n",
                b"9" * 30,
            ]
        ),
        st.sampled_from([b"help ", b"disconnect ", b"share add ", b'"', b"\\", b"=", b"mode human --width ", b"\n"]),
    ),
    max_size=20,
)


@given(_pieces)
def test_whatever_is_typed_nothing_breaks_and_nothing_dangerous_is_echoed(pieces: list[bytes]) -> None:
    console = Console(Role.ADMIN, newline="\n")
    effects = console.start()
    for piece in pieces:
        effects += say(console, piece)
        while console.running is not None:
            effects += finish(console, {})
    effects += ended(console)
    while console.running is not None:
        effects += finish(console, {})
    said = b"".join(e.data for e in effects if isinstance(e, Write) and not e.data.startswith(b"\xff"))
    assert all(char.isprintable() or char in "\n\r" for char in said.replace(b"\xff", b"").decode("utf-8", "replace"))
    assert effects[-1] == Hangup()


@given(_pieces)
def test_whatever_comes_before_the_token_nothing_runs(pieces: list[bytes]) -> None:
    console = Console(None, lambda token: None)
    effects = console.start()
    for piece in pieces:
        effects += say(console, piece)
    assert not runs(effects + ended(console))
    assert console.role is None
