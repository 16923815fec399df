"""Services outside of the mesh that a terminating gateway stands for (mesh contract C.7). Pure.

A client in the mesh asks for a service by the name in its handshake, and expects the identity of
that service. Here is read what the agent tells of one such service, and which one a name means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.errors import SourceError
from proxy.places import is_ip
from proxy.source import AppAddress, AppTls

#: Places of one service that are dialled; more than enough to spread over.
PLACES_MAX = 256
#: Between a service's name and that of one of its subsets, which are served apart.
SEPARATOR = ";"


def service_of(server_name: str, services: Sequence[str], suffix: str) -> str:
    """Which of ``services`` a client asks for by ``NAME`` and ``suffix``, or by ``SUBSET.NAME`` and
    it; without a name it is the only service that there is. "" for none."""
    if not server_name:
        whole = [one for one in services if SEPARATOR not in one]
        return whole[0] if len(whole) == 1 else ""
    wanted = server_name.lower()
    return next((one for one in services if f"{_asked(one)}{suffix}".lower() == wanted), "")


def _asked(one: str) -> str:
    name, _, subset = one.partition(SEPARATOR)
    return f"{subset}.{name}" if subset else name


def suffix(datacenter: str, trust_domain: str) -> str:
    """What follows a service's name in a handshake (contract C.10)."""
    return f".default.{datacenter}.internal.{trust_domain}"


def names(told: Any) -> tuple[str, ...]:
    """The services of the gateway, and then their subsets as ``NAME;SUBSET``. Raises
    SourceError."""
    if not isinstance(told, Mapping) or not isinstance(told.get("Services"), list):
        raise SourceError("the gateway's services are no list")
    subsets = told.get("Subsets") or {}
    if not isinstance(subsets, Mapping):
        raise SourceError("the subsets of the gateway's services are no object")
    names = [str(each) for each in told["Services"]]
    parts = [f"{name}{SEPARATOR}{each}" for name in names for each in subsets.get(name) or ()]
    return (*names, *parts)


def application(told: Any, *, requests: bool) -> AppAddress:
    """Where one service is, and how it is talked to; ``requests``: it is asked in HTTP. Raises
    SourceError."""
    if not isinstance(told, Mapping):
        raise SourceError("the linked service is no object")
    try:
        given = [
            (str(each["Address"]), int(each["Port"]), int(each.get("Weight", 1)))
            for each in told.get("Addresses") or ()
        ][:PLACES_MAX]
    except (KeyError, TypeError, ValueError) as error:
        raise SourceError(f"an address of the linked service cannot be read: {error!r}") from error
    places = [(address, port) for address, port, weight in given if weight > 0]
    if not places:
        return AppAddress("", 0)  # nobody is there: connections are refused, and it is said why
    tls = None
    if told.get("CAFile"):
        tls = AppTls(
            ca_file=str(told["CAFile"]),
            cert_file=str(told.get("CertFile") or ""),
            key_file=str(told.get("KeyFile") or ""),
            server_name=str(told.get("SNI") or ""),
        )
    (address, port), *others = places
    host = ""
    if requests and told.get("HostRewrite") is not False and not is_ip(address):
        host = address
    weights = tuple(weight for *_, weight in given if weight > 0)
    if len(set(weights)) == 1:
        weights = ()
    return AppAddress(address, port, others=tuple(others), weights=weights, tls=tls, host=host)
