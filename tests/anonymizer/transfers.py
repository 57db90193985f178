"""What tests of transfers share: a client's parts joined with scripted pivots, and files already out there."""

from __future__ import annotations

from dataclasses import dataclass, field

from anonymizer.channel import Channels
from anonymizer.client_cache import ClientCache
from anonymizer.errors import AnonymityError
from anonymizer.files import Splitter
from anonymizer.transfer import Get, Progress, Put
from anonymizer.uri import ChkUri
from gnutella.testing.relay_pivot import RelayPivots


def channels_of(net: RelayPivots, *, is_patient: bool = False) -> Channels:
    """`is_patient`: the guard is one that has carried something before."""
    channels = Channels(
        b"o" * 32,
        net,
        net.known,
        net.rng,
        net.timers,
        net.new_key,
        lambda: "guard" if net.has_guard or not is_patient else None,
        has_guards=lambda: True if is_patient else None,
    )
    net.origin = channels
    return channels


def publish(net: RelayPivots, data: bytes, key: bytes = bytes(32), *, redundant: bool = True) -> ChkUri:
    """Blocks are there without anybody having stored them."""
    splitter = Splitter(key, redundant=redundant)
    blocks = list(splitter.feed(data))
    uri, last = splitter.finish("text/plain")
    net.blocks |= {block.routing: (block.sealed,) for block in [*blocks, *last]}
    return uri


@dataclass
class Result:
    """What a transfer told."""

    data: bytearray = field(default_factory=bytearray)
    ends: list[AnonymityError | None] = field(default_factory=list)
    progress: list[Progress] = field(default_factory=list)

    def take(self, offset: int, data: bytes) -> None:
        assert offset == len(self.data)
        self.data += data

    def end(self, error: AnonymityError | None, now: float) -> None:
        self.ends.append(error)


def get(net: RelayPivots, uri: ChkUri, cache: ClientCache | None = None, **more: object) -> tuple[Get, Result]:
    result = Result()
    cache = ClientCache() if cache is None else cache
    channels = net.origin if isinstance(net.origin, Channels) else channels_of(net)
    getting = Get(channels, cache, uri, result.take, result.end, result.progress.append, **more)  # type: ignore[arg-type]
    getting.start(net.now)
    return getting, result


def put(net: RelayPivots, data: bytes, key: bytes = b"k" * 32, **more: object) -> tuple[Put, Result]:
    result, rest = Result(), bytearray(data)

    def read(size: int, back: object) -> None:
        piece = bytes(rest[:size])
        del rest[:size]
        net.timers.at(net.now + 0.001, lambda now: back(piece, now))  # type: ignore[operator]

    putting = Put(channels_of(net), key, read, result.end, result.progress.append, **more)  # type: ignore[arg-type]
    putting.start(net.now)
    return putting, result
