"""Addresses that a template finds on this host: ``{{ GetPrivateIP }}`` and its relatives.

A small part of go-sockaddr's template language, enough for what operators write in Consul's files
(cli-config contract, section B1). Pure: the interfaces come in as values (see `interfaces`).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_TEMPLATE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_WORD = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|`([^`]*)`|([^\s"`|]+))')
TEXT_MAX = 4096

#: Blocks by RFC that ``include "rfc"`` knows; 6890 stands for "not to be routed publicly".
_RFC = {
    "1918": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"),
    "6598": ("100.64.0.0/10",),
    "4193": ("fc00::/7",),
    "6890": (
        "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "192.0.2.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "fc00::/7",
    ),
}  # fmt: skip


class TemplateError(ValueError):
    """The template cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """One address of one network interface. ``default`` says the default route goes there."""

    name: str
    address: str
    prefix_length: int = 32
    up: bool = True
    loopback: bool = False
    default: bool = False


def expand(text: str, interfaces: Sequence[Interface]) -> str:
    """The text with its templates replaced. Raises TemplateError."""
    if "{{" not in text:
        return text
    if len(text) > TEXT_MAX:
        raise TemplateError("template is too long")
    if "{{" in _TEMPLATE.sub("", text):
        raise TemplateError("unclosed action")
    return _TEMPLATE.sub(lambda match: _evaluate(match[1], interfaces), text).strip()


def private_addresses(interfaces: Sequence[Interface], *, version: int) -> list[str]:
    """Private unicast addresses (see ``is_private``) of interfaces that are up."""
    wanted = [i for i in _sorted(interfaces) if i.up and not i.loopback and is_private(i.address)]
    return [i.address for i in wanted if ipaddress.ip_address(i.address).version == version]


def is_private(address: str) -> bool:
    """Whether an address is meant for networks that are not routed publicly (RFC 6890)."""
    return any(_within(address, network) for network in _RFC["6890"])


def _evaluate(pipeline: str, interfaces: Sequence[Interface]) -> str:
    value: list[Interface] | str | None = None
    for stage in _stages(pipeline):
        if not stage:
            raise TemplateError("empty stage in template")
        name, *arguments = stage
        if value is None:
            source = _SOURCES.get(name)
            if source is None:
                raise TemplateError(f'function "{name}" not defined')
            value = _called(source, name, [list(interfaces), *arguments])
            continue
        function = _FILTERS.get(name)
        if function is None or isinstance(value, str):
            raise TemplateError(f'function "{name}" not defined')
        value = _called(function, name, [value, *arguments])
    if value is None:
        raise TemplateError("empty template")
    return value if isinstance(value, str) else " ".join(each.address for each in value)


def _called(
    function: Callable[..., list[Interface] | str], name: str, arguments: list[object]
) -> list[Interface] | str:
    try:
        return function(*arguments)
    except TypeError:
        raise TemplateError(f"wrong number of args for {name}") from None


def _stages(pipeline: str) -> list[list[str]]:
    stages: list[list[str]] = [[]]
    position = 0
    text = pipeline.strip()
    while position < len(text):
        if text[position] in "| \t\n":
            if text[position] == "|":
                stages.append([])
            position += 1
            continue
        match = _WORD.match(text, position)
        if match is None:
            raise TemplateError(f"unexpected {text[position:][:20]!r} in template")
        quoted, raw, plain = match.groups()
        stages[-1].append(quoted if quoted is not None else raw if raw is not None else plain)
        position = match.end()
    return stages


def _sorted(interfaces: Sequence[Interface]) -> list[Interface]:
    """IPv4 before IPv6, then by number: the same answer on every start."""

    def order(each: Interface) -> tuple[int, int]:
        address = ipaddress.ip_address(each.address)
        return (address.version, int(address))

    return sorted(interfaces, key=order)


def _within(address: str, network: str) -> bool:
    ip, net = ipaddress.ip_address(address), ipaddress.ip_network(network, strict=False)
    return ip.version == net.version and ip in net


def _usable(interfaces: list[Interface]) -> list[Interface]:
    """Up, not loopback, not link-local; those of the default route if any is known."""
    found = [
        i
        for i in interfaces
        if i.up and not i.loopback and not ipaddress.ip_address(i.address).is_link_local
    ]
    return _sorted([i for i in found if i.default] or found)


