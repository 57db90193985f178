"""What a person wants as a download: hits, URNs, magnets."""

from __future__ import annotations

from typing import Any

import pytest

from gnutella.errors import UserError
from gnutella.network.transfers import KnownSource
from gnutella.protocol.magnet import Magnet, format_magnet
from gnutella.protocol.urn import b32encode, sha1_urn
from gnutella.routing.results import Hit, HitSource
from gnutella.testing.routers import guid_of
from gnutella.units import Address
from gnutella.wanted import add_hit, add_text, sources_of

SHA1, TTH = b"1" * 20, b"t" * 24
ONE, OTHER, THIRD = (Address(f"10.2.0.{number}", 6346) for number in (1, 2, 3))


class Downloads:
    """Notes what it is asked for."""

    def __init__(self) -> None:
        self.sha1 = b""
        self.wanted: dict[str, Any] = {}

    async def add(self, sha1: bytes, **wanted: Any) -> dict[str, object]:
        self.sha1, self.wanted = sha1, wanted
        return {"id": 1}


def run(coroutine: Any) -> Any:
    """The result of a coroutine that never waits."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


def a_hit(sha1: bytes | None = SHA1) -> Hit:
    hit = Hit(3, "name.ogg", 100, sha1, 1)
    hit.add(HitSource(ONE, guid_of(1), 7, "name.ogg", "GTKG", False, alternates=(OTHER, THIRD)), TTH, 1)
    hit.add(HitSource(OTHER, guid_of(2), 9, "other.ogg", "LIME", True), None, 2)
    return hit


def test_those_who_answered_are_sources_and_their_alternates_too() -> None:
    assert sources_of(a_hit()) == [
        KnownSource(ONE, guid_of(1), 7, "name.ogg", False),
        KnownSource(OTHER, guid_of(2), 9, "other.ogg", True),
        KnownSource(THIRD),
    ]


def test_a_hit_is_downloaded_under_its_name_or_another() -> None:
    downloads: Any = Downloads()
    assert run(add_hit(downloads, a_hit())) == {"id": 1}
    assert downloads.sha1 == SHA1
    assert (downloads.wanted["name"], downloads.wanted["size"], downloads.wanted["tth"]) == ("name.ogg", 100, TTH)
    assert len(downloads.wanted["sources"]) == 3
    run(add_hit(downloads, a_hit(), "mine.ogg"))
    assert downloads.wanted["name"] == "mine.ogg"


def test_a_hit_without_a_sha1_is_refused() -> None:
    downloads: Any = Downloads()
    with pytest.raises(UserError, match="hit 3 came without a SHA-1"):
        add_hit(downloads, a_hit(None)).send(None)
    assert downloads.sha1 == b""


def test_a_magnet_brings_all_that_it_knows() -> None:
    downloads: Any = Downloads()
    run(add_text(downloads, format_magnet(Magnet(SHA1, TTH, 100, "name.ogg", (ONE, OTHER)))))
    assert downloads.sha1 == SHA1
    assert downloads.wanted == {
        "name": "name.ogg",
        "size": 100,
        "tth": TTH,
        "sources": [KnownSource(ONE), KnownSource(OTHER)],
    }


def test_a_urn_brings_its_hashes_only() -> None:
    downloads: Any = Downloads()
    run(add_text(downloads, f"urn:bitprint:{b32encode(SHA1)}.{b32encode(TTH)}", "mine"))
    assert downloads.sha1 == SHA1
    assert downloads.wanted == {"name": "mine", "size": None, "tth": TTH, "sources": []}
    run(add_text(downloads, sha1_urn(SHA1)))
    assert downloads.wanted == {"name": "", "size": None, "tth": None, "sources": []}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("magnet:?dn=nothing", "names no SHA-1|cannot be read"),
        ("magnet:?xt=urn:sha1:short", "names no SHA-1|cannot be read"),
        ("magnet:", "cannot be read|names no SHA-1"),
        ("urn:sha1:short", "cannot be read"),
        ("urn:tree:tiger:" + b32encode(TTH), "names no SHA-1"),
        ("urn:isbn:0451450523", "names no SHA-1|cannot be read"),
        ("magnet:?xt=" + "A" * 100_000, "names no SHA-1|cannot be read"),
    ],
)
def test_what_names_no_content_is_a_readable_error(text: str, says: str) -> None:
    downloads: Any = Downloads()
    with pytest.raises(UserError, match=says) as caught:
        add_text(downloads, text).send(None)
    assert caught.value.exit_code == 64
    assert len(str(caught.value)) < 300
    assert downloads.sha1 == b""
