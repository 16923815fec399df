"""Reading one message from a stream, piece by piece: label, encryption, compression, body.

Gossip wire contract, sections 1.3, 1.7 and 2.7. A plain push/pull has no outer length, so its end
is only known by parsing; the reader says when it is complete. Owns no socket: bytes come in with
``feed``.
"""

from __future__ import annotations

from typing import Any

import msgpack

from gossip.errors import DecodeError
from gossip.wire import fields
from gossip.wire.fields import UNPACK_ERRORS
from gossip.wire.frames import Framing, decompress_body
from gossip.wire.messages import (
    MessageType,
    NodeState,
    PushPull,
    StreamMessage,
    User,
    decode_ack,
    decode_err,
    decode_node_state,
    decode_ping,
)

ENCRYPT_HEADER_BYTES = 5
LABEL_HEADER_BYTES = 2


class StreamReader:
    """Takes bytes until one whole message is there."""

    __slots__ = ("_body", "_buffer", "_framing", "_labelled", "encrypted", "skipped_nodes")

    def __init__(self, framing: Framing) -> None:
        self._framing = framing
        self._buffer = bytearray()
        self._labelled = False
        self._body: _BodyReader | None = None
        self.encrypted = False
        self.skipped_nodes = 0

    def feed(self, data: bytes) -> StreamMessage | None:
        """The message once it is complete. Raises DecodeError; then the stream is of no use."""
        if self._body is not None:
            return self._finish(self._body.feed(data))
        self._buffer += data
        if len(self._buffer) > self._framing.config.stream_bytes_max + 1024:
            raise DecodeError("stream exceeds the limit", reason="too_large")
        if not self._labelled and not self._strip_label():
            return None
        if not self._buffer:
            return None
        if self._buffer[0] == MessageType.ENCRYPT:
            plain = self._open()
            if plain is None:
                return None
            self.encrypted = True
            return self._whole(plain)
        if self._framing.keyring and self._framing.config.encrypt_verify_incoming:
            raise DecodeError(
                "Encryption is configured but remote state is not encrypted",
                reason="not_encrypted",
            )
        self._body = _BodyReader(self._framing, inner=False)
        pending, self._buffer = bytes(self._buffer), bytearray()
        return self._finish(self._body.feed(pending))

    def _strip_label(self) -> bool:
        """True once the label question is settled."""
        header = bytes(self._buffer[:LABEL_HEADER_BYTES])
        if header[:1] == b"\xf4":
            if len(header) < LABEL_HEADER_BYTES:
                return False
            if len(self._buffer) < LABEL_HEADER_BYTES + header[1]:
                return False
        elif not header:
            return False
        self._buffer = bytearray(self._framing.strip_label(bytes(self._buffer)))
        self._labelled = True
        return True

    def _open(self) -> bytes | None:
        if not self._framing.keyring:
            raise DecodeError(
                "Remote state is encrypted and encryption is not configured", reason="encrypted"
            )
        if len(self._buffer) < ENCRYPT_HEADER_BYTES:
            return None
        header = bytes(self._buffer[:ENCRYPT_HEADER_BYTES])
        length = int.from_bytes(header[1:], "big")
        if length > self._framing.config.stream_bytes_max:
            raise DecodeError("encrypted frame exceeds the limit", reason="too_large")
        if len(self._buffer) < ENCRYPT_HEADER_BYTES + length:
            return None
        payload = bytes(self._buffer[ENCRYPT_HEADER_BYTES : ENCRYPT_HEADER_BYTES + length])
        return self._framing.keyring.open(payload, associated=header + self._framing.label)

    def _whole(self, plain: bytes) -> StreamMessage:
        body = _BodyReader(self._framing, inner=False)
        message = body.feed(plain)
        if message is None:
            raise DecodeError("encrypted message is cut off")
        self.skipped_nodes = body.skipped_nodes
        return message

    def _finish(self, message: StreamMessage | None) -> StreamMessage | None:
        if message is not None and self._body is not None:
            self.skipped_nodes = self._body.skipped_nodes
        return message


