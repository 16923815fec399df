"""Line charts as SVG, small and readable as text: a diff of a figure is a diff of its points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 170, 36, 48
COLOURS = ("#1b6ca8", "#c0392b", "#2e8b57", "#8e44ad", "#b9770e", "#444444")


@dataclass(frozen=True, slots=True)
class Line:
    """One series."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Axis:
    """What is along it; a logarithmic one has positive values only."""

    title: str
    logarithmic: bool = False
    low: float | None = None


def chart(title: str, x: Axis, y: Axis, lines: Sequence[Line]) -> str:
    """The whole picture. Points off a logarithmic axis are left out."""
    kept = [Line(line.name, [p for p in line.points if _fits(p, x, y)]) for line in lines]
    across = _Scale(x, [p[0] for line in kept for p in line.points], LEFT, WIDTH - RIGHT)
    up = _Scale(y, [p[1] for line in kept for p in line.points], HEIGHT - BOTTOM, TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="20" font-size="14">{escape(title)}</text>',
    ]
    for value in across.ticks():
        at = across.place(value)
        parts.append(_rule(at, TOP, at, HEIGHT - BOTTOM))
        parts.append(_text(at, HEIGHT - BOTTOM + 16, _number(value), "middle"))
    for value in up.ticks():
        at = up.place(value)
        parts.append(_rule(LEFT, at, WIDTH - RIGHT, at))
        parts.append(_text(LEFT - 6, at + 4, _number(value), "end"))
    parts.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x.title, "middle"))
    parts.append(
        f'<text transform="translate(14 {(TOP + HEIGHT - BOTTOM) / 2:.0f}) rotate(-90)" '
        f'text-anchor="middle">{escape(y.title)}</text>'
    )
    for index, line in enumerate(kept):
        colour = COLOURS[index % len(COLOURS)]
        places = [(across.place(a), up.place(b)) for a, b in line.points]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in places)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        if len(places) <= 12:
            parts += [
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in places
            ]
        high = TOP + 10 + 18 * index
        parts.append(
            f'<rect x="{WIDTH - RIGHT + 12}" y="{high - 8}" width="14" height="4" fill="{colour}"/>'
        )
        parts.append(_text(WIDTH - RIGHT + 32, high, line.name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _fits(point: tuple[float, float], x: Axis, y: Axis) -> bool:
    return all(
        math.isfinite(value) and (value > 0 or not axis.logarithmic)
        for value, axis in zip(point, (x, y), strict=True)
    )


class _Scale:
    """From values to places."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, end: float) -> None:
        self._log = axis.logarithmic
        low = min(values, default=1.0) if axis.low is None else axis.low
        high = max(values, default=10.0)
        self._low, self._high = self._lift(low), self._lift(max(high, low))
        if self._log:
            self._low, self._high = math.floor(self._low), math.ceil(self._high)
        if self._high == self._low:
            self._high += 1.0
        self._start, self._end = start, end

    def _lift(self, value: float) -> float:
        return math.log10(value) if self._log else value

    def place(self, value: float) -> float:
        share = (self._lift(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        if self._log:
            return [10.0**power for power in range(int(self._low), int(self._high) + 1)]
        rough = (self._high - self._low) / 5
        unit = 10.0 ** math.floor(math.log10(rough))
        step = next(unit * k for k in (1, 2, 5, 10) if unit * k >= rough)
        first = math.ceil(self._low / step)
        return [k * step for k in range(first, int(self._high / step + 1e-9) + 1)]


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#dddddd"/>'


def _text(x: float, y: float, words: str, anchor: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:g}"
