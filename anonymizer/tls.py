"""TLS 1.3 between two nodes: both show a self-signed certificate, and the key in it is who they are.

No certificate says anything beside its key: all other fields are the same for all nodes.  There is no authority, no name and no
resumption.  Whoever dials a node whose id is known takes that node and no other, before it shows who it is itself; whoever is
dialled takes all, and the relay layer decides.  Each side proves in its HELLO, under a key exported from this very session,
that it ends where its peer begins.

`Session` is OpenSSL without a socket: bytes in, bytes out.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from typing import Final, Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from OpenSSL import SSL, crypto

from anonymizer.descr import SPKI_PREFIX, node_id_of
from anonymizer.reasons import Refusal, Violation

#: What the client hello says is spoken inside.
ALPN: Final = b"arl/1"
EXPORTER: Final = b"EXPORTER-arl1"
#: The same for all nodes.
NAME: Final = "x"
NOT_BEFORE: Final = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER: Final = datetime.datetime(2036, 1, 1, tzinfo=datetime.UTC)
#: With a serial number of 20 bytes, and of the fewest with which the length of what is signed takes two bytes.
MAX_CERTIFICATE: Final = 218
MIN_CERTIFICATE: Final = 208
#: The parts of the one certificate that there is (RFC 5280 section 4.1, RFC 8410); serial number, key and signature differ.
_BEFORE: Final = bytes.fromhex("a003020102")
_ALGORITHM: Final = bytes.fromhex("300506032b6570")
_NAME: Final = bytes.fromhex("300c310a300806035504030c01") + NAME.encode()
_VALID: Final = bytes.fromhex("301e170d") + b"260101000000Z" + bytes.fromhex("170d") + b"360101000000Z"
_BETWEEN: Final = _ALGORITHM + _NAME + _VALID + _NAME + SPKI_PREFIX
_SIGNATURE: Final = bytes.fromhex("034100")
#: Where the length of the serial number is, and how much comes after the key.
_SERIAL_AT: Final = 3 + 3 + len(_BEFORE) + 1
_TAIL: Final = len(_ALGORITHM) + len(_SIGNATURE) + 64
_SUBJECT: Final = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
_READ: Final = 65_536
Role = Literal["client", "server"]


def make_certificate(key: Ed25519PrivateKey) -> x509.Certificate:
    """A certificate for this key, with a random serial number and nothing else of its own."""
    # Always of 20 bytes: one shorter would show in the length of what is sent, though it is encrypted.
    serial = x509.random_serial_number() | 1 << 158
    builder = x509.CertificateBuilder(_SUBJECT, _SUBJECT, key.public_key(), serial)
    return builder.not_valid_before(NOT_BEFORE).not_valid_after(NOT_AFTER).sign(key, None)


def node_id_in(der: bytes) -> bytes:
    """The id of the node whose certificate it is; Violation if it is not to the byte as `make_certificate` makes them."""
    if len(der) > MAX_CERTIFICATE or len(der) < MIN_CERTIFICATE:
        raise Violation(Refusal.CERTIFICATE, "its length")
    serial = der[_SERIAL_AT + 1 : _SERIAL_AT + 1 + der[_SERIAL_AT]]
    key, signature = der[-_TAIL - 32 : -_TAIL], der[-64:]
    signed = _sequence(_BEFORE + bytes((2, len(serial))) + serial + _BETWEEN + key)
    if not _is_serial(serial) or _sequence(signed + _ALGORITHM + _SIGNATURE + signature) != der:
        raise Violation(Refusal.CERTIFICATE, "other fields")
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise Violation(Refusal.CERTIFICATE, "its signature") from None
    return node_id_of(key)


def _sequence(inside: bytes) -> bytes:
    """DER; of the lengths that occur here, 128 to 255."""
    return bytes((0x30, 0x81, len(inside) & 0xFF)) + inside


def _is_serial(serial: bytes) -> bool:
    """Whether this is a positive number in as few bytes as it needs, and in no more than it may have."""
    return 1 <= len(serial) <= 20 and 0 <= serial[0] < 0x80 and (serial[0] > 0 or serial[1:2] >= b"\x80")


class RelayTls:
    """What a node needs to begin sessions.  `key` is the one that its descriptor is signed with."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self.node_id = node_id_of(key.public_key().public_bytes_raw())
        certificate = make_certificate(key)
        self._client = _context(certificate, key)
        self._client.set_alpn_protos([ALPN])
        self._server = _context(certificate, key)
        self._server.set_alpn_select_callback(_select)

    def client(self, pin: bytes | None) -> Session:
        """For a connection that we dialled, to the node `pin` and no other; None: to whoever answers (a first contact)."""
        return Session(SSL.Connection(self._client, None), "client", self.node_id, pin)

    def server(self) -> Session:
        """For a connection that dialled us."""
        return Session(SSL.Connection(self._server, None), "server", self.node_id, None)


