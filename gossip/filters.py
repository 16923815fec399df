"""Query filters: does a question concern this member?

Gossip wire contract, section 5.5. A filter that cannot be read, or whose expression could run long,
does not match.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping

from gossip.errors import DecodeError
from gossip.wire import serf
from gossip.wire.serf import Query

# Tag filters are regular expressions from the network, and ours can take exponential time where the
# reference's cannot: only such as are provably quick are searched.
EXPRESSION_CHARS_MAX = 128
QUANTIFIERS_MAX = 2
QUANTIFIED_VALUE_CHARS_MAX = 64
_QUANTIFIER = re.compile(r"[*+?{]")
_SLOW = re.compile(r"\)[*+?{]|\(\?|\\[1-9]")


def concerns(query: Query, name: str, tags: Mapping[str, str]) -> bool:
    """Whether all filters of the query match this member. A filter we cannot read does not."""
    for data in query.filters or ():
        try:
            kind, value = serf.decode_filter(data)
        except DecodeError:
            return False
        if kind == serf.FILTER_NODE:
            if name not in value:
                return False
        elif not tag_matches(value[1], tags.get(value[0], "")):
            return False
    return True


def tag_matches(expression: str, value: str) -> bool:
    """Search the expression in a tag's value; one that could run long does not match."""
    if len(expression) > EXPRESSION_CHARS_MAX or _SLOW.search(expression):
        return False
    quantifiers = len(_QUANTIFIER.findall(expression))
    if quantifiers > QUANTIFIERS_MAX:
        return False
    if quantifiers and len(value) > QUANTIFIED_VALUE_CHARS_MAX:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about odd expressions: they are not ours to mend
            return re.search(expression, value) is not None
    except (re.error, OverflowError, RecursionError):
        return False
