"""Which certificates of the mesh count no more although they have not ended (mesh contract A.9).

Pure. A certificate is denied by its serial number, or because it is of a SPIFFE id all of whose
certificates up to a moment are. Both sides of a connection are looked at, when it begins and
whenever the list changes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from proxy import spiffe
from proxy.errors import IdentityError
from proxy.spiffe import SpiffeId

if TYPE_CHECKING:
    from proxy.certificate import PeerCertificate

#: A leaf begins so many seconds before it was signed, for clocks that are behind (contract A.2).
BACKDATE_S = 60.0
#: RFC 5280, 4.1.2.2: a serial number has 20 octets at most.
_HEX = re.compile(r"[0-9A-Fa-f]{1,40}")


def read_serial(text: str) -> int:
    """A serial number in hex, with colons or without. Raises ValueError for what is none."""
    digits = text.replace(":", "")
    if not _HEX.fullmatch(digits):
        raise ValueError(f"not a serial number in hexadecimal: {text[:64]!r}")
    found = int(digits, 16)
    if not found:
        raise ValueError("no certificate has the serial number 0")
    return found


@dataclass(frozen=True, slots=True)
class Revocations:
    """A list as it is at one moment. ``before``: of an id, those issued before it (Unix time)."""

    serials: frozenset[int] = frozenset()
    before: Mapping[SpiffeId, float] = field(default_factory=lambda: MappingProxyType({}))

    def why(self, peer: PeerCertificate) -> str:
        """Why a certificate is denied, "" when it is not."""
        if peer.serial_number in self.serials:
            return f"certificate with serial {peer.serial_number:x} was revoked"
        before = self.before.get(peer.identity)
        if before is not None and peer.not_before_at + BACKDATE_S < before:
            return f"certificates of {peer.identity.uri} issued so far were revoked"
        return ""


NONE = Revocations()


def of_entries(entries: Iterable[tuple[str, str, float]]) -> Revocations:
    """From (serial, uri, before). An entry that cannot be read revokes nothing that we could name.

    Raises ValueError for it: a list is taken whole or not at all.
    """
    serials: set[int] = set()
    before: dict[SpiffeId, float] = {}
    for serial, uri, moment in entries:
        if serial:
            serials.add(read_serial(serial))
        if uri:
            try:
                identity = spiffe.parse(uri)
            except IdentityError as error:
                raise ValueError(str(error)) from error
            before[identity] = max(moment, before.get(identity, moment))
    return Revocations(frozenset(serials), MappingProxyType(before))
