"""The messages of gRPC's health protocol (grpc.health.v1), as bytes, and the names of its statuses.

Two messages of one field each: they are written and read here, so that no compiler of protocols is
needed.
"""

from __future__ import annotations

import struct
from urllib.parse import unquote

PATH = "/grpc.health.v1.Health/Check"

#: Status codes of gRPC by number.
_CODES = (
    "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound",
    "AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted",
    "OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated",
)  # fmt: skip

#: `HealthCheckResponse.ServingStatus`.
SERVING = 1


class GrpcError(Exception):
    """The peer's answer is no answer of a health service."""


def request(service: str) -> bytes:
    """A framed HealthCheckRequest; "" asks for the server as a whole."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return struct.pack(">BI", 0, len(message)) + message


def serving_status(body: bytes) -> int:
    """The status in a framed HealthCheckResponse. Raises GrpcError."""
    if len(body) < 5:
        raise GrpcError("the answer holds no message")
    compressed, length = struct.unpack(">BI", body[:5])
    if compressed or len(body) != 5 + length:
        raise GrpcError("the answer is not one uncompressed message")
    status, at = 0, 5
    while at < len(body):
        key, at = _read_varint(body, at)
        if key == 0x08:
            status, at = _read_varint(body, at)
        else:
            at = _skip(body, at, key & 7)
    return status


def failure(headers: dict[str, str]) -> str:
    """Why a call failed, in the words of gRPC for Go; "" if it did not."""
    if headers.get(":status", "200") != "200":
        return _error(2, f"unexpected HTTP status code received from server: {headers[':status']}")
    text = headers.get("grpc-status", "")
    if not text:
        return _error(13, "server closed the stream without sending trailers")
    code = int(text) if text.isascii() and text.isdecimal() and len(text) < 4 else 2
    return "" if code == 0 else _error(code, unquote(headers.get("grpc-message", "")))


def unavailable(reason: str) -> str:
    """The error for a server that cannot be reached."""
    return _error(14, reason)


def _error(code: int, text: str) -> str:
    name = _CODES[code] if code < len(_CODES) else f"Code({code})"
    return f"rpc error: code = {name} desc = {text}"


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise GrpcError("the answer is cut off")
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _skip(data: bytes, at: int, wire_type: int) -> int:
    """Over a field that is not ours."""
    if wire_type == 0:
        return _read_varint(data, at)[1]
    if wire_type == 2:
        length, at = _read_varint(data, at)
    elif wire_type in {1, 5}:
        length = 8 if wire_type == 1 else 4
    else:
        raise GrpcError("the answer is no message")
    if at + length > len(data):
        raise GrpcError("the answer is cut off")
    return at + length
