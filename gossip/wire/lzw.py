"""LZW as memberlist uses it: least significant bit first, literal width 8, codes of 9..12 bits.

The variant of GIF and PDF, not of TIFF (gossip wire contract, section 1.5). The output equals the
reference's byte for byte. Decides nothing but the coding; callers bound the sizes.
"""

from __future__ import annotations

from gossip.errors import DecodeError

CLEAR = 256
END = 257
FIRST_WIDTH = 9
LAST_WIDTH = 12
LAST_CODE = (1 << LAST_WIDTH) - 1


def compress(data: bytes) -> bytes:
    """The whole stream for ``data``, clear code and end code included."""
    # Keys are code << 8 | byte: one int instead of a tuple per step.
    table: dict[int, int] = {}
    out = bytearray()
    bits = CLEAR
    count = FIRST_WIDTH
    width = FIRST_WIDTH
    hi = END
    overflow = 1 << FIRST_WIDTH
    code = -1
    for byte in data:
        if code < 0:
            code = byte
            continue
        key = code << 8 | byte
        known = table.get(key)
        if known is not None:
            code = known
            continue
        bits |= code << count
        count += width
        while count >= 8:
            out.append(bits & 0xFF)
            bits >>= 8
            count -= 8
        code = byte
        hi += 1
        if hi == overflow:
            width += 1
            overflow <<= 1
        if hi == LAST_CODE:
            bits |= CLEAR << count
            count += width
            width, hi, overflow = FIRST_WIDTH, END, 1 << FIRST_WIDTH
            table.clear()
        else:
            table[key] = hi
    if code >= 0:
        bits |= code << count
        count += width
        hi += 1
        if hi == overflow:
            width += 1
        if hi == LAST_CODE:
            bits |= CLEAR << count
            count += width
            width = FIRST_WIDTH
    bits |= END << count
    count += width
    out += bits.to_bytes((count + 7) // 8, "little")
    return bytes(out)


def decompress(data: bytes, *, output_bytes_max: int) -> bytes:
    """The bytes behind a stream.

    Raises DecodeError for an impossible code, a missing end code, and a result longer than
    ``output_bytes_max`` (a small stream can stand for gigabytes).
    """
    literals = [bytes((value,)) for value in range(256)]
    table: list[bytes] = [*literals, b"", b""]
    out: list[bytes] = []
    size = 0
    bits = count = 0
    width, overflow = FIRST_WIDTH, 1 << FIRST_WIDTH
    hi = END
    previous = b""
    for byte in data:
        bits |= byte << count
        count += 8
        if count < width:
            continue
        code = bits & ((1 << width) - 1)
        bits >>= width
        count -= width
        if code == CLEAR:
            table = [*literals, b"", b""]
            width, overflow, hi, previous = FIRST_WIDTH, 1 << FIRST_WIDTH, END, b""
            continue
        if code == END:
            return b"".join(out)
        if code < len(table):
            word = table[code]
            if previous and len(table) <= LAST_CODE:
                table.append(previous + word[:1])
        elif code == len(table) and previous:
            word = previous + previous[:1]
            table.append(word)
        else:
            raise DecodeError(f"LZW code {code} out of range", reason="compress")
        size += len(word)
        if size > output_bytes_max:
            raise DecodeError("decompressed size exceeds the limit", reason="too_large")
        out.append(word)
        previous = word
        hi += 1
        if hi >= overflow and width < LAST_WIDTH:
            width += 1
            overflow <<= 1
    raise DecodeError("LZW stream ends without its end code", reason="compress")
