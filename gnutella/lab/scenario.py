"""Scenario files: a network, what its nodes share, what happens when, and what must come of it; TOML, strictly checked.

    scenario = load("flood.toml")
    schema()                          # the JSON schema of such a file

The structs below are the whole truth about the format: the loader, the JSON schema and docs/reference/scenario.md are made from
them, and the `#:` comment above a field is its documentation.  Times are seconds of virtual time from the start of the run.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from gnutella.errors import UserError
from gnutella.lab.places import Fault as Wrong
from gnutella.lab.places import line_of
from gnutella.network.admission import MAX_LEAF_LINKS
from gnutella.settings import RoutingSettings

#: A scenario file is some pages long; nobody writes a megabyte by hand.
MAX_FILE_BYTES = 1 << 20
#: Nodes of one run; beyond it an array engine is the better tool.
MAX_NODES = 100_000

Seconds = Annotated[float, Meta(ge=0, le=1e7)]
Number = Annotated[float, Meta(ge=0)]
Count = Annotated[int, Meta(ge=0, le=10_000_000)]
Share = Annotated[float, Meta(ge=0, le=1)]
Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[^\s*]+$")]
# Tuples of a fixed form whose items have bounds crash msgspec 0.22 at the next garbage collection; these have a length instead.
Pair = Annotated[tuple[Name, ...], Meta(min_length=2, max_length=2)]
#: What a node is.
Role = Literal["peer", "ultrapeer", "leaf", "auto"]
#: One number, or the least and the most of a range that is drawn from.
Span = Number | Annotated[tuple[Number, ...], Meta(min_length=2, max_length=2)]


class Table(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What all tables have in common: unknown keys are errors."""


class Range(Table, frozen=True):
    """A number within bounds."""

    #: At least that.
    min: float | None = None
    #: At most that.
    max: float | None = None

    def holds(self, value: float | None) -> bool:
        """Whether the value lies within; None, that there is no value, never does."""
        if value is None:
            return False
        return (self.min is None or value >= self.min) and (self.max is None or value <= self.max)

    def __str__(self) -> str:
        parts = [
            f"at least {self.min:g}" if self.min is not None else "",
            f"at most {self.max:g}" if self.max is not None else "",
        ]
        return " and ".join(part for part in parts if part) or "anything"


#: Exactly that number, or `{min = 1, max = 9}` with one or both of them.
Bound = float | Range


class Expect(Table, frozen=True):
    """What must come of a query, or on average of all queries."""

    #: Different files at different nodes that were found.
    hits: Bound | None = None
    #: Found of what there was to find at running nodes, 0 to 1; 1 when there was nothing.
    recall: Bound | None = None
    #: Milliseconds to the first hit; fails when there was none.
    latency_ms: Bound | None = None
    #: Copies of the query that were sent over links.
    messages: Bound | None = None
    #: Hops that the nearest hit travelled.
    hops: Bound | None = None
    #: Nodes that the query came to.
    reached: Bound | None = None


class Linked(Table, frozen=True):
    """What must be true of the links of the whole network at one time."""

    #: Running leaves that have an ultrapeer, of all of them, 0 to 1; 1 without any leaf.
    linked: Bound | None = None
    #: The same with three ultrapeers or more.
    well_linked: Bound | None = None
    #: Running nodes that are no leaves.
    ultrapeers: Bound | None = None
    #: Running leaves.
    leaves: Bound | None = None
    #: Parts that the running nodes fall into, links through leaves not counted, since nothing passes there; 1 is whole.
    parts: Bound | None = None


class Links(Table, frozen=True):
    """Whether nodes look after their links themselves, as servents do; most keys as in [network] of gnutella.toml."""

    #: They do: they dial hosts of their host caches, shake hands, refuse, and are told of others.
    kept: bool = False
    #: Other nodes that each knows at the start, by chance, as from a host cache of the day before.
    known: Annotated[int, Meta(ge=0, le=200)] = 5
    #: Links that are kept open; a leaf has 4 at most.
    want_links: Count = 8
    #: Links to ultrapeers at most.
    max_links: Count = 32
    #: Leaves of an ultrapeer at most.
    max_leaves: Count = 100


