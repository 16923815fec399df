"""Services with several ports, each with a name: what is allowed, and which one is the default.

The default port is the service's `Port` as well, so that who knows of one port only finds it.
"""

from __future__ import annotations

import re
from dataclasses import replace

from raftstore.places import ServicePort

PORTS_MAX = 64
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")


def problem(port: int, ports: tuple[ServicePort, ...]) -> str:
    """Why these ports cannot be, "" if they can. ``port`` is that of the service itself."""
    if len(ports) > PORTS_MAX:
        return f"there are more than {PORTS_MAX}"
    names = [each.name for each in ports]
    for each in ports:
        if not _NAME.fullmatch(each.name):
            return f'"{each.name}" is no name of a port'
        if not 1 <= each.port <= 65535:
            return f'port "{each.name}" must be between 1 and 65535'
    if len(set(names)) != len(names):
        return "two have the same name"
    if len({each.port for each in ports}) != len(ports):
        return "two have the same number"
    defaults = [each.port for each in ports if each.default]
    if len(defaults) > 1:
        return "more than one is the default"
    if defaults and port not in {0, defaults[0]}:
        return "Port is another one than the default"
    return ""


def completed(port: int, ports: tuple[ServicePort, ...]) -> tuple[int, tuple[ServicePort, ...]]:
    """The service's port and its ports, with a default: the one of ``port``, else the first."""
    if not ports:
        return port, ports
    chosen = next((each for each in ports if each.default), None)
    if chosen is None:
        chosen = next((each for each in ports if each.port == port), ports[0])
        ports = tuple(replace(each, default=each is chosen) for each in ports)
    return port or chosen.port, ports
