"""Keeping ports mapped, in virtual time, against routers that are old, forgetful, silent or hostile."""

from __future__ import annotations

import pytest

from gnutella.errors import RemoteViolation
from gnutella.protocol.portmap import PORT
from gnutella.reasons import DropReason
from gnutella.routing.port_mapping import FORGOTTEN_GAP_S, MAX_LIFETIME_S, RETRY_S, Mapper, MappingState
from gnutella.testing.fake_router import EXTERNAL, FakeRouter
from gnutella.units import Address

GATEWAY = Address("192.168.1.1", PORT)
NONCE = bytes(range(12))


class Talk:
    """A mapper, a router, and a clock that stops whenever there is something to say."""

    def __init__(self, router: FakeRouter) -> None:
        self.now = 0.0
        self.router = router
        self.mapper = Mapper("192.168.1.1", "192.168.1.5", 6346, NONCE, 0.0)
        self.sent: list[tuple[float, bytes]] = []
        self.step()

    def step(self) -> None:
        for datagram in self.mapper.due(self.now):
            self.sent.append((self.now, datagram))
            answer = self.router.answer(datagram, self.now)
            if answer is not None:
                self.mapper.receive(answer, GATEWAY, self.now)
        if self.mapper.wakes_at <= self.now:  # answers made more questions
            self.step()

    def until(self, time: float) -> None:
        while self.mapper.wakes_at <= time:
            self.now = max(self.now, self.mapper.wakes_at)
            self.step()
        self.now = time


def test_pcp_comes_first() -> None:
    talk = Talk(FakeRouter(offset=1000))
    mapper = talk.mapper
    assert (mapper.state, mapper.method, mapper.external) == (MappingState.MAPPED, "pcp", EXTERNAL)
    assert (mapper.external_port, mapper.has_udp, mapper.expires_at) == (7346, True, 7200.0)
    assert len(talk.sent) == 2 and all(datagram[0] == 2 for _, datagram in talk.sent)


def test_one_number_outside_for_tcp_and_udp_is_asked_for() -> None:
    talk = Talk(FakeRouter())
    assert talk.mapper.has_udp and talk.router.mappings == {(True, 6346): (6346, 7200), (False, 6346): (6346, 7200)}


def test_a_router_that_says_it_only_knows_natpmp_is_asked_in_that_at_once() -> None:
    talk = Talk(FakeRouter(speaks=(0,)))
    mapper = talk.mapper
    assert talk.now == 0.0
    assert (mapper.state, mapper.method, mapper.external) == (MappingState.MAPPED, "nat-pmp", EXTERNAL)


def test_a_router_that_is_silent_to_pcp_is_asked_in_natpmp_later_and_then_left_alone() -> None:
    talk = Talk(FakeRouter(speaks=()))
    talk.until(100.0)
    mapper = talk.mapper
    assert (mapper.state.value, mapper.external_port) == ("silent", None)
    versions = [(datagram[0], round(at, 2)) for at, datagram in talk.sent]
    assert [at for version, at in versions if version == 2] == [0, 0, 3, 3, 9, 9]
    assert sorted({at for version, at in versions if version == 0}) == [21, 21.25, 21.75, 22.75, 24.75, 28.75]
    talk.router.speaks = (2,)
    talk.until(36.75 + RETRY_S)
    assert mapper.state is MappingState.MAPPED and mapper.method == "pcp"


def test_a_port_that_nobody_has_open_is_known_at_once() -> None:
    mapper = Mapper("192.168.1.1", "192.168.1.5", 6346, NONCE, 0.0)
    mapper.due(0.0)
    mapper.unreachable(0.0)
    assert [datagram[0] for datagram in mapper.due(0.0)] == [0, 0, 0]
    mapper.unreachable(0.1)
    assert mapper.state is MappingState.SILENT and mapper.due(0.2) == []


@pytest.mark.parametrize("speaks", [(2,), (0,)])
def test_a_mapping_is_renewed_at_half_its_life_and_taken_back(speaks: tuple[int, ...]) -> None:
    talk = Talk(FakeRouter(speaks=speaks, lifetime_s=1000))
    before = len(talk.sent)
    talk.until(499.0)
    assert len(talk.sent) == before
    talk.until(500.0)
    assert len(talk.sent) == before + 2 and talk.mapper.expires_at == 1500.0
    for datagram in talk.mapper.release():
        talk.router.answer(datagram, talk.now)
    assert talk.router.mappings == {}
    assert talk.mapper.due(1e9) == []


