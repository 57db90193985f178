"""A12 and A13: nothing happens twice, and what a spy has seen finds nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from anonymizer.stem import Stem
from gnutella.testing.anonymity import replay, traceback
from gnutella.testing.anonymity.stats import Share
from gnutella.testing.anonymity.twins import OneChannel, RemembersSeals

ATTACKS = [replay.openings, replay.posts, replay.fetches]


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_sent_again_has_no_effect(attack: Callable[..., replay.Replayed]) -> None:
    assert attack(2_000, seed=1).effects == 0
    assert attack(300, seed=1, forgets=True).effects > 30


def test_no_number_of_a_header_survives_a_hop() -> None:
    found = traceback.surviving(60, 150, seed=1)
    assert found.hits == 0
    assert found.trials > 300
    assert traceback.surviving(60, 30, seed=1, kind=OneChannel).value == 1


def test_a_channel_of_another_link_is_answered_by_nobody() -> None:
    found = traceback.answers(60, 40, seed=1)
    assert found == Share(0, 40)


@cache
def oracle(kind: type[Stem] = Stem) -> traceback.Oracle:
    return traceback.oracle(100, 150, seed=2, kind=kind)


def test_a_seal_that_is_sent_again_is_treated_like_a_new_one() -> None:
    found = oracle()
    assert found.tested > 4
    assert found.alarms.hits <= found.controls.hits + 2


def test_relays_that_remember_seals_tell_where_they_came_from() -> None:
    found = oracle(RemembersSeals)
    assert found.alarms.hits > found.controls.hits + 5
