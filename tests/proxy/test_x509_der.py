"""Certificates read by our own reader and by the library: never more, never another name."""

from __future__ import annotations

import contextlib
import ipaddress
import ssl
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy import x509_der
from proxy.x509_der import CLIENT_AUTH, SERVER_AUTH, Fields, NotReadable

KEY = ec.generate_private_key(ec.SECP256R1())
NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web")])
USAGES = {
    ExtendedKeyUsageOID.CLIENT_AUTH: CLIENT_AUTH,
    ExtendedKeyUsageOID.SERVER_AUTH: SERVER_AUTH,
    ExtendedKeyUsageOID.CODE_SIGNING: bytes.fromhex("2b06010505070303"),
}
REFUSALS = (
    ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion, x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)  # fmt: skip


def by_library(der: bytes) -> Fields:
    """The same fields as the library reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        certificate = x509.load_der_x509_certificate(der)
        extensions = certificate.extensions
        usages: frozenset[bytes] | None = None
        uris: tuple[str, ...] | None = None
        with contextlib.suppress(x509.ExtensionNotFound):
            usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
            usages = frozenset(USAGES.get(each, b"") for each in usage)
        with contextlib.suppress(x509.ExtensionNotFound):
            names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            uris = tuple(names.get_values_for_type(x509.UniformResourceIdentifier))
        return Fields(
            serial_number=certificate.serial_number,
            not_before_at=certificate.not_valid_before_utc.timestamp(),
            not_after_at=certificate.not_valid_after_utc.timestamp(),
            usages=usages,
            uris=uris,
        )


def known(fields: Fields) -> Fields:
    """Usages that have no name here all look alike."""
    if fields.usages is None:
        return fields
    usages = frozenset(each if each in USAGES.values() else b"" for each in fields.usages)
    return Fields(
        fields.serial_number, fields.not_before_at, fields.not_after_at, usages, fields.uris
    )


NAMES = st.one_of(
    st.sampled_from(["spiffe://x.consul/ns/default/dc/dc1/svc/web", "spiffe://x", "", "a\0b"]).map(
        x509.UniformResourceIdentifier
    ),
    st.sampled_from(["web.example", "*.x"]).map(x509.DNSName),
    st.just(x509.RFC822Name("a@b.example")),
    st.ip_addresses().map(x509.IPAddress),
    st.just(x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))),
    st.just(x509.DirectoryName(NAME)),
    st.just(x509.OtherName(x509.ObjectIdentifier("1.2.3.4"), b"\x04\x01a")),
)
TIMES = st.datetimes(
    datetime(1950, 1, 1), datetime(9998, 1, 1), timezones=st.just(UTC)
).map(lambda at: at.replace(microsecond=0))  # fmt: skip


@st.composite
def certificates(draw: st.DrawFn) -> bytes:
    first, last = sorted((draw(TIMES), draw(TIMES)))
    builder = (
        x509.CertificateBuilder()
        .subject_name(draw(st.sampled_from([x509.Name([]), NAME])))
        .issuer_name(NAME)
        .public_key(KEY.public_key())
        .serial_number(draw(st.integers(1, (1 << 159) - 1)))
        .not_valid_before(first)
        .not_valid_after(last)
    )
    extensions: list[x509.ExtensionType] = []
    if names := draw(st.lists(NAMES, max_size=4)):
        extensions.append(x509.SubjectAlternativeName(names))
    if usages := draw(st.lists(st.sampled_from(list(USAGES)), max_size=3, unique=True)):
        extensions.append(x509.ExtendedKeyUsage(usages))
    if draw(st.booleans()):
        extensions.append(x509.BasicConstraints(ca=False, path_length=None))
        extensions.append(x509.SubjectKeyIdentifier.from_public_key(KEY.public_key()))
    if draw(st.booleans()):
        oid = x509.ObjectIdentifier("1.3.6.1.4.1.99999.1")
        extensions.append(x509.UnrecognizedExtension(oid, draw(st.binary(max_size=300))))
    for each in draw(st.permutations(extensions)):
        builder = builder.add_extension(each, critical=draw(st.booleans()))
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


@settings(max_examples=60)
@given(certificates())
def test_what_authorities_make_is_read_as_the_library_reads_it(der: bytes) -> None:
    assert known(x509_der.read(der)) == by_library(der)


RICH = (
    x509.CertificateBuilder()
    .subject_name(NAME)
    .issuer_name(NAME)
    .public_key(KEY.public_key())
    .serial_number(0x7FF1)
    .not_valid_before(datetime(2030, 1, 1, tzinfo=UTC))
    .not_valid_after(datetime(2060, 1, 1, tzinfo=UTC))
    .add_extension(
        x509.SubjectAlternativeName(
            [
                x509.UniformResourceIdentifier("spiffe://x"),
                x509.DNSName("web"),
                x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
                x509.DirectoryName(NAME),
            ]
        ),
        critical=True,
    )
    .add_extension(x509.ExtendedKeyUsage(list(USAGES)), critical=False)
    .sign(KEY, hashes.SHA256())
    .public_bytes(serialization.Encoding.DER)
)
#: Where what is signed ends: the rest is the signature, which no field is read from.
SIGNED = len(RICH) - 80


def changes(at: int) -> Iterator[bytes]:
    """What may stand in the place of one byte; nothing, or two, too."""
    was = RICH[at]
    each = {0, 1, 2, 0x30, 0x31, 0x80, 0x81, 0x86, 0xA0, 0xFF, was ^ 1, was ^ 0x20, was ^ 0x80}
    yield from (bytes([byte]) for byte in each | {(was + 1) % 256, (was - 1) % 256} - {was})
    yield from (b"", b"\0" + RICH[at : at + 1])


def test_of_a_changed_certificate_nothing_is_read_that_the_library_would_not_read() -> None:
    taken = 0
    for at in range(SIGNED):
        for put in changes(at):
            taken += never_more(RICH[:at] + put + RICH[at + 1 :])
    assert taken > 500  # a number, a letter of a name


def never_more(der: bytes) -> bool:
    """What we take, the library reads in the same way; whether we take it."""
    try:
        ours = x509_der.read(der)
    except NotReadable:
        return False
    if ours.usages is None or ours.uris is None:
        return False  # such a one is of no use (proxy/certificate.py)
    try:
        theirs = by_library(der)
    except ValueError as error:
        if "AlgorithmIdentifier::params" in str(error):
            return False  # the key is OpenSSL's to judge, which uses it in the handshake
        raise
    assert known(ours) == theirs, der.hex()
    return True


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_rubbish_is_refused(raw: bytes) -> None:
    for der in (raw, element(0x30, raw), element(0x30, element(0x30, raw))):
        with pytest.raises(NotReadable):
            x509_der.read(der)


def element(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = len(content)
    if size < 0x80:
        return bytes([tag, size]) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + content


def numbered(value: bytes) -> bytes:
    return element(0x02, value)


NAMED = element(0x30)
ALGORITHM = element(0x30, bytes.fromhex("06082a8648ce3d040302"))
SPKI = KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
SAN, EKU = b"\x55\x1d\x11", b"\x55\x1d\x25"
URI = element(0x86, b"spiffe://x")
V3 = element(0xA0, numbered(b"\x02"))


def extension(oid: bytes, value: bytes, critical: bytes = b"") -> bytes:
    return element(0x30, element(0x06, oid), critical, element(0x04, value))


NAMES_OF = extension(SAN, element(0x30, URI))


def usage_of(oid: bytes) -> bytes:
    return extension(EKU, element(0x30, element(0x06, oid)))


USAGE = usage_of(CLIENT_AUTH)


def odd(
    *extensions: bytes,
    version: bytes = V3,
    serial: bytes = b"\x07",
    start: bytes = element(0x17, b"300101000000Z"),
    ids: bytes = b"",
    after: bytes = b"",
    signature: bytes = b"\0abc",
) -> bytes:
    inner = element(
        0x30, version, numbered(serial), ALGORITHM, NAMED,
        element(0x30, start, element(0x17, b"490101000000Z")), NAMED, SPKI, ids,
        element(0xA3, element(0x30, *(extensions or (NAMES_OF, USAGE)))),
    )  # fmt: skip
    return element(0x30, inner, ALGORITHM, element(0x03, signature)) + after


def names(*each: bytes) -> bytes:
    return odd(extension(SAN, element(0x30, *each)), USAGE)


GOOD = {
    "usual": odd(),
    "with ids of issuer and subject": odd(ids=element(0x81, b"\0a") + element(0x82, b"\0b")),
    "a long time": odd(start=element(0x18, b"20300101000000Z")),
    "critical": odd(extension(SAN, element(0x30, URI), b"\x01\x01\xff"), USAGE),
    "a large number": odd(serial=b"\x00" + b"\xff" * 19),
    "no number": odd(serial=b"\x00"),
    "a number below zero": odd(serial=b"\xff"),
    "two URIs": names(URI, URI),
}
ODD = {
    "something after it": odd(after=b"\0"),
    "version 1": odd(version=b""),
    "version 2": odd(version=element(0xA0, numbered(b"\x01"))),
    "a version with more": odd(version=element(0xA0, numbered(b"\x02"), b"\x05\x00")),
    "names twice": odd(NAMES_OF, NAMES_OF, USAGE),
    "usages twice": odd(NAMES_OF, USAGE, USAGE),
    "a default written out": odd(extension(SAN, element(0x30, URI), b"\x01\x01\x00"), USAGE),
    "another true": odd(extension(SAN, element(0x30, URI), b"\x01\x01\x01"), USAGE),
    "a number with a byte too many": odd(serial=b"\x00\x07"),
    "a number without bytes": odd(serial=b""),
    "a time without seconds": odd(start=element(0x17, b"3001010000Z")),
    "a time with a zone": odd(start=element(0x17, b"300101000000+0100")),
    "a time with a fraction": odd(start=element(0x18, b"20300101000000.5Z")),
    "no such day": odd(start=element(0x17, b"300231000000Z")),
    "a second too many": odd(start=element(0x17, b"300101000060Z")),
    "an unknown kind of name": names(URI, element(0xA3, element(0x30))),
    "a URI that has parts": names(element(0xA6, b"\x0c\x01a")),
    "a URI in UTF-8": names(element(0x86, "spiffe://ä".encode())),
    "an address of five bytes": names(URI, element(0x87, b"12345")),
    "names that are no list": odd(extension(SAN, URI), USAGE),
    "more after the names": odd(extension(SAN, element(0x30, URI) + b"\x05\x00"), USAGE),
    "a usage that is none": odd(NAMES_OF, usage_of(b"\x80\x01")),
    "a usage cut short": odd(NAMES_OF, usage_of(b"\x2b\x86")),
    "a length of no end": odd(extension(SAN, b"\x30\x80" + URI + b"\0\0"), USAGE),
    "a length with a byte too many": odd(extension(SAN, b"\x30\x81\x0c" + URI), USAGE),
    "nested without end": odd(extension(b"\x55\x1d\x63", b"\x30\x82" * 20), USAGE),
}  # fmt: skip


@pytest.mark.parametrize("what", GOOD)
def test_what_is_unusual_but_right_is_read_as_the_library_reads_it(what: str) -> None:
    assert known(x509_der.read(GOOD[what])) == by_library(GOOD[what])


@pytest.mark.parametrize("what", ODD)
def test_what_has_two_readings_or_none_is_refused(what: str) -> None:
    with pytest.raises(NotReadable):
        x509_der.read(ODD[what])


def test_a_certificate_nested_very_deep_is_refused_soon() -> None:
    deep = b""
    for _ in range(200):
        deep = element(0x30, deep)
    with pytest.raises(NotReadable, match="deep"):
        x509_der.read(odd(extension(b"\x55\x1d\x63", deep), USAGE))
    with pytest.raises(NotReadable, match="longer than"):
        x509_der.read(b"\x30" * 200_000)


def test_the_first_certificate_of_a_text() -> None:
    pem = ssl.DER_cert_to_PEM_cert(RICH)
    for text in (pem, f"leaf:\n{pem}{ssl.DER_cert_to_PEM_cert(odd())}", pem.replace("\n", "\r\n")):
        assert x509_der.of_pem(text) == RICH
    for text in (
        "",
        "junk",
        pem[:-30],
        pem.replace("MII", "M=I"),
        pem.replace("MII", "M!I"),
        pem.replace("MII", "Mä"),
    ):
        with pytest.raises(NotReadable):
            x509_der.of_pem(text)


def odds() -> Iterator[bytes]:
    yield from GOOD.values()
    yield from ODD.values()


def test_the_library_takes_no_less_of_any_odd_one() -> None:
    for der in odds():
        never_more(der)
