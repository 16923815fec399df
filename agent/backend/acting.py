"""With whose token a server is asked: the token of the request that is being answered.

Set by a face around a handler, read where a call to a server is written; so every question on the
way of a request carries its token, whichever part asks. What the agent does by itself has its own.
"""

from __future__ import annotations

from contextvars import ContextVar

#: The secret; None while nobody's request is being answered.
ACTING: ContextVar[str | None] = ContextVar("ACTING", default=None)
