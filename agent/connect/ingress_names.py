"""The DNS names in an ingress gateway's certificate (mesh contract A.9, C.7). Pure.

Clients outside of the mesh check the host that they call, not a SPIFFE id. So the leaf of a gateway
that shows its certificate to them holds the hosts of its config entry, and the names that DNS gives
the services behind it. They come from the entry, never from whoever asks for the leaf.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

#: No certificate holds more; later ones are left out.
NAMES_MAX = 256
_LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
#: RFC 6125, 6.4.3: a wildcard stands for the whole leftmost label.
_NAME = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_NAME_BYTES_MAX = 253


def dns_names(entry: object, *, domains: tuple[str, ...], datacenter: str) -> tuple[str, ...]:
    """Of the gateway with this entry, sorted; none where no listener of it speaks TLS.

    ``domains`` are the zones in which agents answer, without the last dot.
    """
    if not isinstance(entry, Mapping):
        return ()
    secure = list(_secure_listeners(entry))
    if not secure:
        return ()
    names = {f"*.ingress.{zone}".lower() for zone in domains if zone}
    names |= {f"*.ingress.{datacenter}.{zone}".lower() for zone in domains if zone}
    for listener in secure:
        for service in listener.get("Services") or ():
            names.update(filter(None, map(_name_of, service.get("Hosts") or ())))
    return tuple(sorted(names))[:NAMES_MAX]


def _secure_listeners(entry: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    everywhere = (entry.get("TLS") or {}).get("Enabled") is True
    for listener in entry.get("Listeners") or ():
        own = (listener.get("TLS") or {}).get("Enabled")
        if own is True or (everywhere and own is None):
            yield listener


def _name_of(host: object) -> str:
    """The name in a host, which may have a port; "" for what no certificate can hold."""
    name = str(host).lower().partition(":")[0].rstrip(".")
    return name if len(name) <= _NAME_BYTES_MAX and _NAME.fullmatch(name) else ""
