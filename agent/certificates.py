"""What a user says about TLS: between agents (`tls { internal_rpc }`), or of the HTTP API
(`tls { https }`), in new and old spellings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """Files and demands. ``spelled`` maps a field to the key that the user wrote, for errors.

    ``ciphers`` are suites of TLS 1.2 as OpenSSL names them, "" for those that we choose.
    """

    ca_file: str = ""
    ca_path: str = ""
    cert_file: str = ""
    key_file: str = ""
    verify_incoming: bool = False
    verify_outgoing: bool = False
    verify_server_hostname: bool = False
    min_version: str = "TLSv1_2"
    ciphers: str = ""
    require_node_id: bool = False
    """Servers must have their node id in their certificate to speak Raft."""
    stanza: str = "internal_rpc"
    spelled: Mapping[str, str] = field(default_factory=dict)

    def key(self, name: str) -> str:
        """The key that filled a field."""
        return self.spelled.get(name, f"tls.{self.stanza}.{name}")

    @property
    def has_ca(self) -> bool:
        """Can others be verified?"""
        return bool(self.ca_file or self.ca_path)

    @property
    def complete(self) -> bool:
        """Can this agent show a certificate and verify others'?"""
        return self.has_ca and bool(self.cert_file and self.key_file)

    @property
    def dials_tls(self) -> bool:
        """Does this agent speak TLS when it dials a server?"""
        return self.complete or self.verify_outgoing or self.verify_server_hostname
