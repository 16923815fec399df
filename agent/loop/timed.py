"""A uvloop that measures every callback, for ``enable_debug``.

uvloop calls what asyncio gives it (callbacks, steps of tasks, timers) and the protocols of its
transports. Both are wrapped where they enter the loop: callbacks as they are scheduled, protocols
as they are made, by a subclass of their own class with the same fields. It costs two to three
microseconds a callback, too much for every day; without it the watchdog sees only how late a timer
is (watchdog.py).
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import uvloop

_CALLED = (
    "connection_made",
    "connection_lost",
    "data_received",
    "buffer_updated",
    "eof_received",
    "datagram_received",
    "error_received",
    "pause_writing",
    "resume_writing",
)

#: (what ran, wall clock at its beginning, seconds by the wall, seconds of processor time)
Finished = Callable[[Any, float, float, float], None]


class CallbackClock:
    """What the loop is doing now, and since when. Read by another thread."""

    __slots__ = ("begun_at", "on_finished", "what")

    def __init__(self) -> None:
        #: By ``time.perf_counter``; 0 when nothing runs.
        self.begun_at = 0.0
        self.what: Any = None
        self.on_finished: Finished | None = None

    def run(self, callback: Callable[..., Any], /, *args: Any) -> Any:
        """Call it, measured. What is called from within counts for the outermost."""
        finished = self.on_finished
        if self.begun_at or finished is None:
            return callback(*args)
        self.what = callback
        cpu_s = time.thread_time()
        begun_at = self.begun_at = time.perf_counter()
        try:
            return callback(*args)
        finally:
            wall_s = time.perf_counter() - begun_at
            self.begun_at = 0.0
            self.what = None
            finished(callback, begun_at, wall_s, time.thread_time() - cpu_s)


class TimedLoop(uvloop.Loop):
    """uvloop with a clock on everything it calls."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = CallbackClock()
        self._timed_types: dict[type, type] = {}

    # -- callbacks

    def call_soon(  # type: ignore[override]
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """As the loop's, measured."""
        handle: asyncio.Handle = super().call_soon(self.clock.run, callback, *args, context=context)
        return handle

    def call_soon_threadsafe(  # type: ignore[override]
        self,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """As the loop's, measured."""
        handle: asyncio.Handle = super().call_soon_threadsafe(
            self.clock.run, callback, *args, context=context
        )
        return handle

    def call_later(  # type: ignore[override]
        self,
        delay: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As the loop's, measured."""
        handle: asyncio.TimerHandle = super().call_later(
            delay, self.clock.run, callback, *args, context=context
        )
        return handle

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., Any],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """As the loop's: it is a call of ``call_later`` there."""
        return self.call_later(when - self.time(), callback, *args, context=context)

    # -- protocols

    async def create_server(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """As the loop's, with measured protocols."""
        return await super().create_server(partial(self._made, protocol_factory), *args, **options)

    async def create_connection(self, protocol_factory: Any, *args: Any, **options: Any) -> Any:
        """As the loop's, with a measured protocol."""
        made = partial(self._made, protocol_factory)
        return await super().create_connection(made, *args, **options)

    async def create_datagram_endpoint(
        self, protocol_factory: Any, *args: Any, **options: Any
    ) -> Any:
        """As the loop's, with a measured protocol."""
        made = partial(self._made, protocol_factory)
        return await super().create_datagram_endpoint(made, *args, **options)

    def _made(self, factory: Callable[[], Any]) -> Any:
        protocol = factory()
        kind = type(protocol)
        timed = self._timed_types.get(kind)
        if timed is None:
            timed = self._timed_types[kind] = _timed_type(kind, self.clock)
        protocol.__class__ = timed
        return protocol


def _timed_type(kind: type, clock: CallbackClock) -> type:
    """A subclass whose methods are measured where the loop calls them."""

    def timed(method: Callable[..., Any]) -> Callable[..., Any]:
        def call(protocol: Any, *args: Any) -> Any:
            return clock.run(method, protocol, *args)

        return call

    body: dict[str, Any] = {
        name: timed(getattr(kind, name)) for name in _CALLED if hasattr(kind, name)
    }
    # The same fields, so that an object can become one after it was made.
    body["__slots__"] = ()
    body["__module__"] = kind.__module__
    body["__qualname__"] = kind.__qualname__
    return type(kind.__name__, (kind,), body)
