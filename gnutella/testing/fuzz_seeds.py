"""Sound inputs for the fuzzing targets: vectors, captures, texts and the corpus, by name of the target.

`seeds(tests)` reads what lies below the directory of the tests; the rest is made here.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from gnutella.protocol.deflate import Deflater
from gnutella.protocol.frames import frames
from gnutella.protocol.kinds import HEADER_SIZE, KIND_NAMES, PING, PONG, QUERY, QUERY_HIT, VENDOR
from gnutella.protocol.thex import serialise
from gnutella.protocol.tth import Tree, tree_of
from gnutella.testing.datagrams import ASKS_ALL, STRANGER, ping_datagram, pong_datagram
from gnutella.testing.fuzz_vendor import REQUEST_SEEDS, signal_seeds
from gnutella.units import Guid

_FILE = bytes(i % 251 for i in range(614400))
#: What the THEX target expects.
TREE: Tree = tree_of(_FILE)


#: What UDP host caches and those who ask them send.
_DATAGRAMS = [
    ping_datagram(ASKS_ALL),
    pong_datagram(
        Guid(bytes(16)),
        STRANGER,
        IPP=bytes(range(1, 61)),
        IPP_TLS=b"\xa0",
        UDPHC=b"cache.example",
        PHC=b"a.example:77\nb.example&tls=1\n",
        IP=bytes((80, 1, 2, 3, 4, 5)),
        _6=bytes(range(16)),
        UP=bytes((1, 30, 5)),
    ),
]


def _rows(*payloads: bytes) -> bytes:
    return b"".join(len(payload).to_bytes(2, "little") + payload for payload in payloads)


def _capture_streams(tests: Path) -> Iterator[tuple[str, bytes, bytes]]:
    """(side, handshake bytes, message bytes) of each side of each capture."""
    for path in sorted((tests / "captures").glob("*.jsonl")):
        sent = {"dialer": b"", "answerer": b""}
        for line in path.read_text().splitlines():
            row = json.loads(line)
            sent[row["from"]] += bytes.fromhex(row["hex"])
        for side, blocks in (("dialer", 2), ("answerer", 1)):
            parts = sent[side].split(b"\r\n\r\n", blocks)
            yield side, b"\r\n\r\n".join(parts[:-1]) + b"\r\n\r\n", parts[-1]


_HTTP_SEEDS = (
    b"GET /uri-res/N2R?urn:sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ HTTP/1.1\r\nHost: 1.2.3.4:6346\r\nRange: bytes=0-499\r\n"
    b"X-Alt: 1.2.3.4:6346, 5.6.7.8\r\nX-Features: queue/0.1, fwalt/0.1\r\nConnection: Keep-Alive\r\n\r\n",
    b"HEAD /get/7/a%20file.txt HTTP/1.0\r\nUser-Agent: x\r\nRange: bytes=-5\r\n\r\n",
    b"GET /uri-res/N2X?urn:sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ HTTP/1.1\r\n\r\n",
    b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-499/1000\r\nContent-Length: 500\r\nX-Available-Ranges: bytes 0-9, "
    b"20-29\r\nX-Gnutella-Content-URN: urn:sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ\r\nX-Thex-URI: /uri-res/N2X?urn:sha1:"
    b"3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ;LWPNACQDBZRYXW3VHJVCJ64QBZNGHOHHHZWCLNQ\r\n\r\nbody",
    b"HTTP/1.1 503 Busy\r\nX-Queue: position=2, length=5, limit=1, pollMin=45, pollMax=120\r\nRetry-After: 60\r\n"
    b"X-Gnutella-Alternate-Location: http://1.2.3.4:6346/uri-res/N2R?urn:sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ 2026-01-01\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n",
)


def _text_seeds() -> dict[str, list[bytes]]:
    urn = b"urn:sha1:3I42H3S6NNFQ2MSVX7XZKYAYSCX5QBYJ"
    tree = b"LWPNACQDBZRYXW3VHJVCJ64QBZNGHOHHHZWCLNQ"
    return {
        "urn": [urn, b"urn:bitprint:" + urn[9:] + b"." + tree, b"urn:tree:tiger:" + tree, urn[9:], tree],
        "http_request": [seed for seed in _HTTP_SEEDS if not seed.startswith(b"HTTP")],
        "http_response": [seed for seed in _HTTP_SEEDS if seed.startswith(b"HTTP")],
        "giv": [b"GIV 7:0F1E2D3C4B5A6978FF8796A5B4C3D200/file name.txt", b"GIV 0:" + b"0" * 32 + b"/"],
        "magnet": [b"magnet:?xt=" + urn + b"&xl=10&dn=a+b%20c&xs=http://1.2.3.4:5/uri-res/N2R?" + urn + b"&kt=words"],
        "name": [b"a name.txt", b"../../etc/passwd", b"CON", "ünï.".encode(), b"x" * 300, b"a\0b"],
        "telnet": [
            b"status\r\n",
            b"\xff\xfd\x01\xff\xfb\x03search \xff\xff\r\n\xff\xf4\xff\xfd\x06",
            b"\xff\xfa\x18\x00xterm\xff\xf0a\x03",
        ],
        "command_line": [
            b"search creative commons --wait 5",
            b"download add 'magnet:?xt=" + urn + b'\' --to "/tmp/a b"',
            b"share add ~/Music",
            b"connect [::1]:6346",
            b"config set routing.query_ttl 4 -- --x",
        ],
        "address": [b"1.2.3.4:6346", b"[2001:db8::1]:6346", b"name.example", b"[::1]", b"255.255.255.255:1"],
        "blocklist": [
            b"# list\nSome Company:192.0.2.0-192.0.2.255\n10.0.0.0/8\n",
            b"192.000.002.000 - 192.000.002.255 , 100 , Some Company\r\n1.2.3.4 - 1.2.3.5 , 200 , fine\r\n",
            b"2001:db8::/32 # documentation\nfe80::1-fe80::ff\n::1",
        ],
        "networks": [b"192.0.2.7", b"2001:db8::7", b"fe80::1%eth0", b"::ffff:1.2.3.4"],
        "cobs": [bytes(10), b"\xff" * 300, b"a\0b\0"],
    }


def _compressed_seeds() -> dict[str, list[bytes]]:
    deflater = Deflater()
    stream = deflater.compress(b"messages " * 40) + deflater.flush() + deflater.compress(bytes(5000)) + deflater.flush()
    nibbles = bytes.fromhex("00000a00000000a0")
    packed = zlib.compress(nibbles)
    reset = bytes.fromhex("001000000007")
    cut = len(packed) // 2
    return {
        "deflate": [stream, zlib.compress(bytes(3_000_000))],
        "thex": [serialise(TREE)],
        "qrp": [
            _rows(reset, b"\1\1\1\0\4" + nibbles),
            _rows(reset, b"\1\1\2\1\4" + packed[:cut], b"\1\2\2\1\4" + packed[cut:]),
            _rows(bytes.fromhex("001000000001"), bytes.fromhex("01010100010402")),
            _rows(bytes.fromhex("000000200007"), b"\1\1\1\1\x08" + zlib.compress(bytes(1 << 21))),
        ],
    }


def _message_seeds(tests: Path) -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {name: [] for name in KIND_NAMES.values()}
    messages = json.loads((tests / "vectors/messages.json").read_text())["messages"]
    wires = [bytes.fromhex(vector["hex"]) for vector in messages]
    found["stream"] = [b"".join(wires[at : at + 8]) for at in range(0, len(wires), 8)]
    found["acceptor"], found["initiator"] = [], []
    for side, handshake, stream in _capture_streams(tests):
        found["acceptor" if side == "dialer" else "initiator"].append(handshake)
        found["stream"].append(stream)
        wires += [frame.message for frame in frames(stream)]
    for wire in wires:
        found[KIND_NAMES[wire[16]]].append(wire[HEADER_SIZE:])
    found["header"] = [wire[:HEADER_SIZE] for wire in wires]
    found["router"] = found["stream"]
    found["signals"], found["push_request"] = signal_seeds(found["vendor"]), REQUEST_SEEDS
    found["datagram"] = [wire for wire in wires if wire[16] in (PING, PONG)] + _DATAGRAMS
    found["routed_datagram"] = [wire for wire in wires if wire[16] in (PONG, VENDOR, QUERY, QUERY_HIT)]
    found["catalog"] = found["query"]
    ggep = json.loads((tests / "vectors/ggep.json").read_text())
    found["ggep"] = [bytes.fromhex(vector["hex"]) for vector in ggep["blocks"] + ggep["invalid"]]
    found["cobs"] = [bytes.fromhex(vector["cobs"]) for vector in ggep["cobs"]]
    return found


#: Directories of the corpus that are named after a room.
_TARGET_OF = {"routing": "router"}


def corpus(tests: Path) -> dict[str, list[bytes]]:
    """Inputs that once were trouble, or are feared to be: tests/corpus/<target>/*.hex, where # begins a comment."""
    found: dict[str, list[bytes]] = {}
    for path in sorted((tests / "corpus").glob("*/*.hex")):
        digits = "".join(line.partition("#")[0] for line in path.read_text().splitlines())
        found.setdefault(_TARGET_OF.get(path.parent.name, path.parent.name), []).append(bytes.fromhex(digits))
    return found


def seeds(tests: Path) -> dict[str, list[bytes]]:
    """All seeds; a target that is not here starts from nothing."""
    found = _message_seeds(tests)
    for more in (_text_seeds(), _compressed_seeds(), corpus(tests)):
        for name, inputs in more.items():
            found.setdefault(name, []).extend(inputs)
    return found
