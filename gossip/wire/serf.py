"""The Serf messages as values, and each to and from its bytes (type byte, then a map).

Gossip wire contract, section 5. They are the opaque part of memberlist's user messages. WARNING:
the numbers of ``SerfType`` are part of the protocol; only append.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gossip.errors import DecodeError
from gossip.wire import fields
from gossip.wire.fields import Body, pack

QUERY_FLAG_ACK = 1
QUERY_FLAG_NO_BROADCAST = 2
RESPONSE_FLAG_ACK = 1
FILTER_NODE = 0
FILTER_TAG = 1
TAGS_MAGIC = 0xFF


class SerfType(enum.IntEnum):
    """The first byte of a Serf message."""

    LEAVE = 0
    JOIN = 1
    PUSH_PULL = 2
    USER_EVENT = 3
    QUERY = 4
    QUERY_RESPONSE = 5
    CONFLICT_RESPONSE = 6
    KEY_REQUEST = 7
    KEY_RESPONSE = 8
    RELAY = 9


@dataclass(frozen=True, slots=True)
class LeaveIntent:
    """``node`` means to leave; with ``prune`` it is forgotten at once."""

    ltime: int
    node: str
    prune: bool = False


@dataclass(frozen=True, slots=True)
class JoinIntent:
    """``node`` joined, or takes back a leave."""

    ltime: int
    node: str


@dataclass(frozen=True, slots=True)
class EventSlot:
    """All user events of one Lamport time: (name, payload) pairs."""

    ltime: int
    events: tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SerfState:
    """Serf's part of a push/pull. None among ``events`` is an empty slot of the sender's ring."""

    ltime: int
    status_ltimes: Mapping[str, int]
    left_members: tuple[str, ...] | None
    event_ltime: int
    events: tuple[EventSlot | None, ...] | None
    query_ltime: int


@dataclass(frozen=True, slots=True)
class UserEvent:
    """A named event for every member."""

    ltime: int
    name: str
    payload: bytes | None
    coalesce: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A question to every member (or those the filters name); answers go straight to the asker."""

    ltime: int
    id: int
    address: bytes
    port: int
    source_node: str
    filters: tuple[bytes, ...] | None
    flags: int
    relay_factor: int
    timeout_ns: int
    name: str
    payload: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueryResponse:
    """An answer, or with flag 1 only the acknowledgement that the query arrived."""

    ltime: int
    id: int
    sender: str
    flags: int
    payload: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConflictMember:
    """What the answering member knows under the disputed name."""

    name: str
    address: bytes
    port: int
    tags: Mapping[str, str]
    status: int
    protocol_min: int
    protocol_max: int
    protocol_current: int
    delegate_min: int
    delegate_max: int
    delegate_current: int


@dataclass(frozen=True, slots=True)
class ConflictResponse:
    """Answer to `_serf_conflict`; None when the name is unknown."""

    member: ConflictMember | None


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """Payload of the key queries: the raw key, empty for a list."""

    key: bytes


@dataclass(frozen=True, slots=True)
class KeyResponse:
    """Outcome of a key query; keys are base64."""

    result: bool
    message: str = ""
    keys: tuple[str, ...] | None = None
    primary_key: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Relay:
    """Please pass ``inner`` on to the address."""

    address: bytes
    port: int
    name: str
    inner: bytes
    zone: str = ""


SerfMessage = (
    LeaveIntent
    | JoinIntent
    | SerfState
    | UserEvent
    | Query
    | QueryResponse
    | ConflictResponse
    | KeyRequest
    | KeyResponse
    | Relay
)


def encode(message: SerfMessage) -> bytes:
    """The message with its type byte; keys in byte order."""
    match message:
        case LeaveIntent(ltime, node, prune):
            return b"\x00" + pack({"LTime": ltime, "Node": node, "Prune": prune})
        case JoinIntent(ltime, node):
            return b"\x01" + pack({"LTime": ltime, "Node": node})
        case SerfState():
            return b"\x02" + pack(_state_body(message))
        case UserEvent(ltime, name, payload, coalesce):
            return b"\x03" + pack(
                {"CC": coalesce, "LTime": ltime, "Name": name, "Payload": payload}
            )
        case Query():
            return b"\x04" + pack(_query_body(message))
        case QueryResponse():
            return b"\x05" + pack(
                {
                    "Flags": message.flags,
                    "From": message.sender,
                    "ID": message.id,
                    "LTime": message.ltime,
                    "Payload": message.payload,
                }
            )
        case ConflictResponse(member):
            return b"\x06" + pack(None if member is None else _member_body(member))
        case KeyRequest(key):
            return b"\x07" + pack({"Key": key})
        case KeyResponse(result, text, keys, primary):
            return b"\x08" + pack(
                {"Keys": keys, "Message": text, "PrimaryKey": primary, "Result": result}
            )
        case Relay():
            destination = {"IP": message.address, "Port": message.port, "Zone": message.zone}
            header = pack({"DestAddr": destination, "DestName": message.name})
            return b"\x09" + header + message.inner


