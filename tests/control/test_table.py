"""The command table is whole: what product and documentation promise is in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gnutella.control import schema
from gnutella.control.commands import CLI_COMMANDS, COMMANDS, NODE_COMMANDS, by_name
from gnutella.control.help import help_lines, help_on, overview_lines
from gnutella.control.table import EXIT_OF, MEANING_OF, STATUS_OF
from gnutella.errors import UserError
from gnutella.settings_file import keys, load

#: The keys that the product contract gives for each command's JSON.
PROMISED = {
    "node.status": "version servent_id role uptime_s listen links shared reachable ready",
    "link.list": "address direction role vendor since_s deflate tls rx_messages tx_messages dropped",
    "link.open": "address direction role vendor since_s deflate tls rx_messages tx_messages dropped",
    "share.list": "path name size urn tth hits uploads",
    "search.start": "hit name size urn tth hops vendor magnet sources",
    "peer.browse": "hit name size urn tth hops vendor magnet sources",
    "download.add": "id state name size downloaded speed sources eta_s path error",
    "download.list": "id state name size downloaded speed sources eta_s path error",
    "upload.list": "id state name size downloaded speed sources eta_s path error sent address",
    "query.trace": "time step link reason",
}


@pytest.mark.parametrize("name", PROMISED)
def test_the_promised_keys_come_in_the_promised_order(name: str) -> None:
    promised = PROMISED[name].split()
    assert list(by_name(name).complete({}))[: len(promised)] == promised


def test_the_table_of_uploads_says_sent_where_that_of_downloads_says_got() -> None:
    headings = {
        name: {column.heading for column in by_name(name).columns if column.in_table} & {"got", "sent"}
        for name in ("download.list", "upload.list")
    }
    assert headings == {"download.list": {"got"}, "upload.list": {"sent"}}


def test_a_row_keeps_what_it_has_beyond_the_columns() -> None:
    row = by_name("link.list").complete({"address": "1.2.3.4:5", "more": 1})
    assert row["more"] == 1
    assert row["dropped"] == 0
    assert row["direction"] is None


def test_every_command_of_the_node_can_run_and_the_others_cannot() -> None:
    assert all((command.run is not None) == (command.place == "node") for command in COMMANDS)
    assert len({command.name for command in COMMANDS}) == len(COMMANDS)


def test_every_word_of_the_product_is_there() -> None:
    said = {command.words for command in CLI_COMMANDS}
    promised = (
        "status,connect,disconnect,peers,share add,share remove,share list,share rescan,search,get,downloads,pause,resume,"
        "cancel,uploads,browse,trace,console,events,config show,config check,config diff,config set,token,doctor,run,init,"
        "demo,shutdown,version"
    )
    assert set(promised.split(",")) <= said


def test_status_codes_and_exit_codes_belong_together() -> None:
    assert all(status - 500 == 50 + code if code == 1 else status == 500 + code for code, status in STATUS_OF.items())
    assert all(EXIT_OF[status] == code for code, status in STATUS_OF.items())
    assert set(MEANING_OF) == {0, *STATUS_OF}


@pytest.mark.parametrize("width", [40, 80, 132])
def test_help_names_every_command_and_fits(width: int) -> None:
    overview = overview_lines(COMMANDS, width)
    assert all(any(line.strip().startswith(command.words) for line in overview) for command in COMMANDS)
    headings = [line for line in overview[:-3] if line and not line.startswith(" ")]
    assert headings[0] == "See how it is" and headings[-1] == "This console" and len(headings) == len(set(headings))
    assert all(command.group in headings for command in COMMANDS)
    for command in COMMANDS:
        lines = help_lines(command, width)
        assert " ".join("\n".join(lines).split()).startswith(f"usage: {command.usage}")
        assert all(any(param.shown in line for line in lines) for param in command.params if param.kind != "flag")
    if width >= 80:
        assert all(len(line) < width for line in overview)
        texts = [line for command in COMMANDS for line in help_lines(command, width)]
        assert all(len(line) < width for line in texts if not line.startswith("example:"))


def test_help_on_a_group_lists_it_and_on_nonsense_helps() -> None:
    assert len([line for line in help_on(["share"], NODE_COMMANDS, 80) if line.startswith("  share")]) == 5
    with pytest.raises(UserError, match="did you mean"):
        help_on(["dowloads"], NODE_COMMANDS, 80)


def test_the_reference_names_every_command_setting_and_column() -> None:
    page = schema.commands_page()
    for command in COMMANDS:
        assert f"## {command.words}\n" in page
        assert all(f"| `{column.key}` |" in page for column in command.columns)
    settings = schema.settings_page()
    assert all(f"| `{key.partition('.')[2]}` |" in settings for key in keys())


def test_every_setting_is_documented() -> None:
    for section, _, fields in schema._sections():
        assert all(len(text) > 10 for _, _, _, text in fields), section


def test_the_commented_settings_file_says_the_defaults(tmp_path: object) -> None:
    text = schema.commented_settings()
    assert load(_written(tmp_path, "a.toml", text)).origins == {}
    lines = [line[1:] if line.startswith("#") and not line.startswith("# ") else line for line in text.splitlines()]
    loaded = load(_written(tmp_path, "b.toml", "\n".join(lines)))
    assert loaded.origins.keys() == keys().keys()
    assert loaded.settings == load(None).settings


def test_the_command_line_starts_without_the_reactor() -> None:
    """`gnutella status` in a loop of a script must not pay for Twisted."""
    code = "import sys, gnutella.cli, gnutella.control.remote; sys.exit('twisted' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _written(directory: object, name: str, text: str) -> str:
    path = f"{directory}/{name}"
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    return path
