"""What an instance counts as when operators ask how many services there are."""

from __future__ import annotations

from collections.abc import Iterator

from raftstore.records import Service

#: What an instance counts as: ("kind", its kind), and what else it is.
Counted = tuple[str, str]
NATIVE, SERVERS = ("native", ""), ("consul", "")
#: The name under which servers register themselves.
SERVERS_NAME = "consul"


def counted_as(service: Service) -> Iterator[Counted]:
    """What one instance adds to the counts."""
    yield "kind", service.kind
    if service.connect_native:
        yield NATIVE
    if service.name == SERVERS_NAME:
        yield SERVERS
