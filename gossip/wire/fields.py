"""The msgpack profile of the ring: structures are maps, strings and bytes are one raw family.

Gossip wire contract, section 2.1: the old msgpack (no str8, no bin) on the way out, every form on
the way in; missing and nil fields are zero values, unknown keys are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgpack

from gossip.errors import DecodeError

Body = Mapping[bytes, Any]

UNPACK_ERRORS = (
    msgpack.UnpackException,
    ValueError,
    TypeError,
    OverflowError,
    RecursionError,
)

_packer = msgpack.Packer(use_bin_type=False, autoreset=True)
pack: Callable[[Any], bytes] = _packer.pack


def unpack(data: bytes) -> Any:
    """One msgpack value; bytes after it are ignored, as all members do."""
    try:
        return msgpack.unpackb(data, raw=True, strict_map_key=False)
    except msgpack.ExtraData as error:
        return error.unpacked
    except UNPACK_ERRORS as error:
        raise DecodeError(f"not msgpack: {type(error).__name__}") from error


def unpack_prefix(data: bytes) -> tuple[Any, bytes]:
    """One msgpack value and the bytes after it."""
    unpacker = msgpack.Unpacker(raw=True, strict_map_key=False, max_buffer_size=max(1, len(data)))
    try:
        unpacker.feed(data)
        value = unpacker.unpack()
    except UNPACK_ERRORS as error:
        raise DecodeError(f"not msgpack: {type(error).__name__}") from error
    return value, data[unpacker.tell() :]


def unpack_map(data: bytes) -> Body:
    """One msgpack map."""
    return as_map(unpack(data))


def as_map(value: Any) -> Body:
    if type(value) is not dict:
        raise DecodeError(f"a map was expected, not {type(value).__name__}")
    return value


def as_struct(value: Any, order: tuple[bytes, ...]) -> Body:
    """A structure: a map, or its fields as an array in the order of their declaration.

    Nobody is known to send arrays, but every member of the ring reads them.
    """
    if type(value) is list:
        return dict(zip(order, value, strict=False))
    return as_map(value)


def uint(body: Body, key: bytes, bits: int) -> int:
    """An unsigned integer that fits; nil and missing are 0."""
    value = body.get(key)
    if value is None:
        return 0
    if type(value) is not int or value < 0 or value >> bits:
        raise DecodeError(f"{key.decode()} is not an unsigned integer of {bits} bits")
    return value


def sint(body: Body, key: bytes) -> int:
    """A signed 64-bit integer; nil and missing are 0."""
    value = body.get(key)
    if value is None:
        return 0
    if type(value) is not int or not -(1 << 63) <= value < 1 << 63:
        raise DecodeError(f"{key.decode()} is not a signed integer of 64 bits")
    return value


def boolean(body: Body, key: bytes) -> bool:
    value = body.get(key)
    if value is None:
        return False
    if value is True or value is False:
        return bool(value)
    if type(value) is int and value in (0, 1):
        return value == 1
    raise DecodeError(f"{key.decode()} is not a boolean")


def raw(body: Body, key: bytes) -> bytes | None:
    """A byte field; nil and missing are None, which is not the same as empty on the wire."""
    value = body.get(key)
    if value is None or type(value) is bytes:
        return value
    if type(value) is list:  # a list of u8 is legal for a byte field (Vsn)
        try:
            return bytes(value)
        except (TypeError, ValueError) as error:
            raise DecodeError(f"{key.decode()} is not a list of bytes") from error
    raise DecodeError(f"{key.decode()} is not a byte string")


def text(body: Body, key: bytes) -> str:
    """A string field; must be UTF-8."""
    value = body.get(key)
    if value is None:
        return ""
    return as_text(value, key)


def as_text(value: Any, key: bytes) -> str:
    if type(value) is not bytes:
        raise DecodeError(f"{key.decode()} is not a string")
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise DecodeError(f"{key.decode()} is not UTF-8") from error


def sequence(body: Body, key: bytes) -> list[Any] | None:
    value = body.get(key)
    if value is None or type(value) is list:
        return value
    raise DecodeError(f"{key.decode()} is not a list")


def real(body: Body, key: bytes) -> float:
    value = body.get(key)
    if value is None:
        return 0.0
    if type(value) is float or type(value) is int:
        return float(value)
    raise DecodeError(f"{key.decode()} is not a number")
