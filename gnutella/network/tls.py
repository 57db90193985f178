"""TLS of the peer port: keeps eavesdroppers and traffic shapers out, and nothing more.

Nobody on this network checks certificates, and LimeWire's relatives have none (anonymous Diffie-Hellman only), so identity is
not its purpose: contexts take any certificate, anonymous key exchange and old versions (protocol digest 11.1).  What must be
secret from active attackers cannot rely on it.  Our own certificate is self-signed, says nothing about us, and is kept in
DIR/tls so that it does not change with each start.
"""

from __future__ import annotations

import base64
import datetime
import os
from collections.abc import Callable
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from gnutella.errors import UserError

#: Everything that encrypts, anonymous suites included, at OpenSSL's most permissive level.
CIPHERS = b"ALL:aNULL:!eNULL:@SECLEVEL=0"
NAME = "gnutella"
#: A certificate that nobody checks need not end; these are the bounds that X.509 can express plainly.
NOT_BEFORE = datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC)
NOT_AFTER = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)


@implementer(IOpenSSLClientConnectionCreator)
class _Client:
    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def clientConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


@implementer(IOpenSSLServerConnectionCreator)
class _Server:
    def __init__(self, context: SSL.Context) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return SSL.Connection(self._context, None)


class PeerTls:
    """What `transport.startTLS` wants: `client` for links we dialled, `server` for links that dialled us.

    `node_directory` is the node's own; its folder tls (mode 700) is read or made.  UserError when that cannot be used.
    """

    def __init__(self, node_directory: Path) -> None:
        directory = node_directory / "tls"
        try:
            certificate = _kept(directory, "node.pem", _make_certificate)
            parameters = _kept(directory, "dh.pem", _dh_parameters)
            try:
                context = _context(certificate, parameters)
            except SSL.Error:
                certificate.unlink()  # cut short or damaged; there is nothing in it that a new one lacks
                context = _context(_kept(directory, "node.pem", _make_certificate), parameters)
        except OSError as error:
            raise UserError(
                f"cannot use directory {str(directory)!r}: {error.strerror}",
                "make it writable, or set network.tls = false",
                os.EX_CANTCREAT,
            ) from None
        self.client = _Client(context)
        self.server = _Server(context)


def _context(certificate: Path, parameters: Path) -> SSL.Context:
    context = SSL.Context(SSL.SSLv23_METHOD)
    context.set_options(SSL.OP_NO_SSLv2 | SSL.OP_NO_SSLv3 | SSL.OP_NO_COMPRESSION | SSL.OP_SINGLE_DH_USE)
    context.set_cipher_list(CIPHERS)
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_verify(SSL.VERIFY_NONE)
    # One context for both roles: resumed sessions would tie a servent's links together for whoever watches.
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.load_tmp_dh(os.fsencode(parameters))
    context.use_certificate_file(os.fsencode(certificate))
    context.use_privatekey_file(os.fsencode(certificate))
    return context


def _kept(directory: Path, name: str, make: Callable[[], bytes]) -> Path:
    """The file, made if it is missing; a crash leaves either the whole file or none."""
    path = directory / name
    if not path.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial = directory / f"{name}.new"
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(make())
        partial.rename(path)
    return path


def _make_certificate() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    certificate = builder.not_valid_before(NOT_BEFORE).not_valid_after(NOT_AFTER).sign(key, hashes.SHA256())
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem) + private


def _dh_parameters() -> bytes:
    """The group ffdhe2048 of RFC 7919, for anonymous Diffie-Hellman, from its definition by the digits of e."""
    term = e = 1 << 2200
    n = 1
    while term := term // n:
        e, n = e + term, n + 1
    prime = 2**2048 - 2**1984 + ((e >> (2200 - 1918)) + 560316) * 2**64 - 1
    # PKCS#3 is SEQUENCE { INTEGER prime, INTEGER generator }; written by hand, as libraries give up on such groups.
    integers = b"\x02\x82\x01\x01\0" + prime.to_bytes(256, "big") + b"\x02\x01\x02"
    der = b"\x30\x82" + len(integers).to_bytes(2, "big") + integers
    return b"-----BEGIN DH PARAMETERS-----\n" + base64.encodebytes(der) + b"-----END DH PARAMETERS-----\n"
