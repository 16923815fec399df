"""Hypothesis strategies that several test files share.

``values_of`` makes values of any type that the wire format knows, from its annotations: a new
command, query or record is covered by the codec tests the moment it is registered.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from hypothesis import Phase, settings
from hypothesis import strategies as st

texts = st.text(max_size=12)
keys = st.text(max_size=6)

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=6,
)

_SCALARS: dict[Any, st.SearchStrategy[Any]] = {
    str: texts,
    bytes: st.binary(max_size=16),
    bool: st.booleans(),
    int: st.integers(0, 2**64 - 1) | st.integers(-(2**63), 0),
    float: st.floats(allow_nan=False, allow_infinity=False),
    types.NoneType: st.none(),
    Any: json_values,
}


#: Every run draws other examples: a part of them each time finds what all of them find, later.
PART_OF_EXAMPLES = 0.4
THOROUGH = "thorough"


def scaled(max_examples: int) -> int:
    """So many examples in the profile `thorough` (`make properties`), else a part of them."""
    if settings.get_current_profile_name() == THOROUGH:
        return max_examples
    return max(4, round(max_examples * PART_OF_EXAMPLES))


def long_examples(max_examples: int) -> settings:
    """Settings for tests whose single examples take long; their number is ``scaled``.

    Making a failing one smaller would take minutes and run into the test's timeout, which hides
    the failure: it is shown as it was found. To have it made smaller all the same:
    `--hypothesis-profile=shrinking --timeout=900`.
    """
    phases = settings().phases
    if settings.get_current_profile_name() != "shrinking":
        phases = tuple(p for p in phases if p not in (Phase.shrink, Phase.explain))
    return settings(max_examples=scaled(max_examples), phases=phases)


@functools.cache
def values_of(kind: Any) -> st.SearchStrategy[Any]:
    """Values of a type as its annotations describe it."""
    while hasattr(kind, "__supertype__"):
        kind = kind.__supertype__
    if kind in _SCALARS:
        return _SCALARS[kind]
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        fields = {f.name: values_of(hints[f.name]) for f in dataclasses.fields(kind)}
        return st.fixed_dictionaries(fields).map(lambda given: kind(**given))
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return st.one_of([values_of(argument) for argument in arguments])
    if origin is tuple and arguments[-1] is Ellipsis:
        return st.lists(values_of(arguments[0]), max_size=3).map(tuple)
    if origin is tuple:
        return st.tuples(*[values_of(argument) for argument in arguments])
    if origin is Mapping:
        return st.dictionaries(keys, values_of(arguments[1]), max_size=3)
    if origin is Literal:
        return st.sampled_from(arguments)
    raise TypeError(f"no strategy for {kind!r}")
