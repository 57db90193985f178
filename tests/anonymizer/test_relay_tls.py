"""Sessions between nodes: who is taken for whom, what OpenSSL must not agree to, and what is read of a certificate."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st
from OpenSSL import SSL

from anonymizer import tls
from anonymizer.cells import TLS_SLICE
from anonymizer.reasons import Refusal, Violation
from anonymizer.tls import ALPN, NOT_AFTER, NOT_BEFORE, RelayTls, Session, make_certificate, node_id_in
from gnutella.protocol.client_hello import alpn_of
from gnutella.testing.relay_nodes import signing_key

ONE, TWO, THREE = (RelayTls(signing_key(number)) for number in range(3))
DER = make_certificate(signing_key(1)).public_bytes(Encoding.DER)


def shake(client: Session, server: Session) -> None:
    """Carry bytes between the two until nothing more comes; Violation if either refuses."""
    data = client.begin()
    for _ in range(4):
        server.feed(data)
        client.feed(server.take())
        if not (data := client.take()):
            return


def pair(pin: bytes | None = TWO.node_id) -> tuple[Session, Session]:
    client, server = ONE.client(pin), TWO.server()
    shake(client, server)
    return client, server


def test_both_know_each_other_by_their_keys() -> None:
    client, server = pair()
    assert client.is_open and server.is_open
    assert (client.peer_id, server.peer_id) == (TWO.node_id, ONE.node_id)
    assert client.group == server.group != ""


def test_a_first_contact_takes_whoever_answers() -> None:
    client, server = pair(None)
    assert client.peer_id == TWO.node_id and server.is_open


def test_another_node_than_the_one_dialled_is_refused_before_it_learns_who_dialled() -> None:
    client, server = ONE.client(THREE.node_id), TWO.server()
    with pytest.raises(Violation) as caught:
        shake(client, server)
    assert caught.value.reason is Refusal.PIN
    assert not client.is_open and not server.is_open and server.peer_id == b""


def test_nobody_links_with_himself() -> None:
    with pytest.raises(Violation) as caught:
        shake(ONE.client(None), ONE.server())
    assert caught.value.reason is Refusal.LINK_SELF


def test_what_is_written_is_read_in_order() -> None:
    client, server = pair()
    client.write(b"a" * TLS_SLICE)
    client.write(b"b")
    assert b"".join(server.feed(client.take())) == b"a" * TLS_SLICE + b"b"
    assert server.feed(client.end()) == [] and server.is_ended


def test_what_came_before_the_end_is_not_lost() -> None:
    client, server = pair()
    client.write(b"bye")
    assert server.feed(client.take() + client.end()) == [b"bye"]
    assert server.is_ended


def test_proofs_differ_by_side_and_by_session() -> None:
    client, server = pair()
    assert client.proof("client") == server.proof("client") != client.proof("server") == server.proof("server")
    other, _ = pair()
    assert other.proof("client") != client.proof("client")


def test_a_session_is_never_taken_up_again() -> None:
    client, _ = pair()
    ticket = client._connection.get_session()
    assert ticket is not None
    again, server = ONE.client(TWO.node_id), TWO.server()
    again._connection.set_session(ticket)
    shake(again, server)
    # With a session taken up no certificate would have been shown, and judged.
    assert (again.peer_id, server.peer_id) == (TWO.node_id, ONE.node_id)


def raw(role: str, *, versions: tuple[int, int] = (SSL.TLS1_3_VERSION,) * 2, **options: Any) -> SSL.Connection:
    """A peer of another make: its versions, protocols, certificate (None: none) and what it presents besides."""
    context = SSL.Context(SSL.TLS_METHOD)
    context.set_min_proto_version(versions[0])
    context.set_max_proto_version(versions[1])
    key = signing_key(5)
    certificate = options.get("certificate", make_certificate(key))
    if certificate is not None:
        context.use_certificate(certificate)
        context.use_privatekey(options.get("key", key))
    for more in options.get("chain", ()):
        context.add_extra_chain_cert(more)
    protocols = options.get("protocols", [ALPN])
    if role == "client" and protocols:
        context.set_alpn_protos(protocols)
    elif protocols:
        context.set_alpn_select_callback(lambda connection, offered: protocols[0])
    context.set_verify(SSL.VERIFY_NONE)
    connection = SSL.Connection(context, None)
    (connection.set_connect_state if role == "client" else connection.set_accept_state)()
    return connection


def meet(ours: Session, theirs: SSL.Connection) -> None:
    """The same as `shake`, with a peer of another make."""
    data = ours.begin() if ours.role == "client" else b""
    for _ in range(6):
        if data:
            theirs.bio_write(data)
        try:
            theirs.do_handshake()
        except SSL.WantReadError:
            pass
        try:
            answer = theirs.bio_read(65_536)
        except SSL.WantReadError:
            return
        ours.feed(answer)
        data = ours.take()


def test_a_peer_of_another_make_is_taken_if_it_does_all_right() -> None:
    session = TWO.server()
    meet(session, raw("client"))
    assert session.is_open
    session = TWO.client(None)
    meet(session, raw("server"))
    assert session.is_open


OLD = (SSL.TLS1_2_VERSION,) * 2


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"versions": OLD}, Refusal.TLS_BROKEN),
        ({"protocols": [b"h2"]}, Refusal.TLS_BROKEN),
        ({"protocols": [b"h2", ALPN]}, Refusal.TLS_BROKEN),
        ({"protocols": []}, Refusal.TLS_ALPN),
        ({"certificate": None}, Refusal.TLS_BROKEN),
        ({"chain": [make_certificate(signing_key(6))]}, Refusal.CERTIFICATE),
    ],
)
def test_who_dials_in_without_all_that_is_needed_is_refused(options: dict[str, Any], reason: Refusal) -> None:
    session = TWO.server()
    with pytest.raises((Violation, SSL.Error)) as caught:
        meet(session, raw("client", **options))
    assert not session.is_open
    if isinstance(caught.value, Violation):
        assert caught.value.reason is reason


@pytest.mark.parametrize("options", [{"versions": OLD}, {"protocols": []}])
def test_who_answers_without_all_that_is_needed_is_refused(options: dict[str, Any]) -> None:
    session = TWO.client(None)
    with pytest.raises((Violation, SSL.Error)):
        meet(session, raw("server", **options))
    assert not session.is_open


def odd(**changed: Any) -> x509.Certificate:
    """A certificate that differs from ours in one thing."""
    key: Any = changed.get("key", signing_key(1))
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, changed.get("name", tls.NAME))])
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, changed.get("issuer", tls.NAME))])
    builder = x509.CertificateBuilder(issuer, name, key.public_key(), SERIAL)
    builder = builder.not_valid_before(changed.get("begins", NOT_BEFORE))
    builder = builder.not_valid_after(changed.get("ends", NOT_AFTER))
    for extension in changed.get("extensions", ()):
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(changed.get("signer", key), changed.get("digest"))


#: As long as ours are.
SERIAL = 1 << 150
DAY = datetime.timedelta(days=1)
CURVE = ec.generate_private_key(ec.SECP256R1())
ODD = {
    "name": odd(name="mallory"),
    "issuer": odd(issuer="authority"),
    "begins": odd(begins=NOT_BEFORE + DAY),
    "ends": odd(ends=NOT_AFTER - DAY),
    "names": odd(extensions=[x509.SubjectAlternativeName([x509.DNSName("x")])]),
    "other signer": odd(signer=signing_key(2)),
    "other kind": odd(key=CURVE, digest=SHA256()),
    "long": odd(extensions=[x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3"), bytes(400))]),
}


@pytest.mark.parametrize("what", ODD)
def test_a_certificate_with_anything_of_its_own_is_refused(what: str) -> None:
    with pytest.raises(Violation) as caught:
        node_id_in(ODD[what].public_bytes(Encoding.DER))
    assert caught.value.reason is Refusal.CERTIFICATE


@pytest.mark.parametrize("what", ["name", "names", "other kind"])
def test_in_a_session_it_is_refused_as_well(what: str) -> None:
    key: Any = CURVE if what == "other kind" else signing_key(1)
    session = TWO.server()
    with pytest.raises(Violation) as caught:
        meet(session, raw("client", certificate=ODD[what], key=key))
    assert caught.value.reason is Refusal.CERTIFICATE


def test_certificates_differ_in_key_and_serial_number_only() -> None:
    key = Ed25519PrivateKey.generate()
    one, other = make_certificate(key), make_certificate(key)
    assert one.serial_number != other.serial_number
    assert node_id_in(one.public_bytes(Encoding.DER)) == node_id_in(other.public_bytes(Encoding.DER))
    foreign = make_certificate(signing_key(1))
    shown = [
        (c.subject, c.issuer, c.not_valid_before_utc, c.not_valid_after_utc, len(c.extensions)) for c in (one, foreign)
    ]
    assert shown[0] == shown[1]


@given(st.integers(0, len(DER) - 1), st.integers(1, 255))
def test_a_changed_certificate_is_refused(at: int, change: int) -> None:
    changed = DER[:at] + bytes((DER[at] ^ change,)) + DER[at + 1 :]
    with pytest.raises(Violation) as caught:
        node_id_in(changed)
    assert caught.value.reason is Refusal.CERTIFICATE


@given(st.lists(st.binary(max_size=300), max_size=4), st.booleans())
def test_random_bytes_open_no_session(pieces: list[bytes], is_client: bool) -> None:
    session = ONE.client(None) if is_client else ONE.server()
    if is_client:
        session.begin()
    try:
        for piece in pieces:
            assert session.feed(piece) == []
    except Violation as violation:
        assert violation.reason is Refusal.TLS_BROKEN
    assert not session.is_open


@given(st.data())
def test_a_changed_stream_is_never_read_as_it_is(data: st.DataObject) -> None:
    client, server = pair()
    client.write(b"elephant" * 100)
    sent = client.take()
    at = data.draw(st.integers(0, len(sent) - 1))
    changed = sent[:at] + bytes((sent[at] ^ data.draw(st.integers(1, 255)),)) + sent[at + 1 :]
    try:
        assert server.feed(changed) == []
    except Violation as violation:
        assert violation.reason is Refusal.TLS_BROKEN


def test_our_client_hello_offers_this_protocol_and_names_nobody() -> None:
    hello = ONE.client(TWO.node_id).begin()
    assert alpn_of(hello) == (ALPN,)
    assert b"\0\0\0" not in hello[:3]
    names = [hello.find(ONE.node_id), hello.find(TWO.node_id)]
    assert names == [-1, -1]


def test_the_hellos_of_all_nodes_are_alike_but_for_what_is_random() -> None:
    hellos = [ONE.client(TWO.node_id).begin() for _ in range(40)]
    assert len({len(hello) for hello in hellos}) == 1
    fixed = [at for at, column in enumerate(zip(*hellos, strict=True)) if len(set(column)) == 1]
    assert len(fixed) > 100
    foreign = RelayTls(signing_key(77)).client(None).begin()
    assert len(foreign) == len(hellos[0])
    assert [foreign[at] for at in fixed] == [hellos[0][at] for at in fixed]
