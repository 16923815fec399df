"""Regular expressions of intentions and routes, matched in bounded time."""

from __future__ import annotations

from functools import lru_cache

from gossip.patterns import Pattern, PatternError, compile_pattern
from proxy.errors import UnreadablePattern
from raftstore.entries.rules import REGEX_MAX


@lru_cache(maxsize=1024)
def _compiled(pattern: str) -> Pattern:
    return compile_pattern(rf"\A(?:{pattern})\Z", length_max=REGEX_MAX + 16)


def full_match(pattern: str, text: str) -> bool:
    """Whether a pattern matches all of a text, in time linear in it. Raises UnreadablePattern."""
    try:
        compiled = _compiled(pattern)
    except PatternError as error:
        raise UnreadablePattern(str(error)) from None
    return compiled.search(text)
