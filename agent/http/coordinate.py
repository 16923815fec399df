"""`/v1/coordinate/`: where nodes are in the network (http-api contract 15), and `?near=`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from agent.acl.authorizer import WRITE
from agent.acl.caller import Need
from agent.backend import Ask
from agent.distance import CoordinateError, from_json, nearest_first, places, to_json
from agent.errors import RequestError
from agent.http.call import FAILED_READ, Call, done
from agent.http.context import ServerPool
from agent.http.decode import DecodeFailure, Shape, ignored, load, string
from agent.http.parse import decode_failed
from agent.http.reply import Reply
from agent.wan.members import bare_name
from raftstore.definition_queries import CoordinatesOf, ListCoordinates
from raftstore.definitions import Coordinate
from raftstore.records import Json, NodeName

T = TypeVar("T")

#: The name that stands for the agent that is asked.
AGENT = "_agent"
#: For more nodes than this all coordinates are asked for.
NODES_NAMED_MAX = 256

UPDATE = Shape(
    "CoordinateUpdateRequest",
    {
        "Datacenter": ("datacenter", string),
        "Node": ("node", string),
        "Segment": ("segment", string),
        "Partition": ("partition", ignored),
        "Coord": ("coord", lambda name, value: value),
    },
)


def _refuse_disabled(call: Call) -> None:
    if not call.context.config.coordinates_enabled:
        raise RequestError(401, "Coordinate support disabled")


def shown(coordinate: Coordinate) -> dict[str, Json]:
    """A node's coordinate as clients see it."""
    return {
        "Node": coordinate.node,
        "Segment": coordinate.segment,
        "Coord": coordinate.content,
    }


async def datacenters(call: Call) -> Reply:
    """The servers of every datacenter with their coordinates."""
    _refuse_disabled(call)
    wan = call.context.wan
    if wan is not None:
        return call.json([_measured(wan, each) for each in wan.datacenters()])
    members = call.context.gossip.members()
    names = tuple(NodeName(m.name) for m in members if m.tags.get("role") == "consul")
    found = await call.context.backend.ask(CoordinatesOf(names)) if names else None
    servers = [shown(each) for each in (found.value if found else ()) if not each.segment]
    datacenter = call.context.config.datacenter
    return call.json([{"Datacenter": datacenter, "AreaID": "wan", "Coordinates": servers}])


def _measured(wan: ServerPool, datacenter: str) -> Json:
    """The servers of one datacenter that were measured, under their names there."""
    places = {
        each.name: place
        for each in wan.servers().get(datacenter, ())
        if (place := wan.coordinate(each.name)) is not None
    }
    servers: list[Json] = [
        {"Node": bare_name(name, datacenter), "Segment": "", "Coord": to_json(place)}
        for name, place in places.items()
    ]
    return {"Datacenter": datacenter, "AreaID": "wan", "Coordinates": servers}


async def nodes(call: Call) -> Reply:
    """All nodes that have a coordinate, by name."""
    return await _listed(call, ListCoordinates(), missing=200)


async def node(call: Call) -> Reply:
    """One node, in each of its segments."""
    if not call.rest:
        _refuse_disabled(call)
        raise RequestError(400, "Missing node name")
    return await _listed(call, ListCoordinates(NodeName(call.rest)), missing=404)


async def _listed(call: Call, query: ListCoordinates, *, missing: int) -> Reply:
    _refuse_disabled(call)
    options = call.options()
    call.failure_headers = FAILED_READ
    found = await call.ask(query, options)
    segment = call.params.get("segment") if "segment" in call.params else None
    chosen = sorted(
        (each for each in found.value if segment is None or each.segment == segment),
        key=lambda each: (each.node.lower(), each.segment),
    )
    headers = call.read_headers(found, effective=False)
    if not chosen and missing != 200:
        return Reply(b"", "", missing, headers)
    return call.listing(chosen, shown, headers=headers)


async def update(call: Call) -> Reply:
    """Note a node's coordinate; it is written with the leader's next batch."""
    _refuse_disabled(call)
    try:
        given = UPDATE.read("", load(call.body))
    except DecodeFailure as error:
        raise decode_failed(error) from None
    wanted = given.get("datacenter", "")
    if wanted and wanted.lower() != call.context.config.datacenter.lower():
        raise RequestError(500, "No path to datacenter")
    call.check_datacenter()
    try:
        content = to_json(from_json(given.get("coord")))
    except CoordinateError as error:
        raise RequestError(500, str(error)) from None
    call.require(Need("node", WRITE, given.get("node", "")))
    coordinate = Coordinate(
        node=NodeName(given.get("node", "")), segment=given.get("segment", ""), content=content
    )
    await call.context.coordinates.update(coordinate)
    return done()


async def sorted_near(
    call: Call, options: Ask, items: Sequence[T], node_of: Callable[[T], str]
) -> Sequence[T]:
    """The items by the distance of their nodes from `?near=`; as they were without it.

    Coordinates are read as of now, or as of the moment that is asked about; a change of theirs
    wakes nobody.
    """
    origin = call.params.get("near")
    if not origin or len(items) < 2 or not call.context.config.coordinates_enabled:
        return items
    if origin == AGENT:
        origin = call.context.config.node_name
    names = sorted({node_of(item).lower() for item in items} | {origin.lower()})
    query = (
        CoordinatesOf(tuple(map(NodeName, names)))
        if len(names) <= NODES_NAMED_MAX
        else ListCoordinates()
    )
    ask = Ask(consistency=options.consistency, max_stale_s=options.max_stale_s, at=options.at)
    found = await call.context.backend.ask(query, ask)
    return nearest_first(items, node_of, origin, places(found.value))
