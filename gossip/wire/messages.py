"""The memberlist messages as values, and each to and from its bytes.

Gossip wire contract, section 2. WARNING: the numbers of ``MessageType`` are part of the protocol;
only append. Envelopes (compound, compress, CRC, encryption, label) are in gossip.wire.frames, the
reading of whole streams is in gossip.wire.streams.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gossip.errors import DecodeError
from gossip.wire import fields
from gossip.wire.fields import Body, pack


class MessageType(enum.IntEnum):
    """The first byte of every message."""

    PING = 0
    INDIRECT_PING = 1
    ACK = 2
    SUSPECT = 3
    ALIVE = 4
    DEAD = 5
    PUSH_PULL = 6
    COMPOUND = 7
    USER = 8
    COMPRESS = 9
    ENCRYPT = 10
    NACK = 11
    HAS_CRC = 12
    ERR = 13
    HAS_LABEL = 244


class State(enum.IntEnum):
    """A member's state in a push/pull; in gossip "left" is a dead message from its subject."""

    ALIVE = 0
    SUSPECT = 1
    DEAD = 2
    LEFT = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    """Are you there? An empty ``node`` asks whoever listens at the address."""

    seq_no: int
    node: str
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IndirectPing:
    """Ask a helper to ping ``node`` at ``target:port`` on our behalf."""

    seq_no: int
    node: str
    target: bytes
    port: int
    nack: bool
    source_address: bytes = b""
    source_port: int = 0
    source_node: str = ""


@dataclass(frozen=True, slots=True)
class Ack:
    """Answer to a ping; the payload of a direct one is Serf's coordinate."""

    seq_no: int
    payload: bytes | None = None


@dataclass(frozen=True, slots=True)
class Nack:
    """A helper is alive but got no answer from the target."""

    seq_no: int


@dataclass(frozen=True, slots=True)
class Suspect:
    """``accuser`` got no answer from ``node``."""

    incarnation: int
    node: str
    accuser: str


@dataclass(frozen=True, slots=True)
class Dead:
    """``accuser`` declares ``node`` dead; when both are one, the node has left."""

    incarnation: int
    node: str
    accuser: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alive:
    """``node`` lives at ``address:port`` with these tags (``meta``) and versions."""

    incarnation: int
    node: str
    address: bytes
    port: int
    meta: bytes | None
    versions: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeState:
    """One record of a push/pull."""

    incarnation: int
    name: str
    address: bytes
    port: int
    meta: bytes | None
    versions: bytes | None
    state: State


@dataclass(frozen=True, slots=True)
class PushPull:
    """A member's whole table; ``user_state`` is Serf's part."""

    join: bool
    nodes: tuple[NodeState, ...]
    user_state: bytes


@dataclass(frozen=True, slots=True)
class User:
    """Opaque to memberlist: a Serf message."""

    payload: bytes


@dataclass(frozen=True, slots=True)
class Err:
    """On a stream, instead of an answer."""

    error: str


Message = Ping | IndirectPing | Ack | Nack | Suspect | Dead | Alive | User
StreamMessage = Ping | Ack | PushPull | User | Err


def encode(message: Message | Err) -> bytes:
    """The message with its type byte, as it travels in a packet."""
    match message:
        case Ping():
            return b"\x00" + pack(_ping_body(message))
        case Ack(seq_no, payload):
            return b"\x02" + pack({"Payload": payload, "SeqNo": seq_no})
        case User(payload):
            return b"\x08" + payload
        case Alive():
            return b"\x04" + pack(
                {
                    "Addr": message.address,
                    "Incarnation": message.incarnation,
                    "Meta": message.meta,
                    "Node": message.node,
                    "Port": message.port,
                    "Vsn": message.versions,
                }
            )
        case Suspect(incarnation, node, accuser):
            return b"\x03" + _accusation(incarnation, node, accuser)
        case Dead(incarnation, node, accuser):
            return b"\x05" + _accusation(incarnation, node, accuser)
        case IndirectPing():
            return b"\x01" + pack(_indirect_body(message))
        case Nack(seq_no):
            return b"\x0b" + pack({"SeqNo": seq_no})
        case Err(error):
            return b"\x0d" + pack({"Error": error})


def _accusation(incarnation: int, node: str, accuser: str) -> bytes:
    return pack({"From": accuser, "Incarnation": incarnation, "Node": node})


def _ping_body(ping: Ping) -> dict[str, Any]:
    body: dict[str, Any] = {"Node": ping.node, "SeqNo": ping.seq_no}
    _add_source(body, ping)
    return body


def _indirect_body(ping: IndirectPing) -> dict[str, Any]:
    body: dict[str, Any] = {
        "Nack": ping.nack,
        "Node": ping.node,
        "Port": ping.port,
        "SeqNo": ping.seq_no,
    }
    _add_source(body, ping)
    body["Target"] = ping.target
    return body


def _add_source(body: dict[str, Any], ping: Ping | IndirectPing) -> None:
    """The three fields that are left out when empty, in wire order."""
    if ping.source_address:
        body["SourceAddr"] = ping.source_address
    if ping.source_node:
        body["SourceNode"] = ping.source_node
    if ping.source_port:
        body["SourcePort"] = ping.source_port


def encode_push_pull(message: PushPull) -> bytes:
    """The stream form: header, node maps, user state, without separators."""
    return b"".join(push_pull_parts(message))


