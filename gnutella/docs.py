"""Pages of documentation that are made from the code, so that they cannot disagree with it.

    python -m gnutella.docs            writes them below docs/
    python -m gnutella.docs --check    exit 1 and name those that are stale

A page is an entry of `PAGES`: its place below docs/, and the function that gives its Markdown.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from gnutella.control.schema import commands_page, events_page, settings_page
from gnutella.lab.reference import scenario_page
from gnutella.protocol.ggep_keys import KEYS, PLACES
from gnutella.protocol.kinds import HEADER_SIZE, KIND_NAMES, MAX_PAYLOAD
from gnutella.protocol.vendor import KNOWN, VendorMessage
from gnutella.reasons import describe
from gnutella.settings_file import OPTION_NAMES
from gnutella.tap import Options

#: Where the pages are written: the documentation of the checkout that one stands in.
DOCS = Path("docs")
MADE = "<!-- Made by `python -m gnutella.docs` from the code; change it there. -->"

#: What each kind is for; a kind without a line here fails the test of this page.
_PURPOSES = {
    "ping": "asks who is there; with TTL 1 whether the neighbour lives",
    "pong": "answers with an address and what is shared there",
    "bye": "says why the sender closes the link",
    "route_table": "tells a neighbour which words lead to files here",
    "vendor": "anything else, named by four letters, selector and version",
    "vendor_standard": "the same, for messages that became common",
    "push": "asks a servent that cannot be dialled to dial us",
    "rudp": "firewall-to-firewall transfers; UDP only, counted and ignored",
    "dht": "distributed hash table; UDP only, counted and ignored",
    "query": "asks for files by words or by hash",
    "query_hit": "names files that a query matched, and where to get them",
    "hsep": "how many hosts and files are within reach",
}


_DAEMON_HEAD = """\
`gnutella run [options]` and `twistd -n gnutella [options]` run a node in the foreground, `twistd gnutella [options]` in the
background, with its log in `twistd.log` where it was started.  twistd writes `twistd.pid` there as well, also with `-n`, and
refuses a second daemon beside it: `twistd -n --pidfile= gnutella` does without.  Options of twistd itself, such as
`--logfile`, come before the word `gnutella`.
"""
_DAEMON_REST = """\
An option beats the environment and the file; a change made at run time (`gnutella config set`) beats the option.  See
[settings](settings.md) for every key.  The default of `--dir` is `$GNUTELLA_DIR`, else `$XDG_STATE_HOME/gnutella`, else
`~/.local/state/gnutella`.

If it cannot start it exits with 64 (options), 69 (a port is in use), 73 (another node has the directory) or 78 (settings) and
one line on stderr.  SIGTERM and SIGINT end it in order: Bye to the peers, state to disk.  SIGHUP reads the settings again and
opens the log file anew; so closing the terminal of a foreground node does not end it.
"""


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table; bars in cells are escaped."""
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def messages_page() -> str:
    """Kinds, GGEP keys, vendor messages and drop reasons."""
    places = ", ".join(f"{letters} {place}" for letters, place in PLACES.items())
    return (
        "\n\n".join(
            (
                "# Messages, extensions and drop reasons",
                MADE,
                f"A message is a header of {HEADER_SIZE} bytes and a payload of at most {MAX_PAYLOAD}. The header has GUID "
                "(16 bytes), kind, TTL, hops (1 each) and the length of the payload (4, little endian).",
                "## Kinds",
                table(
                    ("kind", "name", "purpose"),
                    ((f"`{k:02x}`", name, _PURPOSES[name]) for k, name in KIND_NAMES.items()),
                ),
                "The names are those of the counts in `gnutella status --json` (`traffic`). Kinds that are not in this table "
                "are counted as `unknown_kind`.",
                "## GGEP keys",
                f"Where: {places}. A key that is neither read nor written here is kept as it is when a message is passed on.",
                table(("key", "where", "layout", "meaning", "here"), ((f"`{k.key}`", *k[1:]) for k in KEYS)),
                "## Vendor messages",
                "Others are counted and ignored.",
                table(("message", "name", "meaning"), _vendor_rows()),
                "## Drop reasons",
                "Whatever is dropped, refused or closed is counted under one of these. Bye: the code that a link is told "
                "before it is closed; HTTP: the status that a request is answered with; without either, the message alone is "
                "dropped or the connection is closed without a word.",
                table(("reason", "Bye", "HTTP", "meaning"), _reason_rows()),
            )
        )
        + "\n"
    )


def daemon_page() -> str:
    """The options of `twistd gnutella`, with the key of gnutella.toml that each stands for."""
    options = table(("option", "may repeat", "key", "meaning"), _option_rows())
    return f"# The daemon and its options\n\n{MADE}\n\n{_DAEMON_HEAD}\n{options}\n\n{_DAEMON_REST}"


def _option_rows() -> Iterable[tuple[str, ...]]:
    keys = {option: key for key, option in OPTION_NAMES.items()}
    for name, short, _, meaning in Options.optParameters:
        label = f"`--{name} …`" + (f", `-{short}`" if short else "")
        yield label, "", _key_of(keys, str(name)), str(meaning)
    for name in sorted(Options().lists):
        meaning = " ".join((getattr(Options, f"opt_{name}").__doc__ or "").split())
        yield f"`--{name} …`", "yes", _key_of(keys, name), meaning
    for name, _, meaning in Options.optFlags:
        yield f"`--{name}`", "", "", str(meaning)


def _key_of(keys: Mapping[str, str], name: str) -> str:
    return f"`{keys[f'--{name}']}`" if f"--{name}" in keys else ""


def _vendor_rows() -> Iterable[tuple[str, str, str]]:
    for (vendor, selector), known in KNOWN.items():
        labels = (f"`{VendorMessage(vendor, selector, version).label}`" for version in known.versions)
        yield ", ".join(labels), known.name, known.meaning


def _reason_rows() -> Iterable[tuple[str, object, object, str]]:
    for label, bye, http, meaning in describe():
        yield f"`{label}`", bye or "", http or "", meaning


PAGES: dict[str, Callable[[], str]] = {
    "reference/messages.md": messages_page,
    "reference/commands.md": commands_page,
    "reference/daemon.md": daemon_page,
    "reference/settings.md": settings_page,
    "reference/events.md": events_page,
    "reference/scenario.md": scenario_page,
}


def stale_pages(root: Path) -> list[str]:
    """Pages below `root` that are missing or differ from what the code says."""
    stale = []
    for name, make in PAGES.items():
        path = root / name
        if not path.is_file() or path.read_text(encoding="utf-8") != make():
            stale.append(name)
    return stale


def write_pages(root: Path) -> None:
    """Write all pages below `root`."""
    for name, make in PAGES.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(make(), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gnutella.docs", description="Make the reference pages from the code."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is stale")
    parser.add_argument("--root", type=Path, default=DOCS, help="the documentation's directory")
    options = parser.parse_args(arguments)
    if not options.check:
        write_pages(options.root)
        return 0
    stale = stale_pages(options.root)
    for name in stale:
        print(f"{name} is stale: run python -m gnutella.docs", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
