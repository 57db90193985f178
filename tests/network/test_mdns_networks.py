"""mDNS follows the networks of the machine: those that come after the daemon, change, or go."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest
from twisted.internet.task import Clock

from gnutella.network import mdns
from gnutella.network.interfaces import Interface
from gnutella.network.mdns import LOOK_S, Mdns
from gnutella.network.workers import Workers

CABLE = Interface("e0", "10.77.0.1", IPv4Network("10.77.0.0/24"))
RADIO = Interface("w0", "10.78.0.1", IPv4Network("10.78.0.0/24"))


class Library:
    """What zeroconf was told."""

    told: list[tuple[str, list[str]]]

    def __init__(self, name: str, noticed: Any) -> None:
        self.own_name = name
        self._hosts: list[str] = []

    def open(self, port: int, hosts: list[str]) -> None:
        assert port == 6346
        self._hosts = hosts
        self.told.append(("open", hosts))

    def close(self) -> None:
        self.told.append(("close", self._hosts))


def test_networks_that_come_change_and_go_are_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, list[str]]] = []
    Library.told = told
    monkeypatch.setattr(mdns, "is_installed", lambda: True)
    monkeypatch.setattr(mdns, "_Library", Library)
    monkeypatch.setattr(mdns, "Workers", lambda reactor, **more: Workers(reactor, inline=True))
    clock, there = Clock(), list[Interface]()
    node = Mdns(clock, "node", lambda hosts: None, lambda reason: None, networks=lambda: list(there))
    node.start(6346)
    assert node.state == "idle" and "no network" in node.source().detail and told == []
    steps: tuple[tuple[list[Interface], str, list[tuple[str, list[str]]]], ...] = (
        ([CABLE], "running", [("open", [CABLE.host])]),
        ([CABLE], "running", []),
        ([CABLE, RADIO], "running", [("close", [CABLE.host]), ("open", [CABLE.host, RADIO.host])]),
        ([], "idle", [("close", [CABLE.host, RADIO.host])]),
        ([RADIO], "running", [("open", [RADIO.host])]),
    )
    for networks, state, said in steps:
        there[:] = networks
        before = len(told)
        clock.advance(LOOK_S)
        assert node.state == state and told[before:] == said
    node.stop()
    assert node.state == "idle" and told[-1] == ("close", [RADIO.host]) and clock.getDelayedCalls() == []