def push_pull_parts(message: PushPull) -> Iterator[bytes]:
    """The same piece by piece, a record each: ten thousand take 30 ms."""
    yield b"\x06" + pack(
        {
            "Join": message.join,
            "Nodes": len(message.nodes),
            "UserStateLen": len(message.user_state),
        }
    )
    for node in message.nodes:
        yield pack(
            {
                "Addr": node.address,
                "Incarnation": node.incarnation,
                "Meta": node.meta,
                "Name": node.name,
                "Port": node.port,
                "State": int(node.state),
                "Vsn": node.versions,
            }
        )
    yield message.user_state


def encode_user_stream(payload: bytes) -> bytes:
    """A user message as it travels on a stream: with its length."""
    return b"\x08" + pack({"UserMsgLen": len(payload)}) + payload


def decode(data: bytes) -> Message:
    """A message out of a packet, all envelopes removed.

    Raises DecodeError for an unknown type (reason ``unknown_type``) and for a bad body.
    """
    if not data:
        raise DecodeError("empty message")
    decoder = _DECODERS.get(data[0])
    if decoder is None:
        raise DecodeError(f"message type {data[0]}", reason="unknown_type")
    if data[0] == MessageType.USER:
        return User(data[1:])
    body = fields.as_struct(fields.unpack(data[1:]), _DECLARED[data[0]])
    message: Message = decoder(body)
    return message


def decode_ping(body: Body) -> Ping:
    return Ping(
        seq_no=fields.uint(body, b"SeqNo", 32),
        node=fields.text(body, b"Node"),
        source_address=fields.raw(body, b"SourceAddr") or b"",
        source_port=fields.uint(body, b"SourcePort", 16),
        source_node=fields.text(body, b"SourceNode"),
    )


def decode_ack(body: Body) -> Ack:
    return Ack(fields.uint(body, b"SeqNo", 32), fields.raw(body, b"Payload"))


def decode_err(body: Body) -> Err:
    return Err(fields.text(body, b"Error"))


def decode_node_state(body: Body) -> NodeState:
    """One record of a push/pull. Raises DecodeError for a bad field or state."""
    state = fields.sint(body, b"State")
    try:
        parsed = State(state)
    except ValueError as error:
        raise DecodeError(f"unknown node state {state}") from error
    return NodeState(
        incarnation=fields.uint(body, b"Incarnation", 32),
        name=fields.text(body, b"Name"),
        address=fields.raw(body, b"Addr") or b"",
        port=fields.uint(body, b"Port", 16),
        meta=fields.raw(body, b"Meta"),
        versions=fields.raw(body, b"Vsn"),
        state=parsed,
    )


def _decode_indirect(body: Body) -> IndirectPing:
    return IndirectPing(
        seq_no=fields.uint(body, b"SeqNo", 32),
        node=fields.text(body, b"Node"),
        target=fields.raw(body, b"Target") or b"",
        port=fields.uint(body, b"Port", 16),
        nack=fields.boolean(body, b"Nack"),
        source_address=fields.raw(body, b"SourceAddr") or b"",
        source_port=fields.uint(body, b"SourcePort", 16),
        source_node=fields.text(body, b"SourceNode"),
    )


def _decode_alive(body: Body) -> Alive:
    return Alive(
        incarnation=fields.uint(body, b"Incarnation", 32),
        node=fields.text(body, b"Node"),
        address=fields.raw(body, b"Addr") or b"",
        port=fields.uint(body, b"Port", 16),
        meta=fields.raw(body, b"Meta"),
        versions=fields.raw(body, b"Vsn"),
    )


def _decode_suspect(body: Body) -> Suspect:
    return Suspect(
        fields.uint(body, b"Incarnation", 32),
        fields.text(body, b"Node"),
        fields.text(body, b"From"),
    )


def _decode_dead(body: Body) -> Dead:
    return Dead(
        fields.uint(body, b"Incarnation", 32),
        fields.text(body, b"Node"),
        fields.text(body, b"From"),
    )


def _decode_nack(body: Body) -> Nack:
    return Nack(fields.uint(body, b"SeqNo", 32))


def _decode_nothing(body: Body) -> Message:
    raise AssertionError("user messages have no body")


_DECODERS: dict[int, Any] = {
    MessageType.PING: decode_ping,
    MessageType.INDIRECT_PING: _decode_indirect,
    MessageType.ACK: decode_ack,
    MessageType.SUSPECT: _decode_suspect,
    MessageType.ALIVE: _decode_alive,
    MessageType.DEAD: _decode_dead,
    MessageType.USER: _decode_nothing,
    MessageType.NACK: _decode_nack,
}

# The order in which memberlist declares the fields, for bodies that come as arrays.
_SOURCE = (b"SourceAddr", b"SourcePort", b"SourceNode")
_DECLARED: dict[int, tuple[bytes, ...]] = {
    MessageType.PING: (b"SeqNo", b"Node", *_SOURCE),
    MessageType.INDIRECT_PING: (b"SeqNo", b"Target", b"Port", b"Node", b"Nack", *_SOURCE),
    MessageType.ACK: (b"SeqNo", b"Payload"),
    MessageType.NACK: (b"SeqNo",),
    MessageType.SUSPECT: (b"Incarnation", b"Node", b"From"),
    MessageType.ALIVE: (b"Incarnation", b"Node", b"Addr", b"Port", b"Meta", b"Vsn"),
    MessageType.DEAD: (b"Incarnation", b"Node", b"From"),
}