class Network(Table, frozen=True):
    """What the links are like, if they do not say otherwise."""

    #: One way, milliseconds; `[least, most]` draws it for each link.
    latency_ms: Span = (10.0, 80.0)
    #: Added by chance to each piece, at most that many milliseconds.
    jitter_ms: Number = 0.0
    #: KiB a second in each direction; 0 is without limit.
    bandwidth_kib_s: Number = 0.0
    #: Chance of each segment to be lost, hence late (streams lose nothing).
    loss: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    #: `full` runs the production handshake on every link, `none` opens links at once.
    handshake: Literal["none", "full"] = "none"


class Topology(Table, frozen=True):
    """Who is linked with whom at the start; nodes that no [[node]] names are called n0, n1, ..."""

    #: `explicit`: only what [[link]] says; the others are what they are called; two_tier is a random core with leaves of one
    #: link each, superpeers one whose leaves have several.
    kind: Literal[
        "explicit",
        "line",
        "ring",
        "star",
        "tree",
        "complete",
        "random_regular",
        "power_law",
        "small_world",
        "two_tier",
        "superpeers",
    ] = "explicit"
    #: Nodes in all; 0: those that [[node]] names.
    nodes: Annotated[int, Meta(ge=0, le=MAX_NODES)] = 0
    #: Links of a node (power_law: on average; two_tier and superpeers: of an ultrapeer with others).
    degree: Annotated[int, Meta(ge=1, le=1000)] = 4
    #: small_world: share of links that lead elsewhere.
    rewired: Share = 0.1
    #: two_tier: how many of the nodes, the last ones, are leaves with one ultrapeer each.
    leaves: Count = 0
    #: superpeers: how many of the nodes, the first ones, are ultrapeers; the others are leaves.
    ultrapeers: Count = 0
    #: superpeers: ultrapeers of each leaf.
    leaf_links: Annotated[int, Meta(ge=1, le=MAX_LEAF_LINKS)] = 3
    #: The other kinds: role of the nodes that no [[node]] names.
    role: Role = "peer"


class Node(Table, frozen=True):
    """One node with a name."""

    #: Unique; `*` means any node elsewhere and is no name.
    name: Name
    #: Names of the files it shares; their bytes follow from their names.
    files: tuple[str, ...] = ()
    #: Bytes of each of them.
    size: Annotated[int, Meta(ge=0, le=1 << 26)] = 4096
    #: `leaf` passes nothing on and links to a few ultrapeers only; `peer` and `ultrapeer` route; `auto`, which needs
    #: `links.kept`, decides by itself.
    role: Role = "peer"
    #: Nobody can connect to it (a firewall); it dials others.
    firewalled: bool = False
    #: Behind the gateway of that name, which translates addresses: nodes of one gateway share its IP address and can connect
    #: to each other; from outside nobody can connect to them.
    nat: str = ""


class Link(Table, frozen=True):
    """One link; the first of the two dials."""

    #: Names of its two nodes.
    between: Pair
    #: As in [network]; left out: the values there.
    latency_ms: Span | None = None
    #: As in [network].
    jitter_ms: Number | None = None
    #: As in [network].
    bandwidth_kib_s: Number | None = None
    #: As in [network].
    loss: Annotated[float, Meta(ge=0, lt=1)] | None = None


class Content(Table, frozen=True):
    """Files by popularity, on top of what [[node]] shares."""

    #: The only kind so far: the k-th file is drawn in proportion to 1 / k ** exponent, for copies and for questions.
    kind: Literal["zipf"] = "zipf"
    #: Different files.
    files: Annotated[int, Meta(ge=1, le=1_000_000)] = 100
    #: Copies of all of them together; each has one at least.
    copies: Count = 0
    #: 0 makes all equally popular.
    exponent: Annotated[float, Meta(ge=0, le=5)] = 0.8
    #: Bytes of each file.
    size: Annotated[int, Meta(ge=0, le=1 << 26)] = 4096


class Action(Table, frozen=True, tag_field="do", tag=str.lower):
    """Something that happens."""

    #: When.
    at_s: Seconds


