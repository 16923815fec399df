"""Somebody who keeps a root's key outside of the cluster and signs requests with it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
USAGE = x509.KeyUsage(
    digital_signature=True, content_commitment=False, key_encipherment=False,
    data_encipherment=False, key_agreement=False, key_cert_sign=True, crl_sign=True,
    encipher_only=False, decipher_only=False,
)  # fmt: skip


def pem(*certificates: x509.Certificate) -> str:
    return "".join(each.public_bytes(serialization.Encoding.PEM).decode() for each in certificates)


class Keeper:
    """An authority; ``above`` is who signed it, None for a root."""

    def __init__(
        self,
        now: datetime,
        *,
        above: Keeper | None = None,
        name: str = "ACME Root",
        days: float = 3650,
        path_length: int | None = None,
        more: Iterable[x509.ExtensionType] = (),
        key: Key | None = None,
    ) -> None:
        self.now, self.above = now, above
        self.key: Key = key or ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = above or self
        self.certificate = signer.sign(
            self.name,
            self.key.public_key(),
            [x509.BasicConstraints(ca=True, path_length=path_length), USAGE, *more],
            days=days,
        )

    def sign(
        self,
        subject: x509.Name,
        public: Any,
        extensions: Iterable[x509.ExtensionType],
        *,
        days: float = 365,
        start: datetime | None = None,
        hashed: hashes.HashAlgorithm | None = None,
    ) -> x509.Certificate:
        begin = start or self.now - timedelta(minutes=1)
        builder = x509.CertificateBuilder(
            issuer_name=self.name,
            subject_name=subject,
            public_key=public,
            serial_number=x509.random_serial_number(),
            not_valid_before=begin,
            not_valid_after=begin + timedelta(days=days),
        )
        for each in extensions:
            builder = builder.add_extension(each, critical=isinstance(each, x509.BasicConstraints))
        return builder.sign(self.key, hashed or hashes.SHA256())

    def intermediate(
        self, csr_pem: str, *, drop: type | None = None, more: Iterable[Any] = (), **how: Any
    ) -> str:
        """What the operator brings back: the signed request and all above it, PEM."""
        request = x509.load_pem_x509_csr(csr_pem.encode())
        wanted = [each.value for each in request.extensions if type(each.value) is not drop]
        signed = self.sign(request.subject, request.public_key(), [*wanted, *more], **how)
        return pem(signed) + self.chain()

    def chain(self) -> str:
        """This authority and all above it."""
        return pem(self.certificate) + (self.above.chain() if self.above else "")
