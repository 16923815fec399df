"""The listeners that a proxy has open, or tries to open, by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from proxy.config import ProxyConfig
from proxy.handover import Inheritance
from proxy.listeners import Listener, ListenOn

#: Where to listen, and what makes the protocol of each connection.
Wanted = tuple[ListenOn, Callable[[], asyncio.Protocol]]
Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Opened:
    """Keeps them in step with what is wanted."""

    def __init__(self, config: ProxyConfig, spawn: Spawn) -> None:
        self._config, self._spawn = config, spawn
        self._opening: dict[str, asyncio.Task[None]] = {}
        self.listeners: dict[str, Listener] = {}

    def change(self, wanted: Mapping[str, Wanted], inheritance: Inheritance | None) -> None:
        """Close what is not wanted any more or elsewhere, open what is new: with the socket of the
        process before us where there is one."""
        for name in list(self.listeners):
            if name not in wanted or wanted[name][0] != self.listeners[name].on:
                self._close(name)
        for name, (on, factory) in wanted.items():
            if name not in self.listeners:
                sock = inheritance.take(str(on)) if inheritance else None
                listener = Listener(name, on, factory, self._config, sock)
                self.listeners[name] = listener
                self._opening[name] = self._spawn(listener.run(), f"proxy listener {name}")

    def close(self) -> None:
        """Accept no more anywhere."""
        for name in list(self.listeners):
            self._close(name)

    def _close(self, name: str) -> None:
        opening = self._opening.pop(name, None)
        if opening is not None:
            opening.cancel()
        self.listeners.pop(name).close()
