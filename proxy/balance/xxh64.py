"""xxHash, 64 bits (the specification in doc/xxhash_spec.md of its project, version 0.1.1).

Requests are spread by it alike on all hosts and in all versions: Python's own ``hash`` differs from
process to process.
"""

from __future__ import annotations

import struct

_P1 = 0x9E3779B185EBCA87
_P2 = 0xC2B2AE3D27D4EB4F
_P3 = 0x165667B19E3779F9
_P4 = 0x85EBCA77C2B2AE63
_P5 = 0x27D4EB2F165667C5
_MASK = (1 << 64) - 1


def xxh64(data: bytes, seed: int = 0) -> int:
    """The hash as a number below 2**64."""
    size, at = len(data), 0
    if size >= 32:
        lanes = [seed + _P1 + _P2, seed + _P2, seed, seed - _P1]
        while at + 32 <= size:
            words = struct.unpack_from("<4Q", data, at)
            lanes = [_round(lane & _MASK, word) for lane, word in zip(lanes, words, strict=True)]
            at += 32
        hashed = sum(rotl(lane, turn) for lane, turn in zip(lanes, (1, 7, 12, 18), strict=True))
        hashed &= _MASK
        for lane in lanes:
            hashed = ((hashed ^ _round(0, lane)) * _P1 + _P4) & _MASK
    else:
        hashed = (seed + _P5) & _MASK
    return _finished(data, at, (hashed + size) & _MASK)


def _finished(data: bytes, at: int, hashed: int) -> int:
    while at + 8 <= len(data):
        (word,) = struct.unpack_from("<Q", data, at)
        hashed = (rotl(hashed ^ _round(0, word), 27) * _P1 + _P4) & _MASK
        at += 8
    if at + 4 <= len(data):
        (half,) = struct.unpack_from("<I", data, at)
        hashed = (rotl(hashed ^ (half * _P1 & _MASK), 23) * _P2 + _P3) & _MASK
        at += 4
    for byte in data[at:]:
        hashed = rotl(hashed ^ (byte * _P5 & _MASK), 11) * _P1 & _MASK
    hashed = (hashed ^ hashed >> 33) * _P2 & _MASK
    hashed = (hashed ^ hashed >> 29) * _P3 & _MASK
    return hashed ^ hashed >> 32


def rotl(value: int, turn: int) -> int:
    """Rotated to the left within 64 bits."""
    return (value << turn | value >> (64 - turn)) & _MASK


def _round(lane: int, word: int) -> int:
    return rotl((lane + word * _P2) & _MASK, 31) * _P1 & _MASK