def _state_body(state: SerfState) -> dict[str, Any]:
    events = state.events
    return {
        "EventLTime": state.event_ltime,
        "Events": None if events is None else [_slot_body(slot) for slot in events],
        "LTime": state.ltime,
        "LeftMembers": state.left_members,
        "QueryLTime": state.query_ltime,
        "StatusLTimes": dict(state.status_ltimes),
    }


def _slot_body(slot: EventSlot | None) -> dict[str, Any] | None:
    if slot is None:
        return None
    events = [{"Name": name, "Payload": payload} for name, payload in slot.events]
    return {"Events": events, "LTime": slot.ltime}


def _query_body(query: Query) -> dict[str, Any]:
    return {
        "Addr": query.address,
        "Filters": query.filters,
        "Flags": query.flags,
        "ID": query.id,
        "LTime": query.ltime,
        "Name": query.name,
        "Payload": query.payload,
        "Port": query.port,
        "RelayFactor": query.relay_factor,
        "SourceNode": query.source_node,
        "Timeout": query.timeout_ns,
    }


def _member_body(member: ConflictMember) -> dict[str, Any]:
    return {
        "Addr": member.address,
        "DelegateCur": member.delegate_current,
        "DelegateMax": member.delegate_max,
        "DelegateMin": member.delegate_min,
        "Name": member.name,
        "Port": member.port,
        "ProtocolCur": member.protocol_current,
        "ProtocolMax": member.protocol_max,
        "ProtocolMin": member.protocol_min,
        "Status": member.status,
        "Tags": dict(member.tags),
    }


def decode(data: bytes) -> SerfMessage:
    """A Serf message. Raises DecodeError."""
    if not data:
        raise DecodeError("empty serf message")
    decoder = _DECODERS.get(data[0])
    if decoder is None:
        raise DecodeError(f"serf message type {data[0]}", reason="unknown_type")
    message: SerfMessage = decoder(data[1:])
    return message


def _decode_leave(data: bytes) -> LeaveIntent:
    body = fields.unpack_map(data)
    return LeaveIntent(
        fields.uint(body, b"LTime", 64),
        fields.text(body, b"Node"),
        fields.boolean(body, b"Prune"),
    )


def _decode_join(data: bytes) -> JoinIntent:
    body = fields.unpack_map(data)
    return JoinIntent(fields.uint(body, b"LTime", 64), fields.text(body, b"Node"))


def _decode_state(data: bytes) -> SerfState:
    body = fields.unpack_map(data)
    left = fields.sequence(body, b"LeftMembers")
    events = fields.sequence(body, b"Events")
    return SerfState(
        ltime=fields.uint(body, b"LTime", 64),
        status_ltimes=_ltimes(fields.as_map(body.get(b"StatusLTimes") or {})),
        left_members=None
        if left is None
        else tuple(fields.as_text(name, b"LeftMembers") for name in left),
        event_ltime=fields.uint(body, b"EventLTime", 64),
        events=None if events is None else tuple(_decode_slot(slot) for slot in events),
        query_ltime=fields.uint(body, b"QueryLTime", 64),
    )


def _ltimes(body: Body) -> dict[str, int]:
    """One entry per member of the ring, so the usual case is decoded without a call for each."""
    times = body.values()
    if set(map(type, body)) <= {bytes} and set(map(type, times)) <= {int}:
        try:
            names = list(map(bytes.decode, body))
        except UnicodeDecodeError as error:
            raise DecodeError("StatusLTimes is not UTF-8") from error
        if not times or (min(times) >= 0 and not max(times) >> 64):
            return dict(zip(names, times, strict=True))
    return {fields.as_text(name, b"StatusLTimes"): fields.uint(body, name, 64) for name in body}


def _decode_slot(value: Any) -> EventSlot | None:
    if value is None:
        return None
    body = fields.as_map(value)
    events = (fields.as_map(event) for event in fields.sequence(body, b"Events") or ())
    return EventSlot(
        fields.uint(body, b"LTime", 64),
        tuple((fields.text(event, b"Name"), fields.raw(event, b"Payload")) for event in events),
    )


def _decode_event(data: bytes) -> UserEvent:
    body = fields.unpack_map(data)
    return UserEvent(
        fields.uint(body, b"LTime", 64),
        fields.text(body, b"Name"),
        fields.raw(body, b"Payload"),
        fields.boolean(body, b"CC"),
    )


def _decode_query(data: bytes) -> Query:
    body = fields.unpack_map(data)
    filters = fields.sequence(body, b"Filters")
    if filters is not None and not all(type(item) is bytes for item in filters):
        raise DecodeError("Filters is not a list of byte strings")
    return Query(
        ltime=fields.uint(body, b"LTime", 64),
        id=fields.uint(body, b"ID", 32),
        address=fields.raw(body, b"Addr") or b"",
        port=fields.uint(body, b"Port", 16),
        source_node=fields.text(body, b"SourceNode"),
        filters=None if filters is None else tuple(filters),
        flags=fields.uint(body, b"Flags", 32),
        relay_factor=fields.uint(body, b"RelayFactor", 8),
        timeout_ns=fields.sint(body, b"Timeout"),
        name=fields.text(body, b"Name"),
        payload=fields.raw(body, b"Payload"),
    )


