"""`Ports` and `Locality` of services and nodes (http-api contract 21)."""

from __future__ import annotations

from agent.http.decode import Shape, boolean, integer, reads, string
from raftstore.places import Locality, ServicePort
from raftstore.records import Json

_PORT = Shape(
    "ServicePort",
    {"Name": ("name", string), "Port": ("port", integer), "Default": ("default", boolean)},
    snake=True,
)
_LOCALITY = Shape("Locality", {"Region": ("region", string), "Zone": ("zone", string)}, snake=True)


@reads(lambda: _PORT)
def service_port(name: str, value: Json) -> ServicePort:
    """One named port."""
    found = _PORT.read(name, value)
    return ServicePort(found.get("name", ""), found.get("port", 0), found.get("default", False))


@reads(lambda: _LOCALITY)
def locality(name: str, value: Json) -> Locality | None:
    """Where something runs; None for nowhere."""
    found = Locality(**_LOCALITY.read(name, value))
    return found if found != Locality() else None
