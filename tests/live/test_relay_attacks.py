"""Whatever is done to daemons with the relay layer: noise on their links, kills, wrong keys, files that change.

Nothing that they said is done is lost, and no line of any log tells of a fault, or of what was asked for.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from anonymizer.uri import ChkUri, OwnUri, parse_uri
from tests.live.daemon import PATIENCE_S, refused
from tests.live.relay_island import SMALL, Island, RelayDaemon, make_file

pytestmark = [pytest.mark.live, pytest.mark.timeout(150)]

COUNT = 5
SIZE = 100_000
#: The node that is killed.
KILLED = 1


class Used:
    """An island, and what was used on it that no log may have."""

    def __init__(self, island: Island, directory: Path) -> None:
        self.island, self.directory = island, directory
        self.secrets: list[bytes] = []

    def __getitem__(self, number: int) -> RelayDaemon:
        return self.island.nodes[number]

    def file(self, name: str, size: int = SIZE, seed: int = 1) -> Path:
        make_file(self.directory / name, size, seed)
        return self.directory / name

    def used(self, text: str) -> str:
        """A key that is used."""
        uri = parse_uri(text)
        if isinstance(uri, ChkUri):
            self.secret(uri.routing, uri.key)
        elif isinstance(uri, OwnUri):
            self.secret(uri.key.seed, uri.key.secret)
        self.secrets += [part.encode() for part in re.split("[:,/]", text) if len(part) > 10]
        return text

    def secret(self, *parts: bytes) -> None:
        """Nobody shall find that in a log, in any form."""
        for part in parts:
            self.secrets += [part, part.hex().encode(), repr(part)[2:-1].encode()]


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Used]:
    base = tmp_path_factory.mktemp("relay")
    with Island(base, COUNT, environ={"GNUTELLA_LOG_LEVEL": "debug"}) as island:
        used = Used(island, base)
        yield used
        assert island.faults() == []
        logged = b"".join(node.log.read_bytes() for node in island.nodes)
        assert used.secrets and [secret for secret in used.secrets if secret in logged] == []
        # Each says where it listens itself, and of nobody where he is.
        lines = [line for line in logged.splitlines() if b"127.0.0.1" in line]
        assert lines and [line for line in lines if b" listens on " not in line] == []


# -- noise -----------------------------------------------------------------------------------------------------------------


def hello_of(protocol: str) -> bytes:
    """The first flight of a TLS client that asks for that protocol."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols([protocol])
    coming, going = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(coming, going).do_handshake()
    return going.read()


def poke(address: tuple[str, int], data: bytes) -> None:
    """Send and say no more; wait until the other side has closed."""
    with socket.create_connection(address, PATIENCE_S) as line:
        line.settimeout(PATIENCE_S)
        try:
            line.sendall(data)
            line.shutdown(socket.SHUT_WR)
            while line.recv(65536):
                pass
        except OSError as error:
            # Closed before all was said.
            assert not isinstance(error, TimeoutError)


def test_broken_greetings_of_relay_links_are_closed_and_counted(used: Used) -> None:
    rng, victim, hello = random.Random(3), used[2], hello_of("arl/1")
    for cut in (1, 5, 6, 100, len(hello) - 1):
        poke(victim.address, hello[:cut])
        poke(victim.address, hello[:cut] + rng.randbytes(400))
    for _ in range(40):
        broken = bytearray(hello)
        for _ in range(1 + rng.randrange(8)):
            broken[rng.randrange(len(broken))] = rng.randrange(256)
        poke(victim.address, bytes(broken))
    poke(victim.address, hello + rng.randbytes(70_000))
    assert victim.relay()["refused"]["tls_broken"] > 0
    assert used.island.is_settled(victim)


# -- the console -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "get arl:chk:",
        "get arl:chk:AAAA,BBBB,1",
        "get arl:own:AAAA",
        "get arl:usk:" + "A" * 5000 + "/x/0",
        "get 0",
        "get 99999999999999999999999999",
        "get ٣",
        "cancel 99999999999999999999999999",
        "cancel 0",
        "put /proc/self/mem",
        "put /",
        "put /dev/zero --as nonsense",
        "share /",
        "share /etc/nothing",
        "unshare ../../etc/passwd",
        "search x --limit 99999999999999999999999999 --wait 0.1",
        f"search {'a' * 3000} --wait 0.1",
        "put x --level strong",
    ],
)
def test_wrong_keys_and_huge_numbers_are_refused_with_a_reason(used: Used, line: str) -> None:
    small = "" if line.startswith(("cancel", "unshare")) else SMALL
    (*_, last) = used[0].ask(f"anonymous {line} {small}")
    assert last[0] == "5" and "fault of ours" not in last and "internal" not in last.lower(), last


# -- files that change --------------------------------------------------------------------------------------------------------


def test_a_shared_file_that_changed_is_no_longer_served_and_never_shown_as_the_old_one(used: Used) -> None:
    path = used.file("mutable tale.txt", seed=5)
    row = used[0].job(f"share '{path}'")
    uri = used.used(row["uri"])
    path.write_bytes(random.Random(6).randbytes(SIZE))
    got = used[3].get(uri)
    assert (got["state"], got["path"]) == ("failed", "")
    assert got["error"].split(":")[0] in {"DataNotFound", "ProviderGone", "PivotTimeout"}


