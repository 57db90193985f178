"""UPnP through the library's words, with a library that does as it is told."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from gnutella.network import upnp
from gnutella.network.upnp import LIFETIME_S, RENEW_S, RETRY_S, Mapped, MiniUpnp, UpnpFailed, UpnpMapping, find_igd
from gnutella.network.workers import Workers


class Library:
    """miniupnpc, as far as it is used."""

    lanaddr = "192.168.1.5"
    discoverdelay = 0

    def __init__(self, *, routers: int = 1, taken: tuple[int, ...] = (), endless: bool = False) -> None:
        self.routers, self.taken, self.endless = routers, taken, endless
        self.mapped: dict[tuple[int, str], int] = {}

    def UPnP(self) -> Library:
        return self

    def discover(self) -> int:
        if self.routers < 0:
            raise Exception("Success")
        return self.routers

    def selectigd(self) -> str:
        return "http://192.168.1.1/rootDesc.xml"

    def externalipaddress(self) -> str:
        return "24.1.2.3"

    def addportmapping(self, port: int, kind: str, host: str, inside: int, text: str, remote: str, lease: int) -> bool:
        if port in self.taken:
            raise Exception("ConflictInMappingEntry")
        if self.endless and lease:
            raise Exception("OnlyPermanentLeasesSupported")
        self.mapped[port, kind] = lease
        return True

    def deleteportmapping(self, port: int, kind: str) -> bool:
        del self.mapped[port, kind]
        return True


def test_both_ports_are_mapped_renewed_and_taken_back() -> None:
    library = Library()
    igd = MiniUpnp(library)
    assert igd.add(6346, 6346) == igd.add(6346, 6346) == Mapped("24.1.2.3", 6346)
    assert library.mapped == {(6346, "TCP"): LIFETIME_S, (6346, "UDP"): LIFETIME_S}
    igd.remove()
    igd.remove()
    assert library.mapped == {}


def test_a_port_of_another_host_is_left_to_it() -> None:
    assert MiniUpnp(Library(taken=(6346, 6347))).add(6346, 6346).port == 6348
    with pytest.raises(UpnpFailed, match="Conflict"):
        MiniUpnp(Library(taken=tuple(range(6346, 6400)))).add(6346, 6346)


def test_routers_that_only_know_mappings_without_end_get_them() -> None:
    library = Library(endless=True)
    assert MiniUpnp(library).add(6346, 6346).port == 6346
    assert set(library.mapped.values()) == {0}


@pytest.mark.parametrize("routers", [0, -1])
def test_no_router_is_said_in_words(routers: int) -> None:
    with pytest.raises(UpnpFailed, match="no router answers"):
        MiniUpnp(Library(routers=routers)).add(6346, 6346)


def test_without_the_extra_there_is_no_upnp(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", absent)
    assert find_igd() is None


def keep(library: Library, monkeypatch: pytest.MonkeyPatch) -> tuple[UpnpMapping, Clock, list[Any]]:
    clock: Any = Clock()
    told: list[Any] = []
    monkeypatch.setattr(upnp, "Workers", lambda reactor, **_: Workers(reactor, inline=True))
    return UpnpMapping(clock, MiniUpnp(library), 6346, lambda *mapped: told.append(mapped)), clock, told


def test_a_mapping_is_kept_and_ends_with_the_node(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library()
    mapping, clock, told = keep(library, monkeypatch)
    mapping.start()
    assert (told, mapping.state) == ([("24.1.2.3", 6346)], "mapped")
    library.mapped.clear()
    clock.advance(RENEW_S)
    assert len(library.mapped) == 2
    stopping: Deferred[None] = mapping.stop()
    assert stopping.called and library.mapped == {} and clock.getDelayedCalls() == []


def test_a_router_that_is_not_there_is_looked_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Library(routers=0)
    mapping, clock, told = keep(library, monkeypatch)
    mapping.start()
    assert (told, mapping.state, mapping.detail) == ([(None, None)], "silent", "no router answers")
    library.routers = 1
    clock.advance(RETRY_S)
    assert told[-1] == ("24.1.2.3", 6346)
    mapping.stop()
    assert clock.getDelayedCalls() == []
