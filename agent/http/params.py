"""The query string: multi-map, and what each common parameter means (http-api contract 1.5, 1.6).

Decides how a read is asked. Error texts are the contract's; handlers add nothing to them.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import quote_plus, unquote_to_bytes

from agent.backend import Ask, Consistency
from agent.backend.cache import Freshness
from agent.durations import DurationError, parse_s
from agent.errors import RequestError
from raftstore.queries import At

_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_UNSIGNED = re.compile(r"[0-9]+")
UINT64_MAX = (1 << 64) - 1
#: More parameters than this in one query string are refused.
PARAMS_MAX = 1000
#: The server adds up to this share of the wait, so that watchers do not come back all at once.
JITTER_SHARE = 1 / 16


class BadQuery(RequestError):
    """The query string has a broken escape: 500 with an empty body."""

    def __init__(self) -> None:
        super().__init__(500, "")


class Params:
    """The decoded query string. ``in`` asks for presence, ``get`` gives the first value."""

    __slots__ = ("_values",)

    def __init__(self, values: dict[str, list[str]]) -> None:
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def get(self, name: str) -> str:
        """The first value, "" when absent."""
        found = self._values.get(name)
        return found[0] if found else ""

    def all(self, name: str) -> tuple[str, ...]:
        """Every value of a repeatable parameter."""
        return tuple(self._values.get(name, ()))

    def first(self) -> Mapping[str, str]:
        """Each parameter with its first value."""
        return {name: values[0] for name, values in self._values.items()}

    def encode(self) -> str:
        """The query string again, sorted by name, as error texts quote it."""
        return "&".join(
            f"{quote_plus(name)}={quote_plus(value)}"
            for name in sorted(self._values)
            for value in self._values[name]
        )

    def flag(self, name: str) -> bool | None:
        """A boolean parameter: None when absent or not a boolean; value-less is True."""
        if name not in self._values:
            return None
        return parse_bool(self.get(name)) if self.get(name) else True


EMPTY = Params({})


def parse_query(text: str) -> Params:
    """Read a query string. Raises BadQuery for a broken escape or too many parameters."""
    if not text:
        return EMPTY
    values: dict[str, list[str]] = {}
    parts = text.split("&", PARAMS_MAX)
    if len(parts) > PARAMS_MAX:
        raise BadQuery
    for part in parts:
        if part:
            name, _, value = part.partition("=")
            values.setdefault(_unquote(name), []).append(_unquote(value))
    return Params(values)


def _unquote(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text:
        return text
    if _BAD_ESCAPE.search(text):
        raise BadQuery
    return unquote_to_bytes(text).decode("utf-8", "replace")


def parse_bool(text: str) -> bool | None:
    """Go's ParseBool; None for anything else."""
    if text in _TRUE:
        return True
    return False if text in _FALSE else None


def parse_uint(text: str) -> int:
    """Go's ParseUint in base 10, with its error as a 500."""
    if not _UNSIGNED.fullmatch(text):
        raise RequestError(500, f'strconv.ParseUint: parsing "{text}": invalid syntax')
    number = int(text) if len(text) <= 32 else UINT64_MAX + 1
    if number > UINT64_MAX:
        raise RequestError(500, f'strconv.ParseUint: parsing "{text}": value out of range')
    return number


def consistency(params: Params, *, stale_s: float = 0.0) -> tuple[Consistency, float | None]:
    """The consistency mode and the greatest age of a stale answer in seconds.

    ``stale_s`` is the age that may have what is asked for in no mode, 0 for none.
    """
    max_stale: float | None = None
    stale, consistent = "stale" in params, "consistent" in params
    if params.get("max_stale"):
        text = params.get("max_stale")
        try:
            max_stale = parse_s(text)
        except DurationError:
            raise RequestError(400, f'Invalid max_stale value "{text}"') from None
        stale = True
    if stale and consistent:
        raise RequestError(400, "Cannot specify ?stale with ?consistent, conflicting semantics.")
    if "cached" in params and consistent:
        raise RequestError(400, "Cannot specify ?cached with ?consistent, conflicting semantics.")
    if stale:
        return Consistency.STALE, max_stale
    if stale_s > 0 and not consistent and "leader" not in params:
        return Consistency.STALE, stale_s
    return (Consistency.CONSISTENT if consistent else Consistency.DEFAULT), None


def check_cache_control(value: str) -> None:
    """Refuse a Cache-Control header whose numbers are none (contract 1.5)."""
    for part in value.split(","):
        name, _, number = part.strip().partition("=")
        if name.lower() in {"max-age", "stale-if-error"} and not _UNSIGNED.fullmatch(number):
            raise RequestError(400, "Invalid Cache-Control header.")


