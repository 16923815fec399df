"""With whose token a server is asked: the token of the request that is being answered.

Set by a face around a handler, read where a call to a server is written; so every question on the
way of a request carries its token, whichever part asks. What the agent does by itself has its own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

#: The secret; None while nobody's request is being answered.
ACTING: ContextVar[str | None] = ContextVar("ACTING", default=None)


@contextlib.contextmanager
def on_behalf(acting: str | None) -> Iterator[None]:
    """What is begun within has that token, also a task that goes on afterwards."""
    before = ACTING.set(acting)
    try:
        yield
    finally:
        ACTING.reset(before)
