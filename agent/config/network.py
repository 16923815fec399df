"""Which addresses an agent binds, serves clients on and tells others (cli-config contract, B4).

Pure: this host's interfaces come in as a function that is called only where they are needed.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.config.decode import Values
from agent.config.sockaddr import Interface, TemplateError, expand, private_addresses
from agent.errors import ConfigError

Interfaces = Callable[[], Sequence[Interface]]

#: How an address that is a unix socket begins.
UNIX = "unix://"
#: Binding these means every address of the host.
ANY = frozenset({"0.0.0.0", "::"})  # noqa: S104  (compared, not bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """IP addresses without ports, or "unix:///path" for HTTP. ``clients`` is not empty; the others
    are where they were not set."""

    bind: str
    advertise: str
    #: As ``advertise`` where nothing else is set.
    advertise_wan: str
    serf_lan: str
    serf_wan: str
    clients: tuple[str, ...]
    http: tuple[str, ...]
    https: tuple[str, ...]
    dns: tuple[str, ...]


def addresses(values: Values, interfaces: Interfaces) -> Addresses:
    """Work out the agent's addresses. Raises ConfigError."""
    bind = _single("bind_addr", values.get("bind_addr", "0.0.0.0"), interfaces)  # noqa: S104
    advertise = _advertise(values, bind, interfaces)
    return Addresses(
        bind=bind,
        advertise=advertise,
        advertise_wan=_advertise_wan(values, advertise, interfaces),
        serf_lan=_single("serf_lan", values.get("serf_lan") or bind, interfaces),
        serf_wan=_single("serf_wan", values.get("serf_wan") or bind, interfaces),
        clients=_clients(values.get("client_addr", "127.0.0.1"), interfaces),
        http=_face("addresses.http", values, interfaces),
        https=_face("addresses.https", values, interfaces),
        dns=_face("addresses.dns", values, interfaces),
    )


def expanded(path: str, text: str, interfaces: Interfaces) -> list[str]:
    """The words of an address key with templates replaced. Raises ConfigError."""
    if "{{" not in text:
        return text.split()
    try:
        return expand(text, interfaces()).split()
    except TemplateError as error:
        raise ConfigError(f"{path}: unable to parse address template {text!r}: {error}") from None


def peers(path: str, given: Sequence[str], interfaces: Interfaces) -> tuple[str, ...]:
    """Addresses of a list key; a template may give several. Raises ConfigError."""
    found: list[str] = []
    for text in given:
        if text.startswith("provider="):
            raise ConfigError(f"{path}: joining through a cloud provider is not supported: {text}")
        found += expanded(path, text, interfaces) if "{{" in text else [text]
    return tuple(found)


def _single(path: str, text: str, interfaces: Interfaces) -> str:
    words = expanded(path, text, interfaces)
    if any(word.startswith("unix://") for word in words):
        raise ConfigError(f"{path} cannot be a unix socket")
    if len(words) > 1:
        raise ConfigError(
            f"{path} cannot contain multiple addresses. Use 'addresses.{{dns,http,https}}' instead."
        )
    if not words:
        raise ConfigError(f"{path} cannot be empty")
    return _ip(path, words[0])


def _ip(path: str, text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.removeprefix("[").removesuffix("]")))
    except ValueError:
        raise ConfigError(f"{path}: invalid ip address: {text}") from None


def _advertise(values: Values, bind: str, interfaces: Interfaces) -> str:
    version = 6 if ":" in bind else 4
    for path in ("advertise_addr", f"advertise_addr_ipv{version}"):
        if values.get(path):
            address = _single(path, values[path], interfaces)
            if address in ANY:
                raise ConfigError("Advertise address cannot be 0.0.0.0, :: or [::]")
            return address
    if bind not in ANY:
        return bind
    found = private_addresses(interfaces(), version=version)
    if not found:
        raise ConfigError(
            f"No private IPv{version} address found. "
            "Please configure one with 'bind' and/or 'advertise'."
        )
    if len(found) > 1:
        raise ConfigError(
            f"Multiple private IPv{version} addresses found. "
            "Please configure one with 'bind' and/or 'advertise'."
        )
    return found[0]


def _advertise_wan(values: Values, advertise: str, interfaces: Interfaces) -> str:
    version = 6 if ":" in advertise else 4
    for path in ("advertise_addr_wan", f"advertise_addr_wan_ipv{version}"):
        if values.get(path):
            address = _single(path, values[path], interfaces)
            if address in ANY:
                raise ConfigError("Advertise WAN address cannot be 0.0.0.0, :: or [::]")
            return address
    return advertise


def _clients(text: str, interfaces: Interfaces) -> tuple[str, ...]:
    words = expanded("client_addr", text, interfaces)
    if any(word.startswith("unix://") for word in words):
        raise ConfigError("client_addr: unix sockets are not supported")
    if not words:
        raise ConfigError("client_addr cannot be empty")
    return tuple(dict.fromkeys(_ip("client_addr", word) for word in words))


def _face(path: str, values: Values, interfaces: Interfaces) -> tuple[str, ...]:
    """Where one face listens; templates and several addresses are fine."""
    found: list[str] = []
    for word in expanded(path, values.get(path, ""), interfaces):
        if not word.startswith(UNIX):
            found.append(_ip(path, word))
        elif path == "addresses.dns":
            raise ConfigError("DNS address cannot be a unix socket")
        elif not word.removeprefix(UNIX).startswith("/"):
            raise ConfigError(f"{path}: {word}: the path of a unix socket must be absolute")
        else:
            found.append(word)
    return tuple(dict.fromkeys(found))