def freshness(cache_control: str) -> Freshness:
    """What a reader of cached answers accepts; the header was checked. Without one, any age."""
    max_age_s: float | None = None
    stale_if_error_s = 0.0
    for part in cache_control.split(","):
        name, _, number = part.strip().lower().partition("=")
        if name == "max-age":
            max_age_s = float(min(int(number), UINT64_MAX))
        elif name == "stale-if-error":
            stale_if_error_s = float(min(int(number), UINT64_MAX))
        elif name == "must-revalidate":
            max_age_s = 0.0
    return Freshness(max_age_s=max_age_s, stale_if_error_s=stale_if_error_s)


def wait(params: Params, *, default_s: float, max_s: float) -> tuple[int, float]:
    """The index to wait behind and the seconds to wait, without jitter. Index 0: answer at once."""
    wait_s = wait_seconds(params)
    text = params.get("index")
    index = 0
    if text:
        if not _UNSIGNED.fullmatch(text) or len(text) > 20 or int(text) > UINT64_MAX:
            raise RequestError(400, "Invalid index")
        index = int(text)
    return index, min(wait_s if wait_s > 0 else default_s, max_s)


def wait_seconds(params: Params) -> float:
    """``wait`` in seconds, 0 when absent."""
    text = params.get("wait")
    if not text:
        return 0.0
    try:
        return parse_s(text)
    except DurationError:
        raise RequestError(400, "Invalid wait time") from None


def jittered(wait_s: float, rng: random.Random) -> float:
    """A wait with its random addition of up to a sixteenth."""
    return wait_s + rng.random() * wait_s * JITTER_SHARE


_AT_ONCE = {mode: Ask(consistency=mode) for mode in Consistency}


def ask_options(
    params: Params,
    cache_control: str,
    *,
    default_s: float,
    max_s: float,
    rng: random.Random,
    stale_s: float = 0.0,
) -> Ask:
    """How a read must be asked, all common parameters considered in the contract's order."""
    if params is EMPTY and not cache_control and not stale_s:
        return _AT_ONCE[Consistency.DEFAULT]
    if params.get("at"):
        if params.get("index"):
            raise RequestError(400, "Cannot specify ?at with ?index: the past does not change.")
        mode, max_stale_s = consistency(params, stale_s=stale_s)
        return Ask(consistency=mode, max_stale_s=max_stale_s, at=moment(params.get("at")))
    mode, max_stale_s = consistency(params, stale_s=stale_s)
    if cache_control:
        check_cache_control(cache_control)
    index, wait_s = wait(params, default_s=default_s, max_s=max_s)
    if not index:
        if max_stale_s is None:
            return _AT_ONCE[mode]
        return Ask(consistency=mode, max_stale_s=max_stale_s)
    return Ask(
        consistency=mode,
        min_index=index,
        wait_s=jittered(wait_s, rng),
        max_stale_s=max_stale_s,
    )


def moment(text: str) -> At:
    """An index or an RFC 3339 time, for `at`, `since` and `until` (ours)."""
    if _UNSIGNED.fullmatch(text) and len(text) <= 20 and int(text) <= UINT64_MAX:
        return At(index=int(text))
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise RequestError(400, f'"{text}" is neither an index nor an RFC 3339 time')
    return At(stamp=when.timestamp())


def node_meta(params: Params) -> tuple[tuple[str, str], ...]:
    """The ``node-meta`` conditions; a key alone asks for an empty value."""
    if "node-meta" not in params:
        return ()
    pairs = (text.partition(":") for text in params.all("node-meta"))
    return tuple((key, value) for key, _, value in pairs)


def has_meta(meta: Mapping[str, str] | None, wanted: tuple[tuple[str, str], ...]) -> bool:
    """Whether a node's meta meets every condition."""
    found = meta or {}
    return all(found.get(key) == value for key, value in wanted)


def refuse_enterprise(params: Params, headers: Mapping[str, str]) -> None:
    """Namespaces and partitions are not part of this API (contract 1.5)."""
    for name, what in (
        ("X-Consul-Namespace", "Namespaces"),
        ("X-Consul-Partition", "Partitions"),
    ):
        if headers.get(name):
            raise RequestError(
                400,
                f'Bad request: Invalid header: "{name}" - {what} are a Consul Enterprise feature',
            )
    for name, what in (("ns", "Namespaces"), ("partition", "Partitions")):
        if params.get(name):
            raise RequestError(
                400,
                f'Bad request: Invalid query parameter: "{name}"'
                f" - {what} are a Consul Enterprise feature",
            )
