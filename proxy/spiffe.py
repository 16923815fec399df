"""SPIFFE ids: who a certificate says it is (mesh contract A.1).

Decides which URIs name somebody and whether two names are the same. Whether that somebody may talk
to us is `authz`; reading the URI out of a certificate is `certificate`.
"""

from __future__ import annotations

import enum
import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote, unquote_to_bytes

from proxy.errors import IdentityError

#: The SPIFFE ID standard, section 2.3: a receiver must take 2048 bytes and need not take more.
URI_MAX = 2048
NAMESPACE = "default"
PARTITION = "default"

_HOST = re.compile(r"[A-Za-z0-9._-]{1,255}")
#: RFC 1035 section 2.3.4; what is no name of a host cannot be asked for.
_SERVER_NAME_MAX = 253
_SERVER_NAME = re.compile(r"[A-Za-z0-9_-]{1,63}(\.[A-Za-z0-9_-]{1,63})*")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
#: What Go's url.PathEscape leaves alone beside letters, digits and "-_.~".
_SAFE = "$&+=:@"
#: Ids whose text is remembered, and ids of services that are: peers of one proxy are fewer.
_KNOWN_MAX = 1024


class Kind(enum.Enum):
    """What sort of party an id names."""

    CA = "ca"
    SERVICE = "service"
    AGENT = "agent"
    SERVER = "server"
    MESH_GATEWAY = "mesh-gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpiffeId:
    """A parsed id. ``name`` is the service or node, "" where the form has none.

    The trust domain is kept in lower case, since hosts compare without case; all else is compared
    byte for byte after unescaping.
    """

    kind: Kind
    trust_domain: str
    datacenter: str = ""
    name: str = ""
    _hash: int = field(init=False, repr=False, compare=False, default=0)

    def __post_init__(self) -> None:
        """Ids are looked up for every connection, and made seldom."""
        told = hash((self.kind.value, self.trust_domain, self.datacenter, self.name))
        object.__setattr__(self, "_hash", told)

    def __hash__(self) -> int:
        return self._hash

    @staticmethod
    def service(trust_domain: str, datacenter: str, name: str) -> SpiffeId:
        """The id of a service's leaf."""
        return _of_service(trust_domain.lower(), datacenter, name)

    @property
    def uri(self) -> str:
        """The id as it stands in a certificate."""
        return _uri(self)

    def __str__(self) -> str:
        return self.uri


@functools.lru_cache(maxsize=_KNOWN_MAX)
def _of_service(trust_domain: str, datacenter: str, name: str) -> SpiffeId:
    return SpiffeId(kind=Kind.SERVICE, trust_domain=trust_domain, datacenter=datacenter, name=name)


@functools.lru_cache(maxsize=_KNOWN_MAX)
def _uri(who: SpiffeId) -> str:
    host = f"spiffe://{who.trust_domain}"
    datacenter, name = quote(who.datacenter, safe=_SAFE), quote(who.name, safe=_SAFE)
    match who.kind:
        case Kind.CA:
            return host
        case Kind.SERVICE:
            return f"{host}/ns/{NAMESPACE}/dc/{datacenter}/svc/{name}"
        case Kind.AGENT:
            return f"{host}/agent/client/dc/{datacenter}/id/{name}"
        case Kind.SERVER:
            return f"{host}/agent/server/dc/{datacenter}"
        case Kind.MESH_GATEWAY:
            return f"{host}/gateway/mesh/dc/{datacenter}"


def parse(uri: str) -> SpiffeId:
    """Read an id. Raises IdentityError for anything that is not one of the known forms."""
    if len(uri) > URI_MAX:
        raise IdentityError(f"SPIFFE ID is longer than {URI_MAX} bytes")
    scheme, separator, rest = uri.partition("://")
    if not separator or scheme.lower() != "spiffe":
        raise IdentityError("SPIFFE ID must have the scheme spiffe")
    host, slash, path = rest.partition("/")
    if not _HOST.fullmatch(host):
        raise IdentityError("SPIFFE ID must have a plain host as trust domain")
    trust_domain = host.lower()
    if not slash:
        return SpiffeId(kind=Kind.CA, trust_domain=trust_domain)
    if "?" in path or "#" in path:
        raise IdentityError("SPIFFE ID must have neither query nor fragment")
    parts = [_unescape(part) for part in path.split("/")]
    return _from_path(trust_domain, parts)


def server_name(expected: Iterable[SpiffeId], subset: str = "") -> str | None:
    """What a client that expects one of these asks for in its handshake (contract C.10), by which a
    gateway knows whom it is to be, and for which subset of its instances; None where no such name
    can be told."""
    who = min(expected, key=lambda each: each.name, default=None)
    if who is None or who.kind is not Kind.SERVICE:
        return None
    name = f"{who.name}.{NAMESPACE}.{who.datacenter}.internal.{who.trust_domain}"
    name = f"{subset}.{name}" if subset else name
    return name if _SERVER_NAME.fullmatch(name) and len(name) <= _SERVER_NAME_MAX else None


def _from_path(trust_domain: str, parts: list[str]) -> SpiffeId:
    if parts[:2] == ["ap", PARTITION]:
        parts = parts[2:]
        if parts[:1] != ["ns"]:
            raise IdentityError("SPIFFE ID has a path of no known form")
    match parts:
        case ["ns", namespace, "dc", datacenter, "svc", name]:
            if namespace != NAMESPACE:
                raise IdentityError(f'SPIFFE ID is of namespace "{namespace}", not "{NAMESPACE}"')
            kind = Kind.SERVICE
        case ["agent", "client", "dc", datacenter, "id", name]:
            kind = Kind.AGENT
        case ["agent", "server", "dc", datacenter]:
            kind, name = Kind.SERVER, ""
        case ["gateway", "mesh", "dc", datacenter]:
            kind, name = Kind.MESH_GATEWAY, ""
        case _:
            raise IdentityError("SPIFFE ID has a path of no known form")
    if not datacenter or (kind in {Kind.SERVICE, Kind.AGENT} and not name):
        raise IdentityError("SPIFFE ID has an empty part")
    return SpiffeId(kind=kind, trust_domain=trust_domain, datacenter=datacenter, name=name)


def _unescape(part: str) -> str:
    if _BAD_ESCAPE.search(part):
        raise IdentityError("SPIFFE ID has a broken percent escape")
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeError as error:  # decoding the escapes, or encoding a lone surrogate
        raise IdentityError("SPIFFE ID is not UTF-8") from error


def of_uris(uris: Sequence[str]) -> SpiffeId:
    """The identity of a certificate, given all its URI SANs: there must be exactly one."""
    if len(uris) != 1:
        raise IdentityError(f"certificate must have exactly one URI SAN, has {len(uris)}")
    return parse(uris[0])
