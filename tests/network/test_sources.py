"""What is said of each way to find first peers, above all of those that fail in silence."""

from __future__ import annotations

import errno
import random
from ipaddress import IPv4Network
from typing import Any

import pytest

from gnutella.network import multicast
from gnutella.network.interfaces import Interface
from gnutella.network.multicast import LanGroup
from gnutella.network.sources import MAX_REASON, Asked, Source, caches_source
from gnutella.routing.udp_caches import ATTEMPTS, TIMEOUT_S, UdpCaches
from gnutella.units import Address

GOOD, ASKED, FRESH = Asked(0, True, False), Asked(0, False, True), Asked(0, False, False)
E0 = Interface("e0", "10.1.2.3", IPv4Network("10.1.2.0/24"))


@pytest.mark.parametrize(
    ("caches", "state", "detail"),
    [
        ([], "idle", "none is named"),
        ([FRESH, FRESH], "idle", "2 known, not needed so far"),
        ([ASKED, FRESH], "asking", "2 known, no answer yet"),
        ([GOOD, FRESH, Asked(3, True, False)], "good", "1 of 3 answered"),
        ([Asked(2, True, True), ASKED], "failed", "1 of 2 asked in vain: no answer"),
        ([Asked(2, True, False), FRESH], "failed", "1 of 2 asked in vain: no answer"),
        (
            [Asked(1, False, False), Asked(1, False, False, "a: no such name")],
            "failed",
            "2 of 2 asked in vain: a: no such name",
        ),
    ],
)
def test_caches_of_one_kind_are_told_as_one(caches: list[Asked], state: str, detail: str) -> None:
    assert caches_source("web caches", caches, "none is named") == ("web caches", state, detail)


def test_the_reason_of_a_stranger_is_one_short_line() -> None:
    told = caches_source("web caches", [Asked(1, False, False, "x\x1b[2J\r\n" + "y" * 500)], "").detail
    assert told.isprintable() and "\n" not in told and len(told) <= MAX_REASON + 40


@pytest.mark.parametrize(
    ("state", "has_links", "ok"),
    [
        ("good", False, True),
        ("failed", False, False),
        ("failed", True, None),
        ("absent", False, None),
        ("asking", False, None),
    ],
)
def test_doctor_blames_a_source_only_while_there_are_no_links(state: Any, has_links: bool, ok: bool | None) -> None:
    row = Source("mDNS", state, "why").check(has_links=has_links)
    assert row is not None
    assert (row["ok"], row["detail"], bool(row["fix"])) == (ok, "why", state in ("failed", "absent"))


@pytest.mark.parametrize("state", ["off", "idle"])
def test_what_is_not_wanted_is_no_business_of_doctor(state: Any) -> None:
    assert Source("multicast", state).check(has_links=False) is None


def test_a_udp_cache_that_is_mute_is_told_with_the_reason() -> None:
    mute, nameless = Address("mute.example", 1), Address("nameless.example", 2)
    caches = UdpCaches([mute, nameless], random.Random(1))

    def told() -> Source:
        return caches_source("UDP host caches", (Asked(*row[1:]) for row in caches.rows()), "none is named")

    assert told().state == "idle"
    for attempt in range(ATTEMPTS + 1):
        caches.due(attempt * TIMEOUT_S, needs_hosts=True)
        assert told().state == ("asking" if attempt < ATTEMPTS else "failed")
    assert told().detail == "2 of 2 asked in vain: no answer"
    caches.unreachable(nameless, "nameless.example: no such name")
    caches.unreachable(Address("unknown.example", 3), "not noted")
    assert told().detail == "2 of 2 asked in vain: nameless.example: no such name"
    caches.answered(mute, 1000.0)
    assert told() == ("UDP host caches", "good", "1 of 2 answered")


class Port:
    """A datagram port whose system permits what `refuses` does not name."""

    def __init__(self, *refuses: str) -> None:
        self.refuses = refuses
        self.sent: list[bytes] = []

    def getHandle(self) -> Port:
        return self

    def getHost(self) -> Address:
        return Address("0.0.0.0", 6347)

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        if "hear" in self.refuses and isinstance(value, bytes) and len(value) == 8:
            raise PermissionError(errno.EPERM, "Operation not permitted")

    def write(self, data: bytes, to: tuple[str, int]) -> None:
        if "call" in self.refuses:
            raise OSError(errno.ENETUNREACH, "Network is unreachable")
        self.sent.append(data)


def group(
    monkeypatch: pytest.MonkeyPatch, *refuses: str, networks: list[Interface] | None = None
) -> tuple[LanGroup, Port]:
    port = Port(*refuses)

    def opened(*args: Any, **options: Any) -> Port:
        if "open" in refuses:
            raise PermissionError(errno.EPERM, "Operation not permitted")
        return port

    monkeypatch.setattr(multicast, "open_datagram_port", opened)
    made = LanGroup(None, lambda data, source, near: None, lambda: [E0] if networks is None else networks)
    made.open()
    made.call(port, b"who is there")
    return made, port


@pytest.mark.parametrize(
    ("refuses", "detail"),
    [
        ("open", "port 6347 cannot be opened: [Errno 1] Operation not permitted"),
        ("hear", "calls cannot be heard on e0: [Errno 1] Operation not permitted"),
        ("call", "calls cannot be sent on e0: [Errno 101] Network is unreachable"),
    ],
)
def test_multicast_that_is_not_permitted_is_told_with_the_reason(
    refuses: str, detail: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, port = group(monkeypatch, refuses)
    assert made.source() == ("multicast", "failed", detail)
    assert port.sent == ([b"who is there"] if refuses == "hear" else [])


def test_multicast_without_a_network_waits_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    networks: list[Interface] = []
    made, port = group(monkeypatch, networks=networks)
    assert made.source() == ("multicast", "failed", "no network of this machine carries multicast")
    networks.append(E0)
    assert made.call(port, b"again") == 1
    assert made.source() == ("multicast", "good", "on e0")