def _decode_response(data: bytes) -> QueryResponse:
    body = fields.unpack_map(data)
    return QueryResponse(
        ltime=fields.uint(body, b"LTime", 64),
        id=fields.uint(body, b"ID", 32),
        sender=fields.text(body, b"From"),
        flags=fields.uint(body, b"Flags", 32),
        payload=fields.raw(body, b"Payload"),
    )


def _decode_conflict(data: bytes) -> ConflictResponse:
    value = fields.unpack(data)
    if value is None:
        return ConflictResponse(None)
    body = fields.as_map(value)
    tags = fields.as_map(body.get(b"Tags") or {})
    return ConflictResponse(
        ConflictMember(
            name=fields.text(body, b"Name"),
            address=fields.raw(body, b"Addr") or b"",
            port=fields.uint(body, b"Port", 16),
            tags={fields.as_text(key, b"Tags"): fields.text(tags, key) for key in tags},
            status=fields.sint(body, b"Status"),
            protocol_min=fields.uint(body, b"ProtocolMin", 8),
            protocol_max=fields.uint(body, b"ProtocolMax", 8),
            protocol_current=fields.uint(body, b"ProtocolCur", 8),
            delegate_min=fields.uint(body, b"DelegateMin", 8),
            delegate_max=fields.uint(body, b"DelegateMax", 8),
            delegate_current=fields.uint(body, b"DelegateCur", 8),
        )
    )


def _decode_key_request(data: bytes) -> KeyRequest:
    return KeyRequest(fields.raw(fields.unpack_map(data), b"Key") or b"")


def _decode_key_response(data: bytes) -> KeyResponse:
    body = fields.unpack_map(data)
    keys = fields.sequence(body, b"Keys")
    return KeyResponse(
        fields.boolean(body, b"Result"),
        fields.text(body, b"Message"),
        None if keys is None else tuple(fields.as_text(key, b"Keys") for key in keys),
        fields.text(body, b"PrimaryKey"),
    )


def _decode_relay(data: bytes) -> Relay:
    value, inner = fields.unpack_prefix(data)
    header = fields.as_map(value)
    destination = fields.as_map(header.get(b"DestAddr") or {})
    port = fields.sint(destination, b"Port")
    if not 0 <= port <= 65_535:
        raise DecodeError(f"relay port {port}")
    return Relay(
        address=fields.raw(destination, b"IP") or b"",
        port=port,
        name=fields.text(header, b"DestName"),
        inner=inner,
        zone=fields.text(destination, b"Zone"),
    )


_DECODERS: dict[int, Any] = {
    SerfType.LEAVE: _decode_leave,
    SerfType.JOIN: _decode_join,
    SerfType.PUSH_PULL: _decode_state,
    SerfType.USER_EVENT: _decode_event,
    SerfType.QUERY: _decode_query,
    SerfType.QUERY_RESPONSE: _decode_response,
    SerfType.CONFLICT_RESPONSE: _decode_conflict,
    SerfType.KEY_REQUEST: _decode_key_request,
    SerfType.KEY_RESPONSE: _decode_key_response,
    SerfType.RELAY: _decode_relay,
}


def encode_tags(tags: Mapping[str, str]) -> bytes:
    """Tags as a member's meta bytes, in a stable order: other bytes would look like a change."""
    return bytes((TAGS_MAGIC,)) + pack({key: tags[key] for key in sorted(tags)})


def decode_tags(meta: bytes) -> dict[str, str]:
    """Tags out of meta bytes; without the magic byte all of it is the tag `role` (Serf 2).

    Never fails: what cannot be read gives no tags, since a peer's odd tags must not hide the peer.
    """
    if not meta:
        return {}
    if meta[0] != TAGS_MAGIC:
        return {"role": meta.decode(errors="replace")}
    try:
        body = fields.unpack_map(meta[1:])
    except DecodeError:
        return {}
    return {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in body.items()
        if type(key) is bytes and type(value) is bytes
    }


def encode_node_filter(names: Sequence[str]) -> bytes:
    """A filter for members of these names."""
    return bytes((FILTER_NODE,)) + pack(list(names))


def encode_tag_filter(tag: str, expression: str) -> bytes:
    """A filter for members whose tag the regular expression is found in."""
    return bytes((FILTER_TAG,)) + pack({"Expr": expression, "Tag": tag})


def decode_filter(data: bytes) -> tuple[int, Any]:
    """(0, names) or (1, (tag, expression)). Raises DecodeError for anything else."""
    if not data:
        raise DecodeError("empty filter")
    if data[0] == FILTER_NODE:
        names = fields.unpack(data[1:])
        if type(names) is not list:
            raise DecodeError("node filter is not a list")
        return FILTER_NODE, tuple(fields.as_text(name, b"filter") for name in names)
    if data[0] == FILTER_TAG:
        body: Body = fields.unpack_map(data[1:])
        return FILTER_TAG, (fields.text(body, b"Tag"), fields.text(body, b"Expr"))
    raise DecodeError(f"filter type {data[0]}", reason="unknown_type")