def _private(interfaces: list[Interface]) -> list[Interface]:
    return [i for i in _usable(interfaces) if is_private(i.address)]


def _public(interfaces: list[Interface]) -> list[Interface]:
    return [i for i in _usable(interfaces) if not is_private(i.address)]


def _named(interfaces: list[Interface], name: str) -> list[Interface]:
    return [i for i in interfaces if i.name == name]


def _matches(each: Interface, key: str, value: str) -> bool:
    try:
        if key == "name":
            return re.search(value, each.name) is not None
        if key == "address":
            return re.search(value, each.address) is not None
        if key == "network":
            return _within(each.address, value)
        if key == "rfc":
            return any(_within(each.address, net) for net in _RFC.get(value, ()))
        if key == "type":
            return value.lower() in {"ip", f"ipv{ipaddress.ip_address(each.address).version}"}
        if key == "size":
            return each.prefix_length == int(value.lstrip("/"))
    except (ValueError, re.error) as error:
        raise TemplateError(f"bad value for {key}: {error}") from None
    if key == "flag":
        return _has_flags(each, value)
    raise TemplateError(f"unknown filter key {key}")


def _has_flags(each: Interface, value: str) -> bool:
    link_local = ipaddress.ip_address(each.address).is_link_local
    known = {
        "up": each.up,
        "loopback": each.loopback,
        "forwardable": not each.loopback and not link_local,
        "global unicast": not each.loopback and not link_local,
        "link-local unicast": link_local,
    }
    flags = [flag.strip() for flag in value.split("|")]
    if any(flag not in known for flag in flags):
        raise TemplateError(f"unknown flag {value}")
    return all(known[flag] for flag in flags)


def _limit(interfaces: list[Interface], count: str) -> list[Interface]:
    if not count.isdecimal():
        raise TemplateError(f"limit needs a number, got {count}")
    return interfaces[: int(count)]


def _attribute(interfaces: list[Interface], name: str) -> str:
    return _attribute_of(interfaces[0], name) if interfaces else ""


def _attribute_of(each: Interface, name: str) -> str:
    known = {"address": each.address, "name": each.name, "size": str(each.prefix_length)}
    if name not in known:
        raise TemplateError(f"unknown attribute {name}")
    return known[name]


def _sort(interfaces: list[Interface], keys: str) -> list[Interface]:
    for key in reversed(keys.split(",")):
        name = key.strip().lstrip("+-")
        backwards = key.strip().startswith("-")
        if name == "name":
            interfaces = sorted(interfaces, key=lambda i: i.name, reverse=backwards)
        elif name == "size":
            interfaces = sorted(interfaces, key=lambda i: i.prefix_length, reverse=backwards)
        elif name in {"address", "default"}:
            interfaces = _sorted(interfaces)[:: -1 if backwards else 1]
        else:
            raise TemplateError(f"unknown sort key {name}")
    return interfaces


_SOURCES: dict[str, Callable[..., list[Interface] | str]] = {
    "GetAllInterfaces": _sorted,
    "GetDefaultInterfaces": lambda found: _sorted([i for i in found if i.default]),
    "GetPrivateInterfaces": _private,
    "GetPublicInterfaces": _public,
    "GetPrivateIP": lambda found: _attribute(_private(found), "address"),
    "GetPrivateIPs": lambda found: " ".join(i.address for i in _private(found)),
    "GetPublicIP": lambda found: _attribute(_public(found), "address"),
    "GetPublicIPs": lambda found: " ".join(i.address for i in _public(found)),
    "GetInterfaceIP": lambda found, name: _attribute(_sorted(_named(found, name)), "address"),
    "GetInterfaceIPs": lambda found, name: " ".join(
        i.address for i in _sorted(_named(found, name))
    ),
}
_FILTERS: dict[str, Callable[..., list[Interface] | str]] = {
    "include": lambda found, key, value: [i for i in found if _matches(i, key, value)],
    "exclude": lambda found, key, value: [i for i in found if not _matches(i, key, value)],
    "sort": lambda found, keys: _sort(found, keys),
    "limit": _limit,
    "offset": lambda found, count: found[len(_limit(found, count)) :],
    "attr": _attribute,
    "join": lambda found, name, glue: glue.join(_attribute_of(i, name) for i in found),
}
