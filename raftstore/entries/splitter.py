"""service-splitter (mesh contract C.5). Weights are hundredths of a percent."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from raftstore.entries.errors import Invalid
from raftstore.entries.rules import (
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    check_meta,
    need_name,
    quoted,
)
from raftstore.entries.shape import Shape, number, records, text

#: A hundred percent, in hundredths.
WHOLE = 10_000

SPLITS = records(
    "Splits",
    number("Weight", always=True),
    text("Service"),
    text("ServiceSubset"),
    text("Namespace"),
    text("Partition"),
    REQUEST_HEADERS,
    RESPONSE_HEADERS,
    always=True,
)
SHAPE = Shape((SPLITS,))


def single(value: float) -> float:
    """The nearest number of single precision: that is what the reference reckons in."""
    return float(struct.unpack("<f", struct.pack("<f", value))[0])


def hundredths(weight: float) -> int:
    """A weight in hundredths of a percent, rounded half away from zero."""
    scaled = single(single(weight) * 100.0)
    return int(math.copysign(math.floor(abs(scaled) + 0.5), scaled))


def weight(count: int) -> int | float:
    """The weight of so many hundredths, as it is shown."""
    whole, rest = divmod(count, 100)
    return whole if rest == 0 else count / 100


def merged(
    outer: Mapping[str, Any] | None, inner: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """The definition of a leg of a splitter below another one: it changes headers as both do, and
    where they differ as the inner one does. None where neither changes any."""
    if outer is None and inner is None:
        return None
    found = dict(inner or outer or {})
    for key in ("RequestHeaders", "ResponseHeaders"):
        given = [one[key] for one in (outer, inner) if one and key in one]
        changes: dict[str, Any] = {}
        for form in ("Add", "Set"):
            both = {name: value for one in given for name, value in one.get(form, {}).items()}
            if both:
                changes[form] = both
        removed = list(dict.fromkeys(name for one in given for name in one.get("Remove", ())))
        if removed:
            changes["Remove"] = removed
        if changes:
            found[key] = changes
    return found


def normalise(_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Weights rounded to hundredths."""
    found = dict(content)
    if "Splits" in found:
        found["Splits"] = [_normal_split(split) for split in found["Splits"]]
    return found


def _normal_split(split: Mapping[str, Any]) -> dict[str, Any]:
    rounded = weight(hundredths(split.get("Weight", 0)))
    rest = {key: value for key, value in split.items() if key != "Weight"}
    return {"Weight": rounded, **rest} if rounded else rest


def check(name: str, content: Mapping[str, Any], meta: Mapping[str, str] | None) -> None:
    """Refuse a splitter that cannot be."""
    need_name(name)
    splits = content.get("Splits", ())
    if not splits:
        raise Invalid("no splits configured")
    check_meta(meta)
    seen: set[tuple[str, str]] = set()
    total = 0
    for split in splits:
        target = (split.get("Service") or name, split.get("ServiceSubset", ""))
        if target in seen:
            raise Invalid(
                f"split destination occurs more than once: service={quoted(target[0])}, "
                f'subset={quoted(target[1])}, namespace=""'
            )
        seen.add(target)
        if split.get("Weight", 0) < 0:
            raise Invalid(f"split weights cannot be negative: {split['Weight']}")
        total += hundredths(split.get("Weight", 0))
    if total != WHOLE:
        shown = single(single(total) / 100.0)
        raise Invalid(f"the sum of all split weights must be 100, not {shown:.6f}")


def names(name: str, content: Mapping[str, Any]) -> Iterator[str]:
    """The services among which it splits."""
    for split in content.get("Splits", ()):
        yield split.get("Service") or name
