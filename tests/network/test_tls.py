"""Certificate and key of the peer port: private, kept, remade when damaged; contexts take what old servents offer."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography import x509
from OpenSSL import SSL

from gnutella.errors import UserError
from gnutella.network.tls import PeerTls


def shake(client: SSL.Connection, server: SSL.Connection) -> None:
    """Carry bytes between the two until both are done."""
    client.set_connect_state()
    server.set_accept_state()
    for _ in range(20):
        for side, other in ((client, server), (server, client)):
            try:
                side.do_handshake()
            except SSL.WantReadError:
                pass
            try:
                other.bio_write(side.bio_read(65536))
            except SSL.WantReadError:
                pass


def server_of(tls: PeerTls) -> SSL.Connection:
    return tls.server.serverConnectionForTLS(None)  # type: ignore[arg-type]


def test_files_are_private_and_kept(tmp_path: Path) -> None:
    PeerTls(tmp_path)
    files = {path: path.read_bytes() for path in (tmp_path / "tls").iterdir()}
    assert {path.name for path in files} == {"node.pem", "dh.pem"}
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    PeerTls(tmp_path)
    assert {path: path.read_bytes() for path in (tmp_path / "tls").iterdir()} == files


def test_damaged_certificate_is_made_anew(tmp_path: Path) -> None:
    PeerTls(tmp_path)
    node = tmp_path / "tls" / "node.pem"
    node.write_bytes(node.read_bytes()[:100])
    tls = PeerTls(tmp_path)
    shake(client := tls.client.clientConnectionForTLS(None), server_of(tls))  # type: ignore[arg-type]
    assert client.get_cipher_name() is not None


def test_directory_that_cannot_be_used_is_a_readable_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot use directory"):
        PeerTls(tmp_path / "file")


def test_certificate_of_anybody_is_taken_and_says_nothing_of_us(tmp_path: Path) -> None:
    one, other = PeerTls(tmp_path / "a"), PeerTls(tmp_path / "b")
    client, server = one.client.clientConnectionForTLS(None), server_of(other)  # type: ignore[arg-type]
    shake(client, server)
    assert client.get_cipher_name() is not None
    certificate = x509.load_pem_x509_certificate((tmp_path / "b" / "tls" / "node.pem").read_bytes())
    assert certificate.subject.rfc4514_string() == certificate.issuer.rfc4514_string() == "CN=gnutella"


@pytest.mark.parametrize("cipher", [b"ADH-AES128-SHA", b"AECDH-AES128-SHA", b"ECDHE-ECDSA-AES128-SHA"])
def test_old_servents_with_one_cipher_and_tls_1_0_are_served(tmp_path: Path, cipher: bytes) -> None:
    context = SSL.Context(SSL.SSLv23_METHOD)
    context.set_cipher_list(cipher + b":@SECLEVEL=0")
    context.set_min_proto_version(SSL.TLS1_VERSION)
    context.set_max_proto_version(SSL.TLS1_VERSION)
    client, server = SSL.Connection(context, None), server_of(PeerTls(tmp_path))
    shake(client, server)
    assert client.get_cipher_name() == cipher.decode()
    assert client.get_protocol_version_name() == "TLSv1"