def test_a_mapping_that_is_not_renewed_ends_and_is_asked_anew() -> None:
    talk = Talk(FakeRouter(speaks=(2,), lifetime_s=1000))
    talk.router.speaks = ()
    talk.until(999.0)
    assert talk.mapper.state is MappingState.MAPPED
    talk.until(1100.0)
    assert talk.mapper.state is not MappingState.MAPPED and talk.mapper.external_port is None
    talk.router.speaks = (0, 2)
    talk.until(2000.0)
    assert talk.mapper.state is MappingState.MAPPED


def test_a_router_that_started_anew_is_asked_for_all_mappings_again() -> None:
    talk = Talk(FakeRouter(lifetime_s=1000))
    talk.until(400.0)
    talk.router.started_at = 300.0
    talk.router.mappings.clear()
    talk.until(500.0)
    assert set(talk.router.mappings) == {(True, 6346), (False, 6346)}
    mapper = talk.mapper
    assert mapper._epoch == (500.0, 200) and mapper._forgotten_at == 500.0


def test_an_epoch_that_jumps_about_does_not_make_us_ask_all_the_time() -> None:
    talk = Talk(FakeRouter(lifetime_s=100))
    talk.until(49.0)
    before = len(talk.sent)
    for _ in range(20):
        talk.router.started_at = -1000.0 if talk.router.started_at > -500 else 0.0
        talk.until(talk.now + 10)
    assert len(talk.sent) - before <= 2 * (200 / 50 + 200 / FORGOTTEN_GAP_S) + 2


@pytest.mark.parametrize("speaks", [(0,), (2,)])
def test_a_router_that_says_no_is_asked_again_after_a_while(speaks: tuple[int, ...]) -> None:
    talk = Talk(FakeRouter(speaks=speaks, result=2))
    assert (talk.mapper.state, talk.mapper.refusal) == (MappingState.REFUSED, "not authorised")
    talk.router.result = 0
    states = []
    for time in (RETRY_S - 1, RETRY_S):
        talk.until(time)
        states.append(talk.mapper.state)
    assert states == [MappingState.REFUSED, MappingState.MAPPED]


def test_a_lifetime_without_end_is_not_believed_and_none_at_all_is_refused() -> None:
    talk = Talk(FakeRouter(lifetime_s=0xFFFFFFFF))
    assert talk.mapper.expires_at == MAX_LIFETIME_S
    with pytest.raises(RemoteViolation) as caught:
        Talk(FakeRouter(lifetime_s=0))
    assert caught.value.reason is DropReason.BOGUS_MAPPING


def answers(router: FakeRouter) -> tuple[Mapper, list[bytes]]:
    """A mapper that has asked, and what the router would say."""
    mapper = Mapper("192.168.1.1", "192.168.1.5", 6346, NONCE, 0.0)
    return mapper, [router.answer(datagram, 0.0) or b"" for datagram in mapper.due(0.0)]


@pytest.mark.parametrize(
    "source", [Address("192.168.1.2", PORT), Address("192.168.1.1", 5350), Address("24.9.9.9", PORT)]
)
def test_only_the_router_is_believed(source: Address) -> None:
    mapper, (answer, _) = answers(FakeRouter())
    with pytest.raises(RemoteViolation, match="not from the router"):
        mapper.receive(answer, source, 0.0)
    assert mapper.external_port is None


def test_an_answer_with_another_nonce_port_or_protocol_is_refused() -> None:
    mapper, (answer, _) = answers(FakeRouter())
    wrong = [
        answer[:24] + bytes(12) + answer[36:],
        answer[:40] + b"\0\x50" + answer[42:],
        FakeRouter(speaks=(0,)).answer(bytes.fromhex("000200001 8ca18ca00001c20".replace(" ", "")), 0.0) or b"",
    ]
    for data in wrong:
        with pytest.raises(RemoteViolation) as caught:
            mapper.receive(data, GATEWAY, 0.0)
        assert caught.value.reason is DropReason.BOGUS_MAPPING
    assert mapper.state is MappingState.ASKING


def test_an_answer_counts_once_and_only_when_something_was_asked() -> None:
    mapper, (answer, _) = answers(FakeRouter())
    mapper.receive(answer, GATEWAY, 0.0)
    with pytest.raises(RemoteViolation, match="nothing that was asked"):
        mapper.receive(answer, GATEWAY, 0.0)


def test_a_refusal_of_the_udp_port_leaves_the_tcp_port_mapped() -> None:
    mapper, (tcp, _) = answers(FakeRouter())
    mapper.receive(tcp, GATEWAY, 0.0)
    _, (_, udp) = answers(FakeRouter(result=8))
    mapper.receive(udp, GATEWAY, 0.0)
    assert (mapper.state, mapper.refusal, mapper.has_udp) == (MappingState.MAPPED, "no resources", False)
    assert mapper.wakes_at == RETRY_S
