"""Sums over a whole network: what must balance at the end of a run, and what was dropped."""

from __future__ import annotations

from gnutella.lab.end import messages_in
from gnutella.lab.net import Network
from gnutella.lab.watch import InvariantBroken
from gnutella.reasons import DropReason


def check_balance(net: Network) -> None:
    """Every message that was sent has arrived, is lost, or is on its way; InvariantBroken if the sums differ.

    Links with a stream of their own are left out: what faults, partitions and power failures take is not counted in messages.
    """
    on_way = arrived = sent = lost = 0
    for _, call, arguments in net.clock.waiting():
        if call == net.deliver and arguments[0].peer.stream is None and arguments[0].peer.sent:
            on_way += messages_in(arguments[1])
    for end in net.all_ends:
        if end.stream is None and not end.peer.is_damaged:
            sent += end.sent
            arrived += end.peer.arrived
            lost += end.lost
    if sent != arrived + lost + on_way:
        text = f"{sent} messages were sent, {arrived} arrived, {lost} were lost, {on_way} are on their way"
        raise InvariantBroken("balance", net.clock.now, "*", text)
    for node in net.nodes.values():
        if node.is_up:
            net.watch.bounds(node)


def drop_reasons(net: Network) -> dict[DropReason, int]:
    """Drops of all nodes together, in the order of the enum."""
    total = dict.fromkeys(DropReason, 0)
    for node in net.nodes.values():
        for reason, count in node.drops().items():
            total[reason] += count
    return {reason: count for reason, count in total.items() if count}
