"""Keeps the garbage collector's passes short, whatever the size of the catalog.

A full pass looks at every object that can be part of a cycle, at about 60 ns each, and a row of the
catalog is half a dozen of those: 0.5 s at a million keys. What outlives such a pass here is mostly
rows, which are never garbage to the collector: they form no cycles and are freed by their counts.
So after a pass that took long its survivors are moved out of the collector's sight (``gc.freeze``),
and the next one has only what is newer. A cycle that is among the survivors and dies later stays
until the process ends (ADR 24).

When the next pass comes is not left to CPython alone. It counts what is made less what is freed,
and under steady writes that is nothing: each new row pushes an old one out of the journal of
changes. So hundreds of thousands of new objects gathered before a pass, which then took 10 to
75 ms. There is one every tenth of a second, whatever the count says (ADR 92).
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager

#: After a pass that took longer its survivors are not looked at again, in seconds.
PASS_MAX_S = 0.002
#: The same of a pass over what is young, of which a full pass soon has three times as many: of the
#: definitions that a reload reads one takes 400 ns on a busy machine.
YOUNGER_MAX_S = 0.001
#: New objects before a pass, passes before one of the next generation. With CPython's 700, 10
#: and 10 so many as 70,000 objects gather before a full pass, which then takes 10 ms; so it is
#: 16,000. Requests under way hold some thousand; a smaller first number has most of them looked
#: at two and three times, which was 9 % of a leader's time under writes and is 4 % (ADR 29).
THRESHOLDS = (2000, 3, 1)
_OLDEST, _YOUNGER = 2, 1
#: Between two passes over what is young. 15,000 writes a second leave 15,000 objects in that time,
#: which is a millisecond; with nothing to do a pass takes some ten microseconds.
BEAT_S = 0.1


class Collector:
    """Watches the passes, and shortens those to come."""

    def __init__(self) -> None:
        self.passes = 0
        self.freezes = 0
        self.highest_s = 0.0
        #: Time in passes so far.
        self.spent_s = 0.0
        self._begun_s = 0.0
        #: Time in passes over what is young since the last full one: a full one takes no longer.
        self._young_s = 0.0
        self._thresholds = gc.get_threshold()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """What is here now lives as long as the process: it is looked at once more, and never
        again. ``loop`` carries the passes that come by time; without one there are none."""
        self._loop = loop
        gc.collect()
        gc.freeze()
        gc.collect()
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._passed)
        if loop is not None:
            self._timer = loop.call_later(BEAT_S, self._beat, loop)

    def stop(self) -> None:
        """Leave the collector alone."""
        if self._timer is not None:
            self._timer.cancel()
        gc.callbacks.remove(self._passed)
        gc.set_threshold(*self._thresholds)

    @contextmanager
    def bulk(self) -> Iterator[None]:
        """No passes meanwhile, and what was made is not looked at afterwards either: whoever reads
        thousands of definitions keeps them. Counts say nothing: as many go at the same time."""
        gc.disable()
        try:
            yield
        finally:
            gc.freeze()
            self.freezes += 1
            gc.enable()

    def _beat(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(BEAT_S, self._beat, loop)
        if gc.isenabled():
            gc.collect(self.generation_due())

    def generation_due(self) -> int:
        """How far the pass goes that comes by time: what outlived the young ones is looked at
        before that takes longer than a pass may."""
        return _OLDEST if self._young_s > PASS_MAX_S else _YOUNGER

    def _passed(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begun_s = time.thread_time()
            return
        took_s = time.thread_time() - self._begun_s
        self.passes += 1
        self.spent_s += took_s
        self.highest_s = max(self.highest_s, took_s)
        if info["generation"] == _OLDEST:
            self._young_s = 0.0
            if took_s > PASS_MAX_S:
                self._freeze()
                # CPython waits with the next pass until a quarter of what this one has found is
                # new; a pass over nothing makes it forget that number.
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(gc.collect)
            return
        self._young_s += took_s
        if info["generation"] == _YOUNGER and took_s > YOUNGER_MAX_S:
            self._freeze()

    def _freeze(self) -> None:
        gc.freeze()
        self.freezes += 1
        self._young_s = 0.0
