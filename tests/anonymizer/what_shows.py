"""A program that prints what a node of the relay layer lets others see, as JSON: test_two_hosts.py runs it on unlike machines.

Keys, chance and clock are given, so all that differs comes from the machine.  Of TLS, whose keys are fresh, it tells the
lengths of records, and of the client hello all that is not random.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

from anonymizer.cells import SMALL_BODY
from anonymizer.chk import DATA_BYTES
from anonymizer.files import Splitter
from anonymizer.kinds import kind_bits
from anonymizer.mimes import mime_of
from anonymizer.shares import AnonymousShare
from anonymizer.ssk import WriteKey
from anonymizer.terms import normal
from anonymizer.uri import ChkUri
from anonymizer.wire import Ciphertext, cell_of
from gnutella.protocol.client_hello import alpn_of
from gnutella.testing.relay_nodes import descriptor_of
from tests.anonymizer.test_relay_link import Pair

NAMES = [
    "tale.TXT",
    "song.opus",
    "bild.webp",
    "notes.md",
    "book.epub",
    "archive.tar.gz",
    "nothing",
    "x.odt",
    "İstanbul ß.PDF",
]
TEXTS = ["Ärger IN İstanbul", "one,two;three", "日本 rain", "straße STRASSE ﬁne"]


def records(data: bytes) -> list[tuple[int, int]]:
    """Type and length of each TLS record."""
    found = []
    while data:
        length = int.from_bytes(data[3:5], "big")
        found.append((data[0], length))
        data = data[5 + length :]
    return found


def hello_of(data: bytes) -> dict[str, Any]:
    """Of a client hello: versions, ciphers, and its extensions in their order, with contents where they are not random."""
    at = 5 + 4
    version, at = data[at : at + 2], at + 34
    at += 1 + data[at]
    size = int.from_bytes(data[at : at + 2], "big")
    ciphers, at = data[at + 2 : at + 2 + size], at + 2 + size
    at += 1 + data[at] + 2
    extensions = []
    while at < len(data):
        kind, size = int.from_bytes(data[at : at + 2], "big"), int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 4 + size]
        # 51 has the key shares, of which the groups and lengths are those of extension 10.
        extensions.append((kind, size, "" if kind == 51 else body.hex()))
        at += 4 + size
    return {"version": version.hex(), "ciphers": ciphers.hex(), "extensions": extensions}


def link() -> dict[str, Any]:
    """A handshake, the first cells, and two more of each side."""
    pair = Pair()
    pair.begin()
    sent: dict[str, list[bytes]] = {"client": [], "server": []}
    for turn in range(8):
        if turn == 5:
            for side in (pair.client, pair.server):
                side.link.send([cell_of(Ciphertext(bytes(SMALL_BODY)), 3)])
        for name, side, other in (("client", pair.client, pair.server), ("server", pair.server, pair.client)):
            data = side.take()
            sent[name].append(data)
            other.link.dataReceived(data)
    assert pair.client.link.is_open and pair.server.link.is_open
    hello = sent["client"][0]
    return {
        "hello": hello_of(hello),
        "alpn": [name.decode() for name in alpn_of(hello) or ()],
        "records": {name: [records(data) for data in pieces] for name, pieces in sent.items()},
    }


def words() -> dict[str, Any]:
    """What is made of names, words and files."""
    uri, owner, chance = ChkUri(bytes(32), bytes(32)), WriteKey(b"s" * 32, b"r" * 32), b"c" * 16
    hits = [AnonymousShare(name, 7, mime_of(name), kind_bits(name), uri, False).hit() for name in NAMES]
    splitter = Splitter(b"k" * 32)
    blocks = list(splitter.feed(random.Random(1).randbytes(3 * DATA_BYTES)))
    root, rest = splitter.finish(mime_of("tale.txt"))
    return {
        "hits": [repr(hit.to_map()) for hit in hits],
        "texts": [normal(text) for text in TEXTS],
        "descriptor": descriptor_of(3).data.hex(),
        "record": owner.write("page", 4, b"text", chance).hex(),
        "file": [str(root), *(block.routing.hex() for block in [*blocks, *rest])],
    }


if __name__ == "__main__":
    json.dump({"link": link(), "words": words()}, sys.stdout, sort_keys=True)
