"""The key `watches` -> what a running agent watches (cli-config contract, section B4)."""

from __future__ import annotations

from agent.config.bounds import Limits
from agent.config.decode import Values
from agent.errors import ConfigError
from agent.watches.plan import Watch, WatchError, parse_watch


def watches(values: Values, limits: Limits) -> tuple[Watch, ...]:
    """All watches of all files. Raises ConfigError with the first that makes none."""
    given = values.get("watches", ())
    if len(given) > limits.watches_max:
        raise ConfigError(
            f"watches: {len(given)} are more than limits.watches_max = {limits.watches_max}"
        )
    try:
        return tuple(parse_watch(each) for each in given)
    except WatchError as error:
        raise ConfigError(str(error)) from None
