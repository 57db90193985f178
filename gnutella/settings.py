"""The node's settings: frozen, typed, with defaults; one struct a section of gnutella.toml.

Precedence: defaults < file < environment (GNUTELLA_SECTION_KEY) < options < run-time changes (kept in state.db).  The file is
read by `gnutella.settings_file`, which names key, line, value and one fix for whatever is wrong in it.
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Role = Literal["auto", "leaf", "ultrapeer"]
Profile = Literal["lan", "public", "loopback"]
Seconds = Annotated[float, Meta(gt=0, le=86400.0)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]


class NetworkSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Ports and links."""

    listen: tuple[str, ...] = ("tcp:6346",)
    connect: tuple[str, ...] = ()
    role: Role = "auto"
    profile: Profile = "lan"
    #: Address told to others in hits, pongs and Listen-IP, as IP or IP:port; empty: found out from the links.
    advertise: str = ""
    #: True: nobody can connect to us, so hits ask for a push.
    firewalled: bool = False
    #: Links that are kept open by dialling hosts of the host cache; 0 dials only `connect`.
    want_links: Count = 8
    max_links: Count = 32
    max_leaves: Count = 100
    #: Links from one IP address; the loopback address is exempt, since test networks live there.
    max_links_per_host: Count = 2
    deflate: bool = True
    tls: bool = True
    handshake_timeout_s: Seconds = 20.0
    dial_timeout_s: Seconds = 10.0
    user_agent: str = ""


class RoutingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How messages travel."""

    #: TTL of our own queries, and what TTL + hops of anybody's is trimmed to.
    query_ttl: Annotated[int, Meta(ge=1, le=7)] = 4
    max_ttl: Annotated[int, Meta(ge=1, le=7)] = 7
    ping_interval_s: Seconds = 30.0
    #: Which queries leave a trace: own ones, all (teaching, demo), or none.
    trace: Literal["own", "all", "off"] = "own"
    max_hits_per_query: Count = 250


class SharingSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """What is offered."""

    directories: tuple[str, ...] = ()
    watch: bool = True
    rescan_s: Annotated[float, Meta(ge=0, le=604800.0)] = 3600.0
    hash_workers: Annotated[int, Meta(ge=1, le=64)] = 1
    max_files: Count = 1_000_000
    #: Finished downloads are offered too.
    share_incoming: bool = True


class TransferSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Uploads and downloads; rates in KiB a second, 0 meaning unlimited."""

    max_uploads: Count = 20
    max_uploads_per_host: Count = 4
    max_downloads: Count = 8
    max_sources: Annotated[int, Meta(ge=1, le=64)] = 8
    upload_kib_s: Count = 0
    download_kib_s: Count = 0
    request_timeout_s: Seconds = 30.0
    idle_timeout_s: Seconds = 180.0
    push_timeout_s: Seconds = 30.0
    retry_s: Seconds = 60.0


class ControlSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Where the node is driven from; endpoint strings of Twisted, or "off"."""

    #: Empty: unix:DIR/control.sock:mode=600
    control: str = ""
    console: str = "tcp:6347:interface=127.0.0.1"
    max_consoles: Count = 64


class LogSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """Levels by namespace: {"gnutella.routing" = "debug"}."""

    level: Literal["debug", "info", "warn", "error", "critical"] = "info"
    levels: dict[str, Literal["debug", "info", "warn", "error", "critical"]] = field(default_factory=dict)


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """All sections.  `directory` is where everything of one node lives; it is no key of the file."""

    network: NetworkSettings = field(default_factory=NetworkSettings)
    routing: RoutingSettings = field(default_factory=RoutingSettings)
    sharing: SharingSettings = field(default_factory=SharingSettings)
    transfers: TransferSettings = field(default_factory=TransferSettings)
    control: ControlSettings = field(default_factory=ControlSettings)
    log: LogSettings = field(default_factory=LogSettings)