class Query(Action, frozen=True):
    """A node asks.  Without `text` and `urn` it asks for a file of [content], drawn by popularity."""

    #: Who asks; `*` is a running node by chance.
    asker: str = field(name="from", default="*")
    #: Words.
    text: str = ""
    #: urn:sha1:...
    urn: str = ""
    #: TTL; left out: the setting query_ttl.
    ttl: Annotated[int, Meta(ge=1, le=7)] | None = None
    #: Ask that often, each time with new chance, ...
    times: Annotated[int, Meta(ge=1, le=1_000_000)] = 1
    #: ... that many seconds apart.
    every_s: Seconds = 0.1
    #: Hits that come later than this many seconds do not count; left out: the whole run.
    wait_s: Seconds | None = None
    #: What must come of it (of each of `times`).
    expect: Expect | None = None
    #: What must come of it on average of `times`.
    on_average: Expect | None = None


class Download(Action, frozen=True):
    """A node searches for words and downloads the first file found from all its sources."""

    #: Who downloads.
    node: str
    #: Words that find the file.
    text: str
    #: Hits are waited for so long; then the first one is fetched.
    search_s: Seconds = 3.0
    #: It must be whole, byte by byte, this many seconds after; 0: it need not be.
    within_s: Seconds = 60.0


class Publish(Action, frozen=True):
    """A node shares more files."""

    #: Who.
    node: str
    #: Names.
    files: tuple[str, ...]


class Join(Action, frozen=True):
    """A node comes: a new one, or one that left."""

    #: Its name.
    node: Name
    #: Whom it dials: names, or how many running nodes by chance.
    links: tuple[str, ...] | Count = 3
    #: Files that a new node shares.
    files: tuple[str, ...] = ()
    #: A new node to which nobody can connect.
    firewalled: bool = False
    #: A new node behind the gateway of that name.
    nat: str = ""


class Leave(Action, frozen=True):
    """A node says Bye and stops."""

    #: `*` is a running node by chance.
    node: str


class Kill(Action, frozen=True):
    """The process of a node dies, or of many at once."""

    #: `*` is a running node by chance; left out: `share` says how many.
    node: str = ""
    #: Share of the running nodes of that role, by chance.
    share: Share = 0.0
    #: Whom `share` means: `ultrapeer` is who is no leaf.
    role: Literal["any", "ultrapeer", "leaf"] = "any"
    #: Their peers are not told: their links stay open and dead.
    power_failure: bool = False


class Partition(Action, frozen=True):
    """The network falls into groups that cannot hear each other; links that span them hold their bytes."""

    #: Names of the nodes of each group; who is in none makes one more.  Left out: two halves by chance.
    groups: tuple[tuple[str, ...], ...] = ()


class Heal(Action, frozen=True):
    """The groups of a partition hear each other again."""


class Set(Action, frozen=True):
    """Change something of a node."""

    #: `*` is every node.
    node: str
    #: What.
    key: Literal["firewalled", "busy", "query_ttl"]
    #: Its new value.
    value: bool | Annotated[int, Meta(ge=1, le=7)]


class Census(Action, frozen=True):
    """Look who is linked with whom; a row of the report."""

    #: What must be true then.
    expect: Linked = field(default_factory=Linked)


class Fault(Action, frozen=True):
    """Something strikes the bytes that one node sends to another."""

    #: Sender and receiver.
    between: Pair
    #: break: the link is gone before this byte; stall: this byte and all after it wait; corrupt: one of its bits is turned
    #: over; cut: the bytes from here on arrive in a piece of their own.
    kind: Literal["break", "stall", "corrupt", "cut"]
    #: Which byte, counted from this time on.
    at_byte: Count = 0
    #: How long a stall lasts.
    seconds: Seconds = 1.0
    #: link: their link, and there must be one.  transfer: the connection over which the first sends to the second, of a
    #: download in either direction; if there is none yet, the next one.
    on: Literal["link", "transfer"] = "link"


class Disk(Action, frozen=True):
    """The disk that a node's downloads go to becomes full, slow or well again."""

    #: Whose.
    node: str
    #: KiB that it still takes; left out: any number.
    room_kib: Count | None = None
    #: How fast it writes; 0: at once.
    kib_s: Annotated[float, Meta(ge=0, le=1e9)] = 0.0


class Churn(Action, frozen=True):
    """From now on nodes leave and come back by chance."""

    #: How long a node stays on average.
    mean_up_s: Annotated[float, Meta(gt=0, le=1e7)]
    #: How long it stays away on average.
    mean_down_s: Annotated[float, Meta(gt=0, le=1e7)]
    #: Share of the nodes that come and go; the others stay.
    share: Share = 1.0
    #: When it ends; left out: with the run.
    until_s: Seconds | None = None