class _BodyReader:
    """One plain message: a type byte, then what that type promises."""

    __slots__ = (
        "_framing",
        "_header",
        "_inner",
        "_nodes",
        "_size",
        "_type",
        "_unpacker",
        "skipped_nodes",
    )

    def __init__(self, framing: Framing, *, inner: bool) -> None:
        self._framing = framing
        self._inner = inner
        self._type = -1
        self._size = 0
        self._header: fields.Body | None = None
        self._nodes: list[NodeState] = []
        self.skipped_nodes = 0
        config = framing.config
        limit = config.stream_decompressed_bytes_max if inner else config.stream_bytes_max
        self._unpacker = msgpack.Unpacker(
            raw=True, strict_map_key=False, max_buffer_size=limit + 65_536
        )

    def feed(self, data: bytes) -> StreamMessage | None:
        if not data:
            return None
        if self._type < 0:
            self._type = data[0]
            data = data[1:]
        self._size += len(data)
        try:
            self._unpacker.feed(data)
        except UNPACK_ERRORS as error:
            raise DecodeError("stream exceeds the limit", reason="too_large") from error
        return self._advance()

    def _advance(self) -> StreamMessage | None:
        if self._type == MessageType.PUSH_PULL:
            return self._push_pull()
        if self._type == MessageType.USER:
            return self._user()
        if self._type not in _SINGLE and self._type != MessageType.COMPRESS:
            raise DecodeError(f"stream message type {self._type}", reason="unknown_type")
        body = self._next_map()
        if body is None:
            return None
        if self._type != MessageType.COMPRESS:
            message: StreamMessage = _SINGLE[self._type](body)
            return message
        if self._inner:
            raise DecodeError("compressed twice", reason="too_deep")
        limit = self._framing.config.stream_decompressed_bytes_max
        inner = _BodyReader(self._framing, inner=True)
        whole = inner.feed(decompress_body(body, output_bytes_max=limit))
        if whole is None:
            raise DecodeError("compressed message is cut off")
        self.skipped_nodes = inner.skipped_nodes
        return whole

    def _next_map(self) -> fields.Body | None:
        """The next map of the stream, None while it is not complete."""
        try:
            return fields.as_map(self._unpacker.unpack())
        except msgpack.OutOfData:
            return None
        except UNPACK_ERRORS as error:
            raise DecodeError(f"not msgpack: {type(error).__name__}") from error

    def _rest(self, length: int) -> bytes | None:
        """The ``length`` bytes after the last map, None while they are not all there."""
        if length > self._framing.config.stream_bytes_max:
            raise DecodeError("length exceeds the limit", reason="too_large")
        if self._size - self._unpacker.tell() < length:
            return None
        return bytes(self._unpacker.read_bytes(length))

    def _push_pull(self) -> PushPull | None:
        if self._header is None:
            self._header = self._next_map()
            if self._header is None:
                return None
        count = fields.uint(self._header, b"Nodes", 32)
        if count > self._framing.config.stream_nodes_max:
            raise DecodeError("too many nodes", reason="too_large")
        while len(self._nodes) + self.skipped_nodes < count:
            body = self._next_map()
            if body is None:
                return None
            try:
                self._nodes.append(decode_node_state(body))
            except DecodeError:
                # One odd record must not hide all others from us.
                self.skipped_nodes += 1
        state = self._rest(fields.uint(self._header, b"UserStateLen", 32))
        if state is None:
            return None
        return PushPull(fields.boolean(self._header, b"Join"), tuple(self._nodes), state)

    def _user(self) -> User | None:
        if self._header is None:
            self._header = self._next_map()
            if self._header is None:
                return None
        payload = self._rest(fields.uint(self._header, b"UserMsgLen", 32))
        return None if payload is None else User(payload)


_SINGLE: dict[int, Any] = {
    MessageType.PING: decode_ping,
    MessageType.ACK: decode_ack,
    MessageType.ERR: decode_err,
}
