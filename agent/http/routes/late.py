"""Handlers whose module is loaded when the first of its routes is asked for (see agent/late.py).

What is asked for all the time, or what has plans, is imported as usual.
"""

from __future__ import annotations

import importlib
from typing import cast

from agent.http.call import Call
from agent.http.reply import Reply
from agent.http.routes.table import Handler
from agent.late import Late

_HOME = "late"


class LateHandlers:
    """Stands for a module of handlers: each attribute is one of its handlers.

    That all of them exist is seen by the test of the routes, which reads their documentation.
    """

    def __init__(self, module: str) -> None:
        self._late = Late(f"agent.http.{module}")

    def __getattr__(self, name: str) -> Handler:
        late = self._late

        async def handler(call: Call) -> Reply:
            module = late.module or await late.loaded()
            found = cast(Handler, getattr(module, name))
            return await found(call)

        setattr(handler, _HOME, (late.name, name))
        return handler


def documentation(handler: Handler) -> str:
    """What a handler does, in its author's words; loads it. "" where nothing is said."""
    home = getattr(handler, _HOME, None)
    if home is not None:
        module, name = home
        handler = getattr(importlib.import_module(module), name)
    return handler.__doc__ or ""
