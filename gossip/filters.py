"""Query filters: does a question concern this member?

Gossip wire contract, section 5.5. A filter that cannot be read does not match, nor does an
expression that is broken or larger than the configuration allows.
"""

from __future__ import annotations

from collections.abc import Mapping

from gossip.config import GossipConfig
from gossip.errors import DecodeError
from gossip.patterns import PatternError, compile_pattern
from gossip.wire import serf
from gossip.wire.serf import Query


def concerns(query: Query, config: GossipConfig, tags: Mapping[str, str]) -> bool:
    """Whether all filters of the query match this member. A filter we cannot read does not."""
    filters = query.filters or ()
    if len(filters) > config.query_filters_max:
        return False
    for data in filters:
        try:
            kind, value = serf.decode_filter(data)
        except DecodeError:
            return False
        if kind == serf.FILTER_NODE:
            if config.name not in value:
                return False
        elif not tag_matches(value[1], tags.get(value[0], ""), states_max=config.filter_states_max):
            return False
    return True


def tag_matches(expression: str, value: str, *, states_max: int) -> bool:
    """Search the expression in a tag's value, in time linear in the value (`gossip.patterns`)."""
    try:
        return compile_pattern(expression, states_max=states_max).search(value)
    except PatternError:
        return False
