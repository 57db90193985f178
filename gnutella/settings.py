"""The node's settings: frozen, typed, with defaults; one struct a section of gnutella.toml.

Precedence: defaults < file < environment (GNUTELLA_SECTION_KEY) < options < run-time changes (kept in state.db).  The file is
read by `gnutella.settings_file`, which names key, line, value and one fix for whatever is wrong in it.  The `#:` comment above
each field is its documentation: the reference page and the commented file of `gnutella init` are made from it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Role = Literal["auto", "leaf", "ultrapeer"]
Profile = Literal["lan", "public", "loopback"]
Seconds = Annotated[float, Meta(gt=0, le=86400.0)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Percent = Annotated[int, Meta(ge=1, le=100)]


class NetworkSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Ports and links."""

    #: Ports for links and transfers, as endpoint strings of Twisted; `tcp:0:interface=127.0.0.1` takes a free port.
    listen: tuple[str, ...] = ("tcp:6346",)
    #: Also listen for IPv6 on the ports of `listen` that name no interface (`tcp:6346`), where the system has it.
    ipv6: bool = True
    #: Peers to link with at start, as host:port.
    connect: tuple[str, ...] = ()
    #: `leaf` links to 3 to 5 ultrapeers only, tells them what its files answer to, and relays nothing; `ultrapeer` relays for
    #: others and leads queries to its leaves; `auto` begins as a leaf, and becomes an ultrapeer, or a leaf again, as it is fit
    #: and needed: `gnutella status` says why.  Links are opened anew when the role changes.
    role: Role = "auto"
    #: Which addresses are believed, and how peers are found beside `connect`, host cache, pongs and handshakes: `lan` keeps
    #: private addresses and calls into the local network by multicast; `public` drops private ones and asks UDP host caches;
    #: `loopback` keeps them and dials only `connect`.  See `[bootstrap]`.
    profile: Profile = "lan"
    #: Address told to others in hits, pongs and Listen-IP, as IP or IP:port; empty: found out from the links.
    advertise: str = ""
    #: True: nobody can connect to us, so hits ask for a push.
    firewalled: bool = False
    #: `auto`: with profile `public` and a private address, have the router map our port (PCP, NAT-PMP; UPnP with the extra
    #: `nat`), renew that, and take it back at the end; `off`: never ask a router for anything.
    nat: Literal["auto", "off"] = "auto"
    #: Links that are kept open by dialling hosts of the host cache, a leaf 4 at most; 0, or profile `loopback`, dials only
    #: `connect`.
    want_links: Count = 8
    #: Links to ultrapeers and old servents, incoming and outgoing.
    max_links: Count = 32
    #: Leaves that an ultrapeer takes, 2,000 at most: what its tables were measured with.  Each takes an open file; `gnutella
    #: doctor` says whether the system's limit has room for them.
    max_leaves: Annotated[int, Meta(ge=0, le=2000)] = 100
    #: Links from one IP address; the loopback address is exempt, since test networks live there.
    max_links_per_host: Count = 2
    #: TTL that peers may give to queries that they send us (X-Max-TTL); 4 is what others announce.
    announced_ttl: Annotated[int, Meta(ge=1, le=7)] = 4
    #: Offer and accept compressed links.
    deflate: bool = True
    #: Offer and accept encrypted links; the certificate is self-signed and says nothing about who it is.
    tls: bool = True
    #: Seconds for the whole handshake of a link.
    handshake_timeout_s: Seconds = 20.0
    #: Seconds for an outgoing TCP connection.
    dial_timeout_s: Seconds = 10.0
    #: What we call ourselves in User-Agent and Server; empty: PyGnutella and the version.
    user_agent: str = ""


class BootstrapSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the first peers are found."""

    #: Call into the local network (UDP 234.21.81.1:6347, TTL 1) and answer such calls; with profile `lan` only.
    multicast: bool = True
    #: Announce this node by mDNS (`_gnutella._tcp`) and look for others; with profile `lan` only, and with the extra `mdns`.
    mdns: bool = True
    #: UDP host caches, as host:port, that are asked for hosts while too few are known; `default` stands for a list of the
    #: public network with profile `public`, and for none with the others.
    udp_host_caches: tuple[str, ...] = ("default",)
    #: Web caches (GWebCache 1 and 2), as http or https URLs without `?…`, that are asked for hosts when the other ways find too
    #: few: each once an hour at most, also over restarts.  None comes with the program: the caches of old are gone, and one
    #: that you do not know may tell anything.  A node with `serve_cache` is one, at `http://HOST:6346/gwc`.
    gwebcaches: tuple[str, ...] = ()
    #: Serve as such a cache for others, at `/gwc` on every port of `network.listen`.
    serve_cache: bool = False


class RoutingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How messages travel."""

    #: TTL of our own queries, if nobody says otherwise; no peer gets more than it announced.
    query_ttl: Annotated[int, Meta(ge=1, le=7)] = 4
    #: Hard limit of TTL plus hops: a message beyond it is dropped.
    max_ttl: Annotated[int, Meta(ge=1, le=7)] = 7
    #: Seconds between pings on one link.
    ping_interval_s: Seconds = 30.0
    #: Which queries leave a trace: own ones, all (teaching, demo), or none.
    trace: Literal["own", "all", "off"] = "own"
    #: Hits sent by UDP straight to whoever asked: `auto` asks for them once a datagram of a stranger has reached our UDP port,
    #: `on` always; both give them to others who ask.  `off`: hits go over links only.  Firewalled nodes neither ask nor give.
    oob: Literal["auto", "on", "off"] = "auto"
    #: An ultrapeer asks for such hits also in the stead of leaves that cannot, and passes them on; not for leaves that ask it
    #: not to.
    oob_proxy: bool = True
    #: Answer queries that come by UDP with a key (GUESS), and say so in pongs; ultrapeers only.
    guess: bool = True
    #: Hits of one query that are kept (our own) or passed on (others').
    max_hits_per_query: Count = 250
    #: An ultrapeer sends its own queries and those of its leaves gradually, until enough has come back; false: to all at once.
    dynamic_queries: bool = True


class SharingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is offered."""

    #: Directories whose files are offered, with all below them; `~` is understood.
    directories: tuple[str, ...] = ()
    #: Notice changes at once (inotify) rather than at the next rescan.
    watch: bool = True
    #: Seconds between two looks at every directory; 0: only when asked.
    rescan_s: Annotated[float, Meta(ge=0, le=604800.0)] = 3600.0
    #: Processes that hash files.
    hash_workers: Annotated[int, Meta(ge=1, le=64)] = 1
    #: Files that are offered at most.
    max_files: Count = 1_000_000
    #: Finished downloads are offered too.
    share_incoming: bool = True


class TransferSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Uploads and downloads; rates in KiB a second, 0 meaning unlimited."""

    #: Uploads at the same time.
    max_uploads: Count = 20
    #: Uploads at the same time to one IP address.
    max_uploads_per_host: Count = 4
    #: Downloads at the same time; the others wait in the queue.
    max_downloads: Count = 8
    #: Sources that one download uses at the same time.
    max_sources: Annotated[int, Meta(ge=1, le=64)] = 8
    #: Limit of all uploads together, KiB a second; 0: none.
    upload_kib_s: Count = 0
    #: Limit of all downloads together, KiB a second; 0: none.
    download_kib_s: Count = 0
    #: Seconds for a source to answer a request.
    request_timeout_s: Seconds = 30.0
    #: Seconds without a byte after which a transfer is given up.
    idle_timeout_s: Seconds = 180.0
    #: Seconds for a firewalled source to answer a push.
    push_timeout_s: Seconds = 30.0
    #: Seconds until a busy or broken source is asked again; doubles each time.
    retry_s: Seconds = 60.0


class ControlSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the node is driven from; endpoint strings of Twisted, or "off"."""

    #: Console for this machine's user, a UNIX socket; empty: `unix:DIR/control.sock:mode=600`.
    control: str = ""
    #: Telnet-style console that asks for the token; `off` disables it.
    console: str = "tcp:6347:interface=127.0.0.1"
    #: Console connections at the same time, of both kinds together.
    max_consoles: Count = 64


class SafetySettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What keeps the node from harm by others; how-to/stay-safe.md explains it."""

    #: Files with addresses that are never dialled, let in or believed: CIDR, P2P (PeerGuardian) or DAT (eMule), plain or gzip.
    #: Read again when they change, at SIGHUP and by `gnutella blocklist reload`; of a broken one, what was read before holds.
    blocklists: tuple[str, ...] = ()
    #: Share of the slots of each kind (links, leaves, uploads, half-open connections, UDP answers), in percent, for one /24
    #: (IPv6: /48); never less than one and a half times what one address may have.
    near_percent: Percent = 10
    #: The same for one /16 (IPv6: /32).
    wide_percent: Percent = 25
    #: Which addresses these shares hold for: `public` ones only, since an office is one /24; `all` but loopback; or `off`.
    count_networks: Literal["public", "all", "off"] = "public"
    #: Addresses that connect more than 60 times a minute, or 8 times with garbage, are not heard for 10 s, then 20 s, up to an
    #: hour; the same for 600 datagrams a minute.
    slow_hammering: bool = True
    #: Spam score (0 to 100) from which a hit is hidden from the table of `search`; JSON has them all.  101 hides none.
    spam_threshold: Annotated[int, Meta(ge=1, le=101)] = 50


class AnonymousSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """The relay layer, which hides who asks; explanation/relay-layer.md says what it hides, and what not."""

    #: Take part: relay for others, keep blocks for them, and be able to ask.  Needs the extra `anonymizer`.
    enabled: bool = False
    #: The module that is the layer.
    layer: str = "anonymizer.service"
    #: Links to other nodes of the layer that are kept.
    links: Annotated[int, Meta(ge=3, le=20)] = 12
    #: Nodes of the layer to link with at the start, as host:port; others are learned from these, and from links of the
    #: plain overlay whose peers take part too.
    connect: tuple[str, ...] = ()
    #: Be picked as the far end of circuits: requests of others then start from here, under this node's address.
    pivot: bool = True
    #: Also send ordinary queries for others, under this node's address; the names they ask for are seen here.
    gateway: bool = False
    #: MiB of blocks that passed by which are kept for others.
    cache_mib: Annotated[int, Meta(ge=1, le=2048)] = 2048
    #: MiB of blocks that belong near this node's place which are kept for others.
    store_mib: Annotated[int, Meta(ge=1, le=2048)] = 2048
    #: Hours for which another node must have been known before it is picked.  Lower values are for islands and tests: who can
    #: start many nodes at once is then picked as soon as the others.
    min_age_h: Annotated[float, Meta(ge=0, le=168)] = 24.0
    #: Links that must have told of another node before it is picked; as above.
    min_sources: Annotated[int, Meta(ge=0, le=8)] = 3
    #: Take one node of each /16 (IPv6: /32) only.  False is for islands, where all are in one.
    by_network: bool = True
    #: KiB a second that all circuits of one link may have through this node as a pivot; 0 is without limit.
    circuit_kib_s: Count = 256
    #: KiB a second of blocks that are fetched and stored for others; 0 is without limit.
    relay_kib_s: Count = 256


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is logged."""

    #: Least severe level that is logged.
    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    #: Levels by namespace: `{"gnutella.routing" = "debug"}`.
    levels: dict[str, Literal["debug", "info", "warn", "error", "critical"]] = field(default_factory=dict)


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All sections.  `directory` is where everything of one node lives; it is no key of the file."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    bootstrap: BootstrapSettings = field(default_factory=BootstrapSettings)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    sharing: SharingSettings = field(default_factory=SharingSettings)
    transfers: TransferSettings = field(default_factory=TransferSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    safety: SafetySettings = field(default_factory=SafetySettings)
    anonymous: AnonymousSettings = field(default_factory=AnonymousSettings)
    log: LogSettings = field(default_factory=LogSettings)
