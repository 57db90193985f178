"""THEX: a tiger tree as servents hand it to each other, inside a DIME message (docs/protocol/hashes.md).

Two DIME records: an XML description and the levels, root first, 24 bytes a node.  Writing gives the same bytes for the same
tree, so that a body can be fetched in pieces.  Reading trusts nothing: sizes are bounded, the XML is searched rather than
parsed, the number of levels follows from the length of the data, and every level must follow from the one below.

    tree = thex.parse(thex.serialise(tree), root=tree.root, size=tree.size)
"""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from gnutella.errors import RemoteViolation
from gnutella.protocol.tiger import DIGEST_SIZE
from gnutella.protocol.tth import LEAF_SIZE, Tree, node_count, node_size_for, tree_depth_for
from gnutella.reasons import DropReason

#: The whole tree of a 64 MiB file, all 2^16 leaves, is still read; the digest (9.8) says to refuse more than a few MiB.
MAX_BODY = 4 * 1024 * 1024
#: Records looked at; two are in use.
MAX_RECORDS = 8
#: Bytes of XML; servents send about 400.
MAX_XML = 4096

CONTENT_TYPE = "application/dime"
_TREE_TYPE = b"http://open-content.net/spec/thex/breadthfirst"
_DIGEST_TYPE = b"http://open-content.net/spec/digest/tiger"
_XML_TYPE = b"text/xml"
_HEAD = struct.Struct(">BBHHHI")
_VERSION, _FIRST, _LAST, _CHUNKED = 1 << 3, 4, 2, 1
_IS_MIME, _IS_URI = 1 << 4, 2 << 4


class _Record(NamedTuple):
    kind: bytes
    data: bytes


def serialise(tree: Tree, tree_id: str = "") -> bytes:
    """The body served for `tree`.  `tree_id` is the `uuid:...` that ties the two records; by default made from the root."""
    uri = (tree_id or _uuid(tree.root)).encode("ascii")
    xml = (
        b'<?xml version="1.0" encoding="UTF-8"?>'
        b'<!DOCTYPE hashtree SYSTEM "http://open-content.net/spec/thex/thex.dtd">'
        b"<hashtree>"
        b'<file size="%d" segmentsize="%d"/>'
        b'<digest algorithm="%s" outputsize="%d"/>'
        b'<serializedtree depth="%d" type="%s" uri="%s"/>'
        b"</hashtree>"
    ) % (tree.size, LEAF_SIZE, _DIGEST_TYPE, DIGEST_SIZE, tree.depth, _TREE_TYPE, uri)
    return _record(_FIRST, _IS_MIME, b"", _XML_TYPE, xml) + _record(
        _LAST, _IS_URI, uri, _TREE_TYPE, b"".join(tree.levels())
    )


def parse(body: bytes, root: bytes, size: int) -> Tree:
    """The tree in `body` for a file of `size` bytes whose TTH is `root`; RemoteViolation(BAD_TREE) for anything else.

    The level returned is the deepest that is there, but none below the depth that we would serve: that is all a download
    needs, and it bounds the work a peer can cause.  A body may be shallower than that.
    """
    if len(body) > MAX_BODY:
        raise _bad(f"{len(body)} bytes")
    records = _records(body)
    xml = next((record.data for record in records if record.kind.lower() == _XML_TYPE), None)
    data = next((record.data for record in records if record.kind.lower() == _TREE_TYPE), None)
    if xml is None or data is None:
        raise _bad("the description or the tree is missing")
    _check_description(xml, size)
    return Tree.from_levels(size, _levels(data, size), root)


def _levels(data: bytes, size: int) -> list[bytes]:
    """The levels in `data`, root first, down to the served depth; their number follows from the length alone."""
    levels: list[bytes] = []
    at, depth, wanted = 0, 0, tree_depth_for(size)
    full = (node_count(size, LEAF_SIZE) - 1).bit_length()
    while at < len(data) and depth <= full:
        length = DIGEST_SIZE * node_count(size, node_size_for(size, depth))
        if depth <= wanted:
            levels.append(data[at : at + length])
        at += length
        depth += 1
    if at != len(data):
        raise _bad(f"{len(data)} bytes are no whole number of levels for {size} bytes")
    return levels


def _check_description(xml: bytes, size: int) -> None:
    """Refuse a description of something else.  What it leaves out is no harm: the nodes themselves are checked."""
    if len(xml) > MAX_XML:
        raise _bad(f"{len(xml)} bytes of XML")
    claims = (
        (b"file", b"size", b"%d" % size),
        (b"file", b"segmentsize", b"%d" % LEAF_SIZE),
        (b"digest", b"outputsize", b"%d" % DIGEST_SIZE),
    )
    for element, attribute, wanted in claims:
        found = _attribute(xml, element, attribute)
        if found is not None and found.strip() != wanted:
            raise _bad(f"{element.decode()} {attribute.decode()} is {found[:40]!r}")


def _attribute(xml: bytes, element: bytes, name: bytes) -> bytes | None:
    """The value of one attribute of the first such element."""
    tag = re.search(rb"<" + element + rb"\s([^<>]*)>", xml, re.IGNORECASE)
    if tag is None:
        return None
    found = re.search(rb"(?:^|\s)" + name + rb"\s*=\s*(?:\"([^\"]*)\"|'([^']*)')", tag[1], re.IGNORECASE)
    return None if found is None else (found[1] if found[1] is not None else found[2])


def _records(body: bytes) -> list[_Record]:
    """The records of a DIME message, at most MAX_RECORDS; chunked records are not used for trees and are refused."""
    found: list[_Record] = []
    at = 0
    while len(found) < MAX_RECORDS:
        if len(body) - at < _HEAD.size:
            raise _bad("a record is cut off")
        flags, _, options, identifier, kind, data = _HEAD.unpack_from(body, at)
        if flags & ~7 != _VERSION or flags & _CHUNKED or bool(flags & _FIRST) != (at == 0):
            raise _bad(f"record flags {flags:#04x}")
        at += _HEAD.size
        fields = []
        for length in (options, identifier, kind, data):
            fields.append(body[at : at + length])
            at += length + -length % 4
        if len(fields[3]) != data or len(fields[2]) != kind:
            raise _bad("a record is cut off")
        found.append(_Record(fields[2], fields[3]))
        if flags & _LAST:
            return found
    raise _bad(f"more than {MAX_RECORDS} records")


def _record(flag: int, kind_format: int, identifier: bytes, kind: bytes, data: bytes) -> bytes:
    head = _HEAD.pack(_VERSION | flag, kind_format, 0, len(identifier), len(kind), len(data))
    return head + b"".join(part + bytes(-len(part) % 4) for part in (identifier, kind, data))


def _uuid(root: bytes) -> str:
    text = root[:16].hex()
    return f"uuid:{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _bad(detail: str) -> RemoteViolation:
    return RemoteViolation(DropReason.BAD_TREE, detail)
