"""Every reason for which the relay layer refuses, drops or closes something: one enum, as gnutella.reasons is for the servent.

A member's value is the metric label; the documentation table is made from `describe()`.  `costs` says what the peer loses by
it: the link (a broken protocol: closed, without a word), the circuit, or only what it sent.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from typing import Literal

from gnutella.errors import GnutellaError

#: What a refusal ends: the whole link, one circuit, or nothing but the cell (or descriptor) itself.
Cost = Literal["link", "circuit", "cell"]


class Refusal(Enum):
    """Why; see the module text.  Members are grouped by where they arise."""

    # -- cells: a peer that sends one of these does not speak the protocol ---------------------------------------------
    BAD_VERSION = "bad_version", "link", "a cell that does not begin with the version of the layer"
    UNKNOWN_COMMAND = "unknown_command", "link", "a cell with a command that does not exist"
    RESERVED_BITS = "reserved_bits", "link", "a cell with bits set that are sent as zero"
    WRONG_SIZE = "wrong_size", "link", "a cell of the size that its command does not have"
    WRONG_FLAGS = "wrong_flags", "link", "a cell with a flag that its command does not have"
    WRONG_CHANNEL = "wrong_channel", "link", "a channel where none belongs, none where one does, or of the other side"
    BODY_TOO_LONG = "body_too_long", "link", "a cell whose body is announced longer than the cell"
    FILL_NOT_ZERO = "fill_not_zero", "link", "a cell with something else than zeros after its body"
    BAD_BODY = "bad_body", "link", "a body that cannot be read, is not canonical or breaks a bound"
    # -- descriptors ---------------------------------------------------------------------------------------------------
    DESCRIPTOR_BROKEN = "descriptor_broken", "cell", "a descriptor that cannot be read, or is too long"
    DESCRIPTOR_FORGED = "descriptor_forged", "cell", "a descriptor whose signature does not hold"
    DESCRIPTOR_EXPIRED = "descriptor_expired", "cell", "a descriptor past its expiry"
    DESCRIPTOR_FUTURE = "descriptor_future", "cell", "a descriptor issued later than clocks may differ"
    DESCRIPTOR_TOO_LASTING = "descriptor_too_lasting", "cell", "a descriptor that wants to be kept for more than a week"
    DESCRIPTOR_OLD = "descriptor_old", "cell", "a descriptor with a lower sequence number than the one that is kept"
    DESCRIPTOR_FORK = "descriptor_fork", "cell", "two different descriptors of one node with one sequence number"
    DESCRIPTOR_ADDRESS = "descriptor_address", "cell", "a descriptor with an address at which no node can listen"
    DESCRIPTORS_FULL = (
        "descriptors_full",
        "cell",
        "a descriptor outside this week's residue classes, the set being full",
    )
    DESCRIPTORS_MANY = (
        "descriptors_many",
        "cell",
        "one link tells of more nodes, unheard of before, than it may in a day",
    )
    # -- seals ---------------------------------------------------------------------------------------------------------
    SEAL_SUITE = "seal_suite", "circuit", "a seal of a suite that is not spoken here"
    SEAL_BROKEN = "seal_broken", "circuit", "a seal that none of the pivot keys opens"
    SEAL_CONTENT = "seal_content", "circuit", "an opened seal that cannot be read"
    SEAL_TIME = "seal_time", "circuit", "a seal from outside the time window"
    SEAL_REPLAYED = "seal_replayed", "circuit", "a seal that came before"
    SEALS_FULL = "seals_full", "circuit", "more seals within the time window than are remembered"
    BAD_TAG = "bad_tag", "circuit", "a cell of a circuit that is not what the other end sealed"
    BAD_INNER = "bad_inner", "circuit", "an opened cell that cannot be read"

    # -- the session below a link ---------------------------------------------------------------------------------------
    TLS_BROKEN = "tls_broken", "link", "a TLS handshake or record that OpenSSL refuses: another version, no certificate"
    TLS_ALPN = "tls_alpn", "link", "a session in which something else is spoken"
    CERTIFICATE = "certificate", "link", "a certificate that is not as the layer makes them, or more than one"
    PIN = "pin", "link", "another node than the one that was dialled"
    HELLO_LATE = "hello_late", "link", "a session, or a first cell, that did not come in time"
    HELLO_BROKEN = "hello_broken", "link", "a first cell that is no HELLO, of no common version, or a second HELLO"
    HELLO_PROOF = "hello_proof", "link", "a HELLO of another session: somebody is in between"
    HELLO_DESCRIPTOR = "hello_descriptor", "link", "a HELLO with the descriptor of another node"
    HALF_OPEN = "half_open", "link", "more connections that have not said who they are than may wait"
    NETWORK_FAST = "network_fast", "link", "more than three connections a minute from one network"
    # -- links and membership -------------------------------------------------------------------------------------------
    GOSSIP_FAST = "gossip_fast", "cell", "descriptors faster than one cell a second, or asked for again too soon"
    EDGE_OFTEN = "edge_often", "cell", "a stem edge asked for more than once an hour"
    EDGE_UNASKED = "edge_unasked", "cell", "an answer about a stem edge that was not asked for"
    PONG_UNASKED = "pong_unasked", "cell", "a pong without its ping"
    LINK_SILENT = "link_silent", "link", "three pings in a row without an answer"
    LINK_BANNED = "link_banned", "link", "a node, or a network, that is banned"
    LINK_SELF = "link_self", "link", "a link to ourselves"
    LINK_TWICE = "link_twice", "link", "a second link to a node, which the rule for both sides gives up"
    LINK_NETWORK = "link_network", "link", "a second link into one network"
    LINKS_FULL = "links_full", "link", "a link beyond those that are kept, or beyond half of them being others' choice"

    # -- circuits ------------------------------------------------------------------------------------------------------
    NO_CIRCUIT = "no_circuit", "cell", "a cell of a circuit that does not exist, or not any more"
    CIRCUITS_FULL = "circuits_full", "circuit", "a circuit beyond those that a link, or the node, carries"
    CIRCUIT_FLOODED = "circuit_flooded", "circuit", "more bytes of a circuit than wait here, or of all of them"
    WINDOW_OVERRUN = "window_overrun", "circuit", "more cells of a circuit than its window takes"
    CREDIT_EXCESS = "credit_excess", "circuit", "credit for more cells of a circuit than were sent"
    NO_EDGE = "no_edge", "circuit", "a stem that comes by a link which is no stem edge"
    STEM_ENDED = "stem_ended", "cell", "a stem that ends early: its edge brings more than honest ones or circles may"
    POST_REPEATED = "post_repeated", "cell", "a post that came before"
    POST_STRANDED = "post_stranded", "cell", "a post that cannot go on: no edge, or nobody nearer"
    POSTS_FULL = "posts_full", "cell", "posts of one link beyond those that wait here"
    LINK_FULL = "link_full", "cell", "what a link is to be told, beyond what waits here for it"
    LINK_UNREAD = "link_unread", "link", "circuits opened by a link that reads nothing of what becomes of them"
    OWN_PIVOT = "own_pivot", "circuit", "a circuit to ourselves, which no part of the program may ask for"

    # -- searches ------------------------------------------------------------------------------------------------------
    SEEK_FALSE = "seek_false", "link", "a search with the hops of its pivot from another node, or with fewer from it"
    SEEK_AGAIN = "seek_again", "cell", "a search that came before by another link"
    SEEK_NOT_OURS = "seek_not_ours", "cell", "a search that says we began it, which we do not remember"
    SEEK_EMPTY = "seek_empty", "cell", "a search whose text asks for nothing, or for too much"
    SEEKS_MANY = "seeks_many", "cell", "more searches a second than a link, or a circuit, carries"
    HIT_BROKEN = "hit_broken", "cell", "a hit that was not sealed to this search, or cannot be read"
    HITS_MANY = "hits_many", "cell", "more hits than one search takes"
    ANSWERS_MANY = "answers_many", "cell", "more files of ours that would answer than are answered with, or at a time"
    ANSWER_NO_PIVOT = "answer_no_pivot", "cell", "an answer of ours to a pivot that we know no key of"
    ANSWER_NO_ANCHOR = "answer_no_anchor", "cell", "an answer of ours with a file that no pivot leads to just now"
    ANSWER_NO_ROUTE = "answer_no_route", "cell", "an answer of ours that no guard could take"

    # -- key requests --------------------------------------------------------------------------------------------------
    BAD_BLOCK = "bad_block", "link", "a block that is not its key's, or not signed: its sender is banned for an hour"
    ROUTE_LOOP = "route_loop", "cell", "a key request that was here already"
    ROUTE_OVERLOAD = "route_overload", "cell", "a key request beyond what could be answered in two minutes"
    ROUTE_FULL = "route_full", "cell", "a key request beyond those that a link, or the node, may have under way"
    ROUTE_FAILED_LATELY = "route_failed_lately", "cell", "a request for a key that was not found a short time ago"
    ROUTE_STRAY = "route_stray", "cell", "an answer to no request, or from whom it was not asked"
    ROUTE_TIMEOUT = "route_timeout", "cell", "a key request that a neighbour left without acceptance or answer"
    BAD_PROOF = "bad_proof", "cell", "a block is demanded that was not offered"
    OFFER_UNWANTED = "offer_unwanted", "cell", "an offer of a block that nobody asked for here"

    # -- pivots --------------------------------------------------------------------------------------------------------
    PIVOT_FULL = "pivot_full", "circuit", "a circuit to this pivot beyond those that it serves"
    PIVOT_EDGE_FULL = "pivot_edge_full", "circuit", "a circuit to this pivot beyond those that one link may bring"
    PIVOT_FLOODED = "pivot_flooded", "circuit", "more answers that wait for the other end than a pivot holds"
    PIVOT_BUSY = "pivot_busy", "cell", "a key, block, search or meeting beyond those that a circuit has at a time"
    KEY_ASKED_TWICE = "key_asked_twice", "cell", "a key that is being asked for already"
    BLOCK_BROKEN = "block_broken", "circuit", "a block to be stored that is none"
    HIT_LATE = "hit_late", "cell", "a hit for a search that is not, or not any more"
    HIT_AGAIN = "hit_again", "cell", "a hit that came before"
    ANCHORS_FULL = "anchors_full", "cell", "a token beyond those that a circuit, or the node, keeps"
    ANCHOR_TAKEN = "anchor_taken", "cell", "a token that another circuit has"
    ANCHOR_UNKNOWN = "anchor_unknown", "cell", "a token that nobody has here"
    BLOCK_UNASKED = "block_unasked", "cell", "a block of a provider that nobody asked for, or not any more"
    ANCHOR_REFUSED = "anchor_refused", "cell", "a token of ours that a pivot did not list"
    PROVIDER_BUSY = "provider_busy", "cell", "a block asked of us beyond those that wait on one circuit"
    PROVIDED_CHANGED = "provided_changed", "cell", "a block of ours that its file has no more: the file was changed"
    PROVIDER_SILENT = "provider_silent", "circuit", "a provider, or its pivot, that answers nothing for too long"
    GATEWAY_QUOTA = "gateway_quota", "cell", "a query of the plain overlay beyond those of an hour"
    GATEWAY_HIT = "gateway_hit", "cell", "a hit of the plain overlay that cannot be told"

    # -- this node's own disk ------------------------------------------------------------------------------------------
    DISK_BLOCK = "disk_block", "cell", "a block that the disk did not take, or gave back torn or not at all"
    DISK_STATE = "disk_state", "cell", "keys, guards, editions or shares that state.db did not take"

    costs: Cost
    meaning: str

    def __new__(cls, label: str, costs: Cost, meaning: str) -> Refusal:
        member = object.__new__(cls)
        member._value_ = label
        member.costs = costs
        member.meaning = meaning
        return member

    #: Members are equal to nothing but themselves; the hash of Enum would be a call of Python code for each one counted.
    __hash__ = object.__hash__


class Violation(GnutellaError):
    """A peer, or whoever sealed something to us, broke the protocol of the layer; decoders here raise nothing else.

    `detail` is for tests and a log that the user asked for: it never holds bytes, keys or addresses of the peer.
    """

    def __init__(self, reason: Refusal, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail


class Refusals:
    """How often what was refused."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: Counter[Refusal] = Counter()

    def count(self, reason: Refusal, number: int = 1) -> None:
        self._counts[reason] += number

    def __getitem__(self, reason: Refusal) -> int:
        return self._counts[reason]

    def rows(self) -> dict[str, int]:
        """Label and count of each reason that arose, in order of definition."""
        return {reason.value: self._counts[reason] for reason in Refusal if self._counts[reason]}


def describe() -> list[tuple[str, str, str]]:
    """Rows (label, what it costs, meaning) for the documentation table, in order of definition."""
    return [(reason.value, reason.costs, reason.meaning) for reason in Refusal]
