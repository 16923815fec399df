"""Whether one order of the operations of a register explains all answers.

The search of Wing and Gong (1993) with Lowe's memory of configurations already tried (2017), and
facts about registers that keep it short:

* a read that shows the present value can come first: it changes nothing, so every order that ends
  well still does with that read moved to the front;
* an operation of unknown outcome matters only if the next one sees its value; it is therefore
  tried only where it makes a waiting read or compare-and-set possible, and one whose value nobody
  ever saw is left out;
* a write whose value nobody ever saw may as well happen just before another write;
* a value that nothing can write again must not be replaced while somebody has yet to see it;
* of unknown operations that do the same, the one that began first can stand for the others, since
  none of them ever has to end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from jepsen_lite.generator import CAS, READ, WRITE
from jepsen_lite.history import Json
from jepsen_lite.models import Call


@dataclass(frozen=True, slots=True)
class Span:
    """An operation between its invocation and its completion (indexes of the history).

    ``must`` is False for an operation of unknown outcome; its ``end`` is infinite.
    """

    start: float
    end: float
    call: Call
    must: bool


@dataclass(frozen=True, slots=True)
class Found:
    """The result: ``possible`` is None when the bound was reached. ``stuck`` is the most that could
    be put in order otherwise, ``blocked`` the operations of which none could come next."""

    possible: bool | None
    stuck: tuple[Span, ...] = ()
    blocked: tuple[Span, ...] = ()


#: Done operations as (all before this one, and these bits after it), unknown ones used, value.
_Configuration = tuple[int, int, int, Json]


def search(spans: Sequence[Span], configurations_max: int) -> Found:
    """Try orders until one fits or none is left."""
    return _Search(spans, configurations_max).run()


class _Search:
    def __init__(self, spans: Sequence[Span], configurations_max: int) -> None:
        self._must = sorted((s for s in spans if s.must), key=lambda span: span.start)
        self._seen = {span.call.value for span in self._must if span.call.f == READ}
        self._seen |= {span.call.expected for span in spans if span.call.f == CAS}
        self._may = [
            span
            for span in sorted(spans, key=lambda span: span.start)
            if not span.must and span.call.f != READ and span.call.value in self._seen
        ]
        self._may_make: dict[Json, list[int]] = defaultdict(list)
        for number, span in enumerate(self._may):
            self._may_make[span.call.value].append(number)
        self._make: dict[Json, list[int]] = defaultdict(list)
        self._see: dict[Json, list[int]] = defaultdict(list)
        for number, span in enumerate(self._must):
            if span.call.f != READ:
                self._make[span.call.value].append(number)
            if span.call.f != WRITE:
                needed = span.call.value if span.call.f == READ else span.call.expected
                self._see[needed].append(number)
        self._limit = configurations_max

    def run(self) -> Found:
        goal = len(self._must)
        first = self._after_reads((0, 0, 0, None))
        tried = {first}
        stack = [self._next(first)]
        path = [first]
        furthest = first
        while stack:
            if _count(path[-1]) == goal:
                return Found(possible=True)
            for following in stack[-1]:
                if following in tried:
                    continue
                if len(tried) >= self._limit:
                    return Found(possible=None)
                tried.add(following)
                stack.append(self._next(following))
                path.append(following)
                if _count(following) > _count(furthest):
                    furthest = following
                break
            else:
                stack.pop()
                path.pop()
        return self._stuck(furthest)

    def _stuck(self, at: _Configuration) -> Found:
        base, bits, _, _ = at
        done = [span for n, span in enumerate(self._must) if n < base or bits >> (n - base) & 1]
        return Found(False, tuple(done), tuple(self._must[n] for n, _ in self._open(base, bits)))

    def _open(self, base: int, bits: int) -> list[tuple[int, Span]]:
        """The operations that may come next: they began before any that is not done has ended."""
        found: list[tuple[int, Span]] = []
        first_end = float("inf")
        for number in range(base, len(self._must)):
            span = self._must[number]
            if span.start > first_end:
                break
            if not bits >> (number - base) & 1:
                found.append((number, span))
                first_end = min(first_end, span.end)
        return [(number, span) for number, span in found if span.start <= first_end]

    def _after_reads(self, at: _Configuration) -> _Configuration:
        """The same with every read done that shows the value there is."""
        base, bits, used, value = at
        moved = True
        while moved:
            moved = False
            for number, span in self._open(base, bits):
                if span.call.f == READ and span.call.value == value:
                    base, bits = _done(base, bits, number)
                    moved = True
                    break
        return base, bits, used, value

    def _next(self, at: _Configuration) -> Iterator[_Configuration]:
        """Configurations one step further, the most promising first."""
        base, bits, used, value = at
        waiting = sorted(self._open(base, bits), key=lambda pair: pair[1].end)
        first_end = waiting[0][1].end if waiting else float("inf")
        last_chance = self._last_chance(at)
        if last_chance is not None:
            waiting = [(number, span) for number, span in waiting if number in last_chance]
        unseen = [n for n, span in waiting if self._unseen(span)]
        wanted: dict[Json, None] = {}
        for number, span in waiting:
            call = span.call
            if call.f == CAS and call.expected == value:
                yield self._after_reads((*_done(base, bits, number), used, call.value))
            elif call.f == WRITE and number not in unseen:
                yield self._after_reads((*_done(base, bits, number, *unseen), used, call.value))
            elif call.f != WRITE:
                wanted[call.value if call.f == READ else call.expected] = None
        if last_chance is not None:
            return
        for want in wanted:
            for spent in self._ways(value, want, used, first_end):
                yield self._after_reads((base, bits, spent, want))
        if unseen:
            shown = self._must[unseen[-1]].call.value
            yield self._after_reads((*_done(base, bits, *unseen), used, shown))

    def _unseen(self, span: Span) -> bool:
        return span.call.f == WRITE and span.call.value not in self._seen

    def _last_chance(self, at: _Configuration) -> tuple[int, ...] | None:
        """Which operations alone may come next, because nothing can write the present value again
        and they have yet to see it; None where any may. Reads that are still to come cannot be
        helped (those that can come now are done), nor can two that both replace the value."""
        base, bits, used, value = at
        waiting = [n for n in self._see.get(value, ()) if not _is_done(base, bits, n)]
        if not waiting:
            return None
        if any(not used >> number & 1 for number in self._may_make.get(value, ())):
            return None
        if any(not _is_done(base, bits, number) for number in self._make.get(value, ())):
            return None
        if len(waiting) > 1 or self._must[waiting[0]].call.f == READ:
            return ()
        return tuple(waiting)

    def _ways(self, value: Json, want: Json, used: int, before: float) -> Iterator[int]:
        """What unknown operations could be spent on getting from one value to another: the first
        unused write of it, or a compare-and-set and whatever leads to what that one expects."""
        tried: set[tuple[str, Json]] = set()
        for number in self._may_make.get(want, ()):
            span = self._may[number]
            sort = (span.call.f, span.call.expected)
            if used >> number & 1 or span.start > before or sort in tried:
                continue
            tried.add(sort)
            spent = used | 1 << number
            if span.call.f == WRITE or span.call.expected == value:
                yield spent
            else:
                yield from self._ways(value, span.call.expected, spent, before)


def _is_done(base: int, bits: int, number: int) -> bool:
    return number < base or bits >> (number - base) & 1 == 1


def _done(base: int, bits: int, *numbers: int) -> tuple[int, int]:
    """With more operations done; what is done without a gap is counted, not remembered."""
    for number in numbers:
        bits |= 1 << (number - base)
    while bits & 1:
        bits >>= 1
        base += 1
    return base, bits


def _count(at: _Configuration) -> int:
    return at[0] + at[1].bit_count()
