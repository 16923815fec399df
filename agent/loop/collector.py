"""Keeps the garbage collector's passes short, whatever the size of the catalog.

A full pass looks at every object that can be part of a cycle, at about 60 ns each, and a row of the
catalog is half a dozen of those: 0.5 s at a million keys. What outlives such a pass here is mostly
rows, which are never garbage to the collector: they form no cycles and are freed by their counts.
So after a pass that took long its survivors are moved out of the collector's sight (``gc.freeze``),
and the next one has only what is newer. A cycle that is among the survivors and dies later stays
until the process ends (ADR 24).
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
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


class Collector:
    """Watches the passes, and shortens those to come."""

    def __init__(self) -> None:
        self.passes = 0
        self.freezes = 0
        self.highest_s = 0.0
        #: Time in passes so far.
        self.spent_s = 0.0
        self._begun_s = 0.0
        self._thresholds = gc.get_threshold()
        self._soon: Callable[[Callable[[], object]], object] | None = None

    def start(self, soon: Callable[[Callable[[], object]], object] | None = None) -> None:
        """What is here now lives as long as the process: it is looked at once more, and never
        again. ``soon`` has something called after the pass that is under way, from any thread."""
        self._soon = soon
        gc.collect()
        gc.freeze()
        gc.collect()
        self._thresholds = gc.get_threshold()
        gc.set_threshold(*THRESHOLDS)
        gc.callbacks.append(self._passed)

    def stop(self) -> None:
        """Leave the collector alone."""
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

    def _passed(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._begun_s = time.thread_time()
            return
        took_s = time.thread_time() - self._begun_s
        self.passes += 1
        self.spent_s += took_s
        self.highest_s = max(self.highest_s, took_s)
        if info["generation"] == _YOUNGER and took_s > YOUNGER_MAX_S:
            gc.freeze()
            self.freezes += 1
        if info["generation"] == _OLDEST and took_s > PASS_MAX_S:
            gc.freeze()
            self.freezes += 1
            # CPython waits with the next pass until a quarter of what this one has found is new; a
            # pass over nothing makes it forget that number.
            if self._soon is not None:
                self._soon(gc.collect)
