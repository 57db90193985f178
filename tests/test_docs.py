"""The pages made from the code: current, complete, and written where they are looked for."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from gnutella import docs
from gnutella.cli import _leading_options, order_of
from gnutella.control.commands import CLI_COMMANDS
from gnutella.control.grammar import resolve
from gnutella.errors import UserError
from gnutella.protocol.ggep_keys import KEYS, PLACES
from gnutella.protocol.kinds import KIND_NAMES
from gnutella.reasons import DropReason
from gnutella.settings_file import load
from gnutella.tap import Options

ROOMS = Path(docs.__file__).parent
#: How the code asks a block for a key.
READING = re.compile(r'ggep\.get\("([^"]+)"\)|"([^"]+)" in self\.ggep')


def test_the_committed_pages_are_what_the_code_says() -> None:
    assert docs.stale_pages(Path(__file__).resolve().parents[1] / docs.DOCS) == [], (
        "run python -m gnutella.docs and commit what it writes"
    )


def test_the_page_of_messages_has_every_kind_key_and_reason() -> None:
    page = docs.messages_page()
    for name in KIND_NAMES.values():
        assert f"| {name} |" in page
    for reason in DropReason:
        assert f"| `{reason.value}` |" in page
    for label in ("`null/0v0`", "`BEAR/4v1`", "`LIME/11v2`, `LIME/11v3`"):
        assert label in page


def test_the_table_of_keys_is_sound() -> None:
    names = [key.key for key in KEYS]
    assert len(names) == len(set(names))
    for key in KEYS:
        assert set(key.places.split()) <= set(PLACES)
        assert key.use in ("", "reads", "writes", "reads and writes")


def test_each_key_that_the_code_reads_is_in_the_table() -> None:
    use = {key.key: key.use for key in KEYS}
    asked = {
        next(filter(None, found))
        for room in ("protocol", "routing", "transfers")
        for path in (ROOMS / room).glob("*.py")
        for found in READING.findall(path.read_text(encoding="utf-8"))
    }
    assert {"LF", "SCP", "XQ", "TLS"} <= asked
    assert [key for key in sorted(asked) if "reads" not in use.get(key, "")] == []


def test_check_names_stale_pages_and_writing_mends_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--root", str(tmp_path)]
    assert docs.main(["--check", *arguments]) == 1
    assert "reference/messages.md is stale" in capsys.readouterr().err
    assert docs.main(arguments) == 0
    assert docs.main(["--check", *arguments]) == 0
    page = tmp_path / "reference/messages.md"
    page.write_text(page.read_text() + "by hand\n")
    assert docs.main(["--check", *arguments]) == 1


def test_bars_do_not_break_tables() -> None:
    assert docs.table(("a", "b"), [("x|y", 1)]) == "| a | b |\n|---|---|\n| x\\|y | 1 |"


def test_the_page_of_the_daemon_has_every_option_and_the_key_it_stands_for() -> None:
    page = docs.daemon_page()
    for option, key in (
        ("--listen", "network.listen"),
        ("--share", "sharing.directories"),
        ("--console", "control.console"),
    ):
        assert re.search(rf"\| `{option} …`[^|]*\|[^|]*\| `{re.escape(key)}` \|", page)
    for name in ("dir", "config", "http", "anonymous", "connect"):
        assert f"`--{name}" in page


ROOT = docs.DOCS.parent
PAGES_BY_HAND = sorted({ROOT / "README.md", ROOT / "CHANGELOG.md", *docs.DOCS.rglob("*.md")})
PAGES_TO_TYPE_FROM = [page for page in PAGES_BY_HAND if "tutorial" in page.parts or "how-to" in page.parts]
PAGES_TO_TYPE_FROM += [ROOT / "README.md", docs.DOCS / "explanation/security.md"]
LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
INLINE = re.compile(r"`((?:gnutella|twistd|twist) [^`]+)`")
#: What stands for something else in a quoted command.
STAND_INS = {
    "HOST:PORT": "192.0.2.1:6346",
    "GUID": "0" * 32,
    "ID": "1",
    "S": "1",
    "N": "1",
    "FILE": "a.toml",
    "DIR": ".",
}


def _anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES_BY_HAND, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(FENCE.sub("", page.read_text(encoding="utf-8"))):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            dead.append(link)
    assert dead == []


def test_every_page_is_in_the_index() -> None:
    listed = {
        (docs.DOCS / link).resolve() for link in LINK.findall((docs.DOCS / "README.md").read_text(encoding="utf-8"))
    }
    listed |= {(docs.DOCS / "adr" / link).resolve() for link in LINK.findall((docs.DOCS / "adr/README.md").read_text())}
    assert [
        page for page in docs.DOCS.rglob("*.md") if page != docs.DOCS / "README.md" and page.resolve() not in listed
    ] == []


def quoted_commands(text: str) -> set[str]:
    """Command lines of our programs in fenced blocks (with or without `$ `) and between backquotes."""
    lines = [line for language, block in FENCE.findall(text) if not language for line in block.splitlines()]
    said = [line.removeprefix("$ ") for line in lines]
    # A command's bare name in running text is no command to type.
    named = {f"gnutella {command.words}" for command in CLI_COMMANDS}
    said += [" ".join(line.split()) for line in INLINE.findall(FENCE.sub("", text)) if line not in named]
    starts = ("gnutella ", "twistd ", "twist ", "sudo /opt/gnutella/bin/gnutella ", "pip install . && gnutella ")
    return {line.split("  #")[0].strip() for line in said if line.startswith(starts)}


def words_of(line: str) -> list[str]:
    """The words after the program, with stand-ins replaced and what an ellipsis leaves open left out."""
    words = shlex.split(line.partition("gnutella ")[2] if not line.startswith("twist") else line)
    words = [re.sub(r"^[A-Z:]+$", lambda match: STAND_INS.get(match[0], match[0]), word) for word in words]
    return [word for word in words if word not in ("…", "[options]")]


def parse_command(line: str) -> None:
    """UserError or SystemExit for a command that does not exist like this."""
    words = words_of(line)
    if line.startswith("twist"):
        words = words[words.index("gnutella") + 1 :]
    elif "run" in words:
        words.remove("run")
    else:
        rest, leading = _leading_options(words)
        if leading.version or leading.help or rest[:1] == ["help"]:
            return
        order_of(*resolve(rest, CLI_COMMANDS), leading)
        return
    options = Options()
    options.parseOptions(words)
    # Shared directories of the reader's need not exist here.
    load(None, {}, {key: value for key, value in options.overrides().items() if key != "sharing.directories"})


@pytest.mark.parametrize("page", PAGES_TO_TYPE_FROM, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_quoted_command_can_be_typed(page: Path) -> None:
    wrong = []
    for line in sorted(quoted_commands(page.read_text(encoding="utf-8"))):
        try:
            parse_command(line)
        except (UserError, SystemExit, ValueError) as error:
            wrong.append((line, str(error)))
    assert wrong == []


def test_a_mistake_in_a_quoted_command_is_seen() -> None:
    said = quoted_commands(
        "```\n$ gnutella serch x\n```\nand `twistd gnutella --lisen tcp:0`, `gnutella get`, `gnutella get --wait`"
    )
    assert said == {"gnutella serch x", "twistd gnutella --lisen tcp:0", "gnutella get --wait"}
    for line in said:
        with pytest.raises((UserError, SystemExit)):
            parse_command(line)
