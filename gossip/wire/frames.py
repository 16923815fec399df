"""The envelopes of a packet: label, encryption, CRC, compression, compound, in this order.

Gossip wire contract, sections 1.3 to 1.8. Receives bytes and gives the bare messages, or the other
way; what the messages mean is gossip.wire.messages. Streams have their own order and reader in
gossip.wire.streams.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from gossip.config import GossipConfig
from gossip.errors import DecodeError
from gossip.keyring import BLOCK_BYTES, OVERHEAD_BYTES, Keyring
from gossip.wire import fields, lzw
from gossip.wire.fields import pack
from gossip.wire.messages import MessageType

COMPOUND_PARTS_MAX = 255  # the count is one byte
COMPOUND_OVERHEAD_BYTES = 2  # type and count
COMPOUND_PART_BYTES = 2  # a length in front of each message
CRC_HEADER_BYTES = 5
LZW_ALGORITHM = 0


class Framing:
    """How this member wraps and unwraps bytes; shared by packets and streams."""

    __slots__ = ("_config", "_label", "keyring", "label")

    def __init__(self, config: GossipConfig, keyring: Keyring) -> None:
        self._config = config
        self.keyring = keyring
        self.label = config.label.encode()
        self._label = (
            bytes((MessageType.HAS_LABEL, len(self.label))) + self.label if self.label else b""
        )

    @property
    def config(self) -> GossipConfig:
        return self._config

    @property
    def label_header(self) -> bytes:
        return self._label

    @property
    def seals(self) -> bool:
        """Whether what we send is encrypted, and so wants a fresh nonce."""
        return bool(self.keyring) and self._config.encrypt_verify_outgoing

    @property
    def packet_budget_bytes(self) -> int:
        """Bytes for messages in a gossip packet, compound header and encryption taken off."""
        budget = self._config.packet_budget_bytes - COMPOUND_OVERHEAD_BYTES - len(self._label)
        if not self.seals:
            return budget
        padding = BLOCK_BYTES if self._config.encryption_version == 0 else 0
        return budget - OVERHEAD_BYTES - padding

    def encode_packet(self, messages: Sequence[bytes], *, crc: bool, nonce: bytes) -> bytes:
        """One datagram. ``nonce`` is 12 fresh random bytes when ``seals``, else ignored."""
        assert messages
        body = messages[0] if len(messages) == 1 else make_compound(messages)
        if self._config.compression and len(body) >= self._config.compression_min_bytes:
            compressed = compress(body)
            if len(compressed) < len(body):
                body = compressed
        if crc:
            body = add_crc(body)
        if self.seals:
            version = self._config.encryption_version
            body = self.keyring.seal(body, nonce=nonce, associated=self.label, version=version)
        return self._label + body

    def decode_packet(self, data: bytes) -> list[bytes]:
        """The bare messages of one datagram. Raises DecodeError when all of it must be dropped."""
        if not data:
            raise DecodeError("empty packet")
        data = self.strip_label(data)
        if self.keyring:
            try:
                data = self.keyring.open(data, associated=self.label)
            except DecodeError:
                if self._config.encrypt_verify_incoming:
                    raise
        if len(data) >= CRC_HEADER_BYTES and data[0] == MessageType.HAS_CRC:
            data = strip_crc(data)
        messages: list[bytes] = []
        self._unwrap(data, messages, 0)
        return messages

    def strip_label(self, data: bytes) -> bytes:
        """Check the label and take it off; none must be there when we have none."""
        if data[:1] != b"\xf4":
            if self.label:
                raise DecodeError("label missing", reason="label")
            return data
        if not self.label or not data.startswith(self._label):
            raise DecodeError("foreign label", reason="label")
        return data[len(self._label) :]

    def _unwrap(self, data: bytes, messages: list[bytes], depth: int) -> None:
        if depth > self._config.nesting_max:
            raise DecodeError("nested too deep", reason="too_deep")
        kind = data[0] if data else -1
        if kind == MessageType.COMPOUND:
            for part in split_compound(data):
                self._unwrap(part, messages, depth + 1)
        elif kind == MessageType.COMPRESS:
            size = self._config.packet_decompressed_bytes_max
            self._unwrap(decompress(data, output_bytes_max=size), messages, depth + 1)
        elif data:
            if len(messages) >= self._config.packet_parts_max:
                raise DecodeError("too many messages in a packet", reason="too_large")
            messages.append(data)


def make_compound(messages: Sequence[bytes]) -> bytes:
    """Several messages as one. A count above 255 would wrap: our own defect."""
    assert len(messages) <= COMPOUND_PARTS_MAX
    lengths = b"".join(len(message).to_bytes(2, "big") for message in messages)
    return b"\x07" + bytes((len(messages),)) + lengths + b"".join(messages)


def split_compound(data: bytes) -> list[bytes]:
    """The messages of a compound; when the end is cut off, the complete leading ones."""
    if len(data) < 2:
        raise DecodeError("compound without a count", reason="compound")
    count = data[1]
    start = 2 + 2 * count
    if len(data) < start:
        raise DecodeError("compound with a cut length table", reason="compound")
    parts: list[bytes] = []
    for index in range(count):
        end = start + int.from_bytes(data[2 + 2 * index : 4 + 2 * index], "big")
        if end > len(data):
            break
        parts.append(data[start:end])
        start = end
    return parts


def compress(body: bytes) -> bytes:
    """The compressed form of a message, with its own header."""
    return b"\x09" + pack({"Algo": LZW_ALGORITHM, "Buf": lzw.compress(body)})


def decompress(data: bytes, *, output_bytes_max: int) -> bytes:
    """The message inside a compressed one. Raises DecodeError, also for an empty result."""
    return decompress_body(fields.unpack_map(data[1:]), output_bytes_max=output_bytes_max)


def decompress_body(body: fields.Body, *, output_bytes_max: int) -> bytes:
    if fields.uint(body, b"Algo", 8) != LZW_ALGORITHM:
        raise DecodeError("unknown compression", reason="compress")
    packed = fields.raw(body, b"Buf") or b""
    plain = lzw.decompress(packed, output_bytes_max=output_bytes_max)
    if not plain:
        raise DecodeError("empty compressed message", reason="compress")
    return plain


def add_crc(body: bytes) -> bytes:
    return b"\x0c" + zlib.crc32(body).to_bytes(4, "big") + body


def strip_crc(data: bytes) -> bytes:
    """Check the CRC-32 of everything after the header. Raises DecodeError (reason ``crc``)."""
    body = data[CRC_HEADER_BYTES:]
    if zlib.crc32(body) != int.from_bytes(data[1:CRC_HEADER_BYTES], "big"):
        raise DecodeError("wrong CRC", reason="crc")
    return body


def encode_stream(framing: Framing, body: bytes, *, nonce: bytes) -> bytes:
    """One direction of a TCP exchange: compression, encryption, label."""
    config = framing.config
    if config.compression and len(body) >= config.compression_min_bytes:
        body = compress(body)
    if framing.seals:
        version = config.encryption_version
        padding = BLOCK_BYTES - len(body) % BLOCK_BYTES if version == 0 else 0
        header = b"\x0a" + (len(body) + padding + OVERHEAD_BYTES).to_bytes(4, "big")
        associated = header + framing.label
        body = header + framing.keyring.seal(
            body, nonce=nonce, associated=associated, version=version
        )
    return framing.label_header + body
