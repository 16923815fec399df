"""Where services are, beyond one address and one port."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Locality:
    """Where something runs, in the words of whoever runs the machines."""

    region: str = ""
    zone: str = ""


@dataclass(frozen=True, slots=True)
class ServicePort:
    """One of several ports of a service; the default one is also its ``port``."""

    name: str
    port: int
    default: bool = False