AnyAction = (
    Query | Download | Publish | Join | Leave | Kill | Partition | Heal | Set | Fault | Disk | Churn | Census
)  # fmt: skip


class Scenario(Table, frozen=True):
    """The whole file."""

    #: One line for reports and tests.
    name: str = ""
    #: What it shows, for readers.
    about: str = ""
    #: Everything random follows from it.
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] = 1
    #: When the run ends; left out: 10 s after the last action.
    duration_s: Seconds | None = None
    #: How questions are asked; the names are below.
    strategy: str = "flooding"
    #: Whether it makes sense with real processes too (`--live`).
    live: bool = False
    #: Links, if they do not say otherwise.
    network: Network = field(default_factory=Network)
    #: Settings of every node, as in [routing] of gnutella.toml.
    routing: RoutingSettings = field(default_factory=lambda: RoutingSettings(trace="off"))
    #: Who is linked with whom.
    topology: Topology = field(default_factory=Topology)
    #: Who looks after the links.
    links: Links = field(default_factory=Links)
    #: Files by popularity.
    content: Content | None = None
    #: Nodes with names of their own.
    node: tuple[Node, ...] = ()
    #: Single links.
    link: tuple[Link, ...] = ()
    #: What happens.
    action: tuple[AnyAction, ...] = ()
    #: On average over all queries.
    expect: Expect = field(default_factory=Expect)
    #: Drop reasons that must not occur anywhere.
    never: tuple[str, ...] = ()

    @property
    def nodes(self) -> int:
        """Nodes at the start."""
        return max(self.topology.nodes, len(self.node))

    @property
    def names(self) -> list[str]:
        """Names of the nodes at the start, in order."""
        return [node.name for node in self.node] + [f"n{number}" for number in range(len(self.node), self.nodes)]

    @property
    def end_s(self) -> float:
        """When the run ends."""
        return (
            max((last_at(action) for action in self.action), default=0.0) + 10.0
            if self.duration_s is None
            else self.duration_s
        )


def last_at(action: AnyAction) -> float:
    """When an action is over, as far as it is planned."""
    if isinstance(action, Query):
        return action.at_s + (action.times - 1) * action.every_s
    return action.at_s + (action.within_s if isinstance(action, Download) else 0.0)


def load(path: str | os.PathLike[str]) -> Scenario:
    """Read and check a file.  UserError (exit 78) names file, line, key, value, and one way to mend it."""
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}", "give a scenario file", os.EX_CONFIG) from None
    if len(raw) > MAX_FILE_BYTES:
        raise UserError(f"{path} is too large", f"at most {MAX_FILE_BYTES} bytes", os.EX_CONFIG)
    try:
        text = raw.decode("utf-8")
        return parse(text)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"{path} is no TOML: {error}", "see https://toml.io", os.EX_CONFIG) from None
    except ScenarioError as error:
        fix = error.fault.fix or "docs/reference/scenario.md lists all keys"
        raise UserError(f"{place_in(path, error.fault)}: {error.fault}", fix, os.EX_CONFIG) from None


def place_in(path: str | os.PathLike[str], fault: Wrong) -> str:
    """File and line of something wrong in it."""
    line = line_of(Path(path).read_text("utf-8"), fault.place)
    return f"{path} line {line}" if line else str(path)


class ScenarioError(ValueError):
    """A scenario that cannot be run as it is written; `fault` says where and why."""

    def __init__(self, fault: Wrong) -> None:
        super().__init__(str(fault) + (f" | {fault.fix}" if fault.fix else ""))
        self.fault = fault


def parse(text: str) -> Scenario:
    """The same from text; ScenarioError, or tomllib's, says what is wrong."""
    return from_tables(tomllib.loads(text))


def from_tables(tables: Mapping[str, Any]) -> Scenario:
    """The same from what a TOML parser gives."""
    from gnutella.lab.consistency import check
    from gnutella.lab.misfits import explained

    try:
        scenario = msgspec.convert(tables, Scenario)
    except msgspec.ValidationError as error:
        raise ScenarioError(explained(error, tables, Scenario)) from None
    check(scenario)
    return scenario


def schema() -> dict[str, Any]:
    """The JSON schema of a scenario file."""
    made = msgspec.json.schema(Scenario)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "gnutella lab scenario", **made}
