"""A certificate authority for tests: certificates of every kind, also those nobody should take."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
_serials = itertools.count(1)
BOTH_USES = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


@dataclass(frozen=True, slots=True)
class Issued:
    """The files of a certificate and its key, and the certificate in DER."""

    cert: Path
    key: Path
    der: bytes


class TestCA:
    """Signs whatever a test asks for, into files of one folder."""

    __test__ = False

    def __init__(self, folder: Path, name: str = "ca", above: TestCA | None = None) -> None:
        """``above`` signs its certificate; without it, it does so itself."""
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} of a test")])
        now = datetime.now(UTC)
        certificate = (
            _builder(
                self._name,
                above._name if above else self._name,
                self._key,
                now - timedelta(1),
                now + timedelta(9),
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(above._key if above else self._key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(certificate.public_bytes(Encoding.PEM))

    def intermediate(self, name: str) -> TestCA:
        """An authority below this one."""
        return TestCA(self.folder, name, self)

    def key_pem(self) -> bytes:
        """The authority's own key."""
        return self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())

    def issue(
        self,
        name: str,
        *,
        dns: tuple[str, ...] = (),
        uris: tuple[str, ...] = (),
        uses: tuple[x509.ObjectIdentifier, ...] = BOTH_USES,
        days: tuple[float, float] = (-1.0, 8.0),
        key: Key | None = None,
    ) -> Issued:
        """A certificate with these names, valid within ``days`` from now."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [
            *(x509.DNSName(each) for each in dns),
            *(x509.UniformResourceIdentifier(each) for each in uris),
        ]
        builder = _builder(
            subject, self._name, key, now + timedelta(days[0]), now + timedelta(days[1])
        ).add_extension(x509.ExtendedKeyUsage(uses), critical=False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        certificate = builder.sign(self._key, hashes.SHA256())
        issued = Issued(
            self.folder / f"{name}.pem",
            self.folder / f"{name}-key.pem",
            certificate.public_bytes(Encoding.DER),
        )
        issued.cert.write_bytes(certificate.public_bytes(Encoding.PEM))
        issued.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        return issued

    def server(self, name: str, node_id: str = "", datacenter: str = "dc1") -> Issued:
        """A server's certificate, bound to a node id if there is one."""
        uri = f"spiffe://consul/agent/server/dc/{datacenter}/id/{node_id}"
        return self.issue(
            name,
            dns=(f"server.{datacenter}.consul", "localhost"),
            uris=(uri,) if node_id else (),
        )

    def client(self, name: str) -> Issued:
        """A client agent's certificate."""
        return self.issue(name, dns=("client.dc1.consul", "localhost"))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: Key,
    begin: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(next(_serials))
        .not_valid_before(begin)
        .not_valid_after(end)
    )
