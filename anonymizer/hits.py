"""Hits of anonymous searches: what a provider tells the searcher, sealed to the key of that one search.

A hit is a canonical CBOR map, filled to HIT_PLAIN bytes and sealed (HPKE, as seals to pivots) to the one-time key that came
with the search, so all hits look alike and the pivot that passes them on can neither read nor change one; it can leave one
out, and whoever has seen the search can make one up.  It holds the key of the file and no address; `anchors` are pivots that
lead to who offers it, without knowing who that is.  A persona is a key that the provider signs with if he wants to be known
again; who uses one says that all its files are one person's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from anonymizer.fields import Body, Many, Number, Octets, Text
from anonymizer.inner import MAX_NAME, TAG_SIZE, fill, unfill
from anonymizer.reasons import Refusal, Violation
from anonymizer.seal import ENC_SIZE, hpke_open, hpke_seal
from anonymizer.uri import ChkUri
from anonymizer.wire import ROUTING, Kinds
from gnutella.errors import LocalMisuse
from gnutella.protocol.hit import FORBIDDEN_IN_NAME

#: What is sealed, filled; the longest hit has some 950 bytes, and a POST in a small cell has room for this one's seal.
HIT_PLAIN: Final = 1_328
SEALED_HIT_SIZE: Final = ENC_SIZE + HIT_PLAIN + TAG_SIZE
#: The longest type that RFC 6838 allows has 255; all in use are shorter than this.
MAX_MIME: Final = 127
#: Anchors of one hit (design section 3.10).
MAX_ANCHORS: Final = 3
MAX_FILE: Final = 2**63 - 1
SHA1_BYTES: Final = 20
TTH_BYTES: Final = 24
_ID_BYTES, _TOKEN_BYTES, _KEY_BYTES, _SIGNATURE_BYTES = 32, 16, 32, 64
_ANCHOR_BYTES = _ID_BYTES + _TOKEN_BYTES + _KEY_BYTES
_PERSONA_BYTES = _KEY_BYTES + _SIGNATURE_BYTES
_LABEL: Final = b"arl1-hit"


@dataclass(frozen=True, slots=True)
class AnchorHint:
    """A pivot at which the provider can be met, the token by which it knows the meeting, and the anchor's public key."""

    pivot_id: bytes
    token: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class HitContent(Body):
    """What a hit says.  `kinds` are the bits of a search's filter; sha1, tth and persona are empty where there is none."""

    name: str
    size: int
    mime: str
    kinds: int
    routing: bytes
    key: bytes
    sha1: bytes = b""
    tth: bytes = b""
    anchors: tuple[bytes, ...] = ()
    persona: bytes = b""
    KINDS: ClassVar[Kinds] = (
        Text(MAX_NAME),
        Number(0, MAX_FILE),
        Text(MAX_MIME, 0),
        Number(0, 0xFF),
        ROUTING,
        Octets(32),
        Octets(0, SHA1_BYTES),
        Octets(0, TTH_BYTES),
        Many(Octets(_ANCHOR_BYTES), 0, MAX_ANCHORS),
        Octets(0, _PERSONA_BYTES),
    )

    def check(self) -> None:
        if not is_name(self.name):
            raise Violation(Refusal.HIT_BROKEN, "a name that is a path or has control characters")
        if not self.mime.isascii() or not (self.mime.isprintable()):
            raise Violation(Refusal.HIT_BROKEN, "a type with characters that no type has")
        lengths = (len(self.sha1), SHA1_BYTES), (len(self.tth), TTH_BYTES), (len(self.persona), _PERSONA_BYTES)
        if any(length not in (0, full) for length, full in lengths):
            raise Violation(Refusal.HIT_BROKEN, "half a hash or signature")

    @property
    def uri(self) -> ChkUri:
        return ChkUri(self.routing, self.key)

    @property
    def hints(self) -> tuple[AnchorHint, ...]:
        """Where the provider can be met."""
        return tuple(
            AnchorHint(anchor[:_ID_BYTES], anchor[_ID_BYTES:-_KEY_BYTES], anchor[-_KEY_BYTES:])
            for anchor in self.anchors
        )

    @property
    def signer(self) -> bytes | None:
        """The public key of the persona, if there is one."""
        return self.persona[:_KEY_BYTES] or None

    def with_anchors(self, hints: Sequence[AnchorHint]) -> HitContent:
        """The same with these anchors; LocalMisuse when it is sealed if there are too many."""
        return replace(self, anchors=tuple(hint.pivot_id + hint.token + hint.public_key for hint in hints), persona=b"")

    def signed(self, persona: Ed25519PrivateKey) -> HitContent:
        """The same, signed; call it last."""
        public = persona.public_key().public_bytes_raw()
        return replace(self, persona=public + persona.sign(self._signed_bytes()))

    def _signed_bytes(self) -> bytes:
        return _LABEL + replace(self, persona=b"").encode(HIT_PLAIN)


def is_name(name: str) -> bool:
    """Whether it may be the name of a file: the rule for hits of the plain overlay."""
    return bool(name) and name not in (".", "..") and not FORBIDDEN_IN_NAME.search(name)


def seal_hit(reply_key: bytes, content: HitContent) -> bytes:
    """For the searcher alone, SEALED_HIT_SIZE bytes; Violation(HIT_BROKEN) if the searcher's key is none."""
    plain = fill(content.encode(HIT_PLAIN), HIT_PLAIN)
    try:
        return hpke_seal(reply_key, _LABEL + reply_key, plain)
    except LocalMisuse:
        raise Violation(Refusal.HIT_BROKEN, "no key to seal to") from None


def open_hit(reply_private: X25519PrivateKey, sealed: bytes) -> HitContent:
    """What the provider says; Violation(HIT_BROKEN) if it was not sealed to this search, is no hit or is signed wrongly."""
    reply_key = reply_private.public_key().public_bytes_raw()
    plain = hpke_open(reply_private, _LABEL + reply_key, sealed) if len(sealed) == SEALED_HIT_SIZE else None
    if plain is None:
        raise Violation(Refusal.HIT_BROKEN, "not sealed to this search")
    content = HitContent.decode(unfill(plain, Refusal.HIT_BROKEN), HIT_PLAIN, Refusal.HIT_BROKEN)
    if content.persona:
        try:
            public = Ed25519PublicKey.from_public_bytes(content.persona[:_KEY_BYTES])
            public.verify(content.persona[_KEY_BYTES:], content._signed_bytes())
        except (InvalidSignature, ValueError):
            raise Violation(Refusal.HIT_BROKEN, "a persona that did not sign this") from None
    return content