def _context(certificate: x509.Certificate, key: Ed25519PrivateKey) -> SSL.Context:
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(SSL.TLS1_3_VERSION)
    context.set_max_proto_version(SSL.TLS1_3_VERSION)
    context.set_options(SSL.OP_NO_TICKET | SSL.OP_NO_COMPRESSION)
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, _verify)
    context.use_certificate(certificate)
    context.use_privatekey(key)
    return context


def _select(connection: SSL.Connection, offered: list[bytes]) -> bytes:
    if offered != [ALPN]:
        raise SSL.Error("another protocol")
    return ALPN


def _verify(connection: SSL.Connection, certificate: crypto.X509, error: int, depth: int, ok: int) -> bool:
    """Called by OpenSSL, which itself accepts no certificate that signs itself; ours are judged by what is in them."""
    session = connection.get_app_data()
    return (
        depth == 0
        and isinstance(session, Session)
        and session.judge(crypto.dump_certificate(crypto.FILETYPE_ASN1, certificate))
    )


class Session:
    """One side of one session.  After a Violation it is of no use any more.

    `peer_id` is known when `is_open`; `is_ended`: the peer has said that nothing more will come.
    """

    def __init__(self, connection: SSL.Connection, role: Role, own_id: bytes, pin: bytes | None) -> None:
        self._connection, self.role, self._own_id, self._pin = connection, role, own_id, pin
        self.peer_id = b""
        self.is_open = self.is_ended = False
        self._refused: Violation | None = None
        connection.set_app_data(self)
        if role == "client":
            connection.set_connect_state()
        else:
            connection.set_accept_state()

    def judge(self, der: bytes) -> bool:
        """Whether that is a node's certificate, and the right node's; for OpenSSL, which may ask more than once."""
        try:
            peer_id = node_id_in(der)
            if self._pin is not None and not hmac.compare_digest(peer_id, self._pin):
                raise Violation(Refusal.PIN, "another node")
            if peer_id == self._own_id:
                raise Violation(Refusal.LINK_SELF)
        except Violation as violation:
            self._refused = violation
            return False
        self.peer_id = peer_id
        return True

    def begin(self) -> bytes:
        """What a client sends first."""
        self._shake()
        return self.take()

    def feed(self, data: bytes) -> list[bytes]:
        """Bytes of the peer, deciphered.  Violation: the connection has to be closed; `take` may have an alert for it."""
        found: list[bytes] = []
        try:
            for at in range(0, len(data), _READ):
                self._connection.bio_write(data[at : at + _READ])
                if self.is_open or self._shake():
                    self._read(found)
        except SSL.ZeroReturnError:
            self.is_ended = True
        except SSL.Error:
            raise self._refused or Violation(Refusal.TLS_BROKEN) from None
        return found

    def _read(self, found: list[bytes]) -> None:
        try:
            while True:
                found.append(self._connection.recv(_READ))
        except SSL.WantReadError:
            return

    def _shake(self) -> bool:
        """Whether the handshake is over, with what was asked for."""
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            return False
        # OpenSSL shows the peer's own certificate in the chain of a server, and not in that of a client.
        more = len(self._connection.get_peer_cert_chain() or ()) - (self.role == "client")
        if self._connection.get_alpn_proto_negotiated() != ALPN:
            raise Violation(Refusal.TLS_ALPN)
        if more or not self.peer_id:
            raise Violation(Refusal.CERTIFICATE, "not exactly one")
        self.is_open = True
        return True

    def write(self, data: bytes) -> None:
        """Encipher; `take` has the result.  Each call is one record, so not more than one slice of a cell."""
        self._connection.send(data)

    def take(self) -> bytes:
        """What is to be sent to the peer now."""
        pieces: list[bytes] = []
        try:
            while not pieces or len(pieces[-1]) == _READ:
                pieces.append(self._connection.bio_read(_READ))
        except SSL.Error:
            pass
        return b"".join(pieces)

    def end(self) -> bytes:
        """The last bytes for the peer."""
        try:
            self._connection.shutdown()
        except SSL.Error:
            return b""
        return self.take()

    @property
    def group(self) -> str:
        """The key exchange that was agreed on."""
        return self._connection.get_group_name() or ""

    def proof(self, role: Role) -> bytes:
        """What the side with this role has to say in its HELLO."""
        key = self._connection.export_keying_material(EXPORTER, 32)
        ids = sorted((self._own_id, self.peer_id))
        return hmac.digest(key, b"".join(ids) + role.encode(), hashlib.sha256)
