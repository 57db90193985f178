"""Known answers, derived from the written format with the standard library and bare primitives, not with our code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from anonymizer.blocks import CHK, location
from anonymizer.chk import DATA, convergent_hash, pad, seal, unpad, unseal
from anonymizer.fec import check_texts
from anonymizer.files import FileReader, Splitter
from anonymizer.ssk import WriteKey, check_record, keyword_key
from anonymizer.uri import SskUri, parse_uri

VECTORS: dict[str, Any] = json.loads((Path(__file__).parent / "vectors/keys.json").read_text(encoding="utf-8"))


def test_a_content_block() -> None:
    vector = VECTORS["chk"]
    key, data = bytes.fromhex(vector["key"]), bytes.fromhex(vector["data"])
    block = seal(pad(data), key, DATA, vector["index"])
    assert block.sealed[:48].hex() == vector["head"]
    assert block.routing.hex() == vector["routing"]
    assert f"{location(CHK, block.routing):016x}" == vector["location"]
    assert unpad(unseal(block.routing, block.sealed, key, DATA, vector["index"])) == data


def test_a_signed_document() -> None:
    vector = VECTORS["ssk"]
    key = WriteKey(bytes.fromhex(vector["seed"]), bytes.fromhex(vector["secret"]))
    data = bytes.fromhex(vector["data"])
    record = key.write(vector["name"], vector["sequence"], data, bytes.fromhex(vector["chance"]))
    assert record.hex() == vector["record"]
    assert check_record(bytes.fromhex(vector["routing"]), record).sequence == vector["sequence"]
    uri = parse_uri(vector["uri"])
    assert uri == SskUri(key.read_key, vector["name"])
    assert key.read_key.read("page", [record]).data == data


def test_a_keyword_in_either_normal_form() -> None:
    vector = VECTORS["ksk"]
    expected = WriteKey(bytes.fromhex(vector["seed"]), bytes.fromhex(vector["secret"]))
    assert keyword_key(vector["keyword"]) == expected
    assert keyword_key(vector["decomposed"]) == expected


def test_a_file_under_its_convergent_key() -> None:
    vector = VECTORS["file"]
    data = vector["pattern"].encode() * vector["times"]
    digest = convergent_hash()
    digest.update(data)
    splitter = Splitter(digest.digest(), redundant=False)
    blocks = list(splitter.feed(data))
    uri, last = splitter.finish(vector["mime"])
    blocks += last
    assert str(uri) == vector["uri"]
    assert unpad(unseal(uri.routing, blocks[-1].sealed, uri.key, DATA, 0)).hex() == vector["root"]
    reader = FileReader(uri)
    held = {block.routing: block.sealed for block in blocks}
    for _ in range(2):
        for routing in reader.ask(9):
            reader.receive(routing, held[routing])
    assert b"".join(reader.take()) == data
    assert reader.is_done


def test_check_texts() -> None:
    vector = VECTORS["fec"]
    assert [text.hex() for text in check_texts([bytes.fromhex(text) for text in vector["sources"]], 5)] == vector[
        "checks"
    ]