@pytest.mark.parametrize("what", ["pipe", "directory", "nothing", "/proc/self/mem"])
@pytest.mark.parametrize("command", ["put", "share"])
def test_what_cannot_be_read_as_a_file_is_told_at_once_by_name(
    used: Used, tmp_path: Path, command: str, what: str
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    said = used[0].cli("anonymous", command, str(tmp_path / what), *SMALL.split(), "--wait", "20")
    assert "cannot be read" in said.stderr and said.returncode == 64 and used.island.is_settled(used[0]), said


# -- disks -------------------------------------------------------------------------------------------------------------------


def test_a_disk_that_is_gone_ends_a_fetch_by_name_and_the_node_goes_on(used: Used) -> None:
    node, away = used[3], used.directory / "away"
    uri = used.used(used[0].job(f"share '{used.file('another tale.txt', seed=7)}'")["uri"])
    home = (node.directory / "anonymous").rename(away)
    try:
        said = node.cli("anonymous", "get", uri, "--to", "got.txt", *SMALL.split(), "--wait", "25")
        assert said.returncode == 73 and "cannot write got.txt: No such file" in said.stderr, said
        assert used.island.is_settled(node), "it goes on relaying"
    finally:
        home.rename(node.directory / "anonymous")
    assert "DataNotFound" in node.get(uri)["error"], "it is only offered, and asked for without a hint"


def test_a_second_daemon_in_one_directory_is_refused_before_it_touches_anything(used: Used) -> None:
    home = used[4].directory
    before = {path: path.lstat().st_mtime_ns for path in home.rglob("*") if "state.db" not in path.name}
    code, lines = refused(
        *("--dir", str(home), "--anonymous", "--listen", "tcp:0:interface=127.0.0.1", "--console", "off")
    )
    assert code == 73 and len(lines) == 1 and "another node" in lines[0], lines
    after = {path: path.lstat().st_mtime_ns for path in home.rglob("*") if "state.db" not in path.name}
    assert before == {path: after.get(path) for path in before} and used.island.is_settled(used[4])


# -- logs ------------------------------------------------------------------------------------------------------------------


def test_all_that_is_asked_for_is_in_no_log(used: Used, tmp_path: Path) -> None:
    """Pitfall 19; the logs of all nodes, at their most talkative, are read at the end of this module."""
    node = used[2]
    (row,) = node.rows("anonymous key unheardofname")
    own, read = row["own"], used.used(row["read"])
    used.used(own.removesuffix("/unheardofname"))
    path = used.file("secretfilename.txt", seed=11)
    lines = [
        f"publish '{path}' --as {own} {SMALL} --wait 0.5",
        f"anonymous put '{path}' --unlisted --convergent {SMALL} --wait 0.3",
        f"anonymous get {read} --to secretoutput {SMALL} --wait 0.3",
        f"anonymous get arl:ksk:secretkeyword {SMALL} --wait 0.3",
        f"get {used.used(str(ChkUri(os.urandom(32), os.urandom(32))))} --anonymous relay {SMALL} --wait 0.3",
        f"anonymous search secretsearchwords {SMALL} --wait 0.3",
        f"search othersecretwords --anonymous relay {SMALL} --wait 0.3",
        f"anonymous share '{path}' {SMALL}",
        "anonymous unshare secretfilename.txt",
        "anonymous unshare secretnobodyhas",
        f"publish '/secretplace/nothing' {SMALL}",
        f"anonymous get {read}secretmore/x {SMALL}",
    ]
    used.secrets += [word.encode() for word in set(re.findall("[a-z]*secret[a-z]+", " ".join(lines)))]
    used.secrets += [b"unheardofname", str(path).encode()]
    said = node.ask(*lines)
    assert sum(text[:4] in ("250 ", "575 ", "551 ", "564 ") for text in said) == len(lines), said
    for job in node.rows("anonymous jobs"):
        if job["state"] not in ("done", "failed", "cancelled"):
            node.rows(f"anonymous cancel {job['id']}")
    # Nothing of it is on disk either: it is offered no more, and what was fetched is in nobody's state.
    kept = b"".join(
        path.read_bytes() for path in node.directory.iterdir() if path.is_file() and "sock" not in path.name
    )
    assert len(kept) > 10_000 and [secret for secret in used.secrets if secret in kept] == []


# -- kills -----------------------------------------------------------------------------------------------------------------


def test_a_kill_loses_no_offer_that_was_acknowledged(used: Used) -> None:
    node = used[KILLED]
    row = node.job(f"share '{used.file('kept in the attic.txt', seed=10)}'")
    used.used(row["uri"])
    node.signal(signal.SIGKILL)
    node.ended()
    node.start()
    (offer,) = node.rows("anonymous shares")
    assert (offer["name"], offer["way"], offer["uri"]) == ("kept in the attic.txt", "anchored", row["uri"])
