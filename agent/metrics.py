"""Names of metrics, and who counts them.

Libraries count in plain ``Stats`` dataclasses; their fields become metrics at the moment somebody
reads them, so counting costs an attribute and a metric exists, at zero, from the start.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from agent.exposition import Exposition


#: Reads one area's counters; called at exposition time.
Source = Callable[[], Any]


class AgentMetrics:
    """All metrics of this process."""

    def __init__(self) -> None:
        self._sources: dict[str, Source] = {}
        self._prefix = "lictor"
        self._tells: Callable[[str], bool] = lambda name: True
        self._exposition: Exposition | None = None

    def choose(self, prefix: str, tells: Callable[[str], bool]) -> None:
        """Tell only metrics for which ``tells`` says so, under names that begin with ``prefix``."""
        self._prefix, self._tells = prefix, tells

    def add(self, area: str, source: Source) -> None:
        """Expose what ``source`` returns as ``<prefix>_<area>_...``."""
        assert area not in self._sources, f"metrics area {area} is taken"
        self._sources[area] = source

    def fields(self) -> Iterator[tuple[str, str, Any]]:
        """Full name, short name and value of everything that is to be told, as it is now."""
        for area, source in self._sources.items():
            for name, value in _fields(source()):
                full = f"{self._prefix}_{area}_{name}"
                if self._tells(full):
                    yield full, name, value

    def collect(self) -> Iterator[Metric]:
        """Every metric as it is now."""
        return self._exposed().collect()

    def text(self) -> str:
        """The Prometheus text format."""
        return self._exposed().text()

    def _exposed(self) -> Exposition:
        if self._exposition is None:
            # 2 MB and 25 ms of a library, for agents whose metrics somebody reads. Whoever does
            # so in the loop has had it loaded (agent/late.py).
            from agent.exposition import Exposition

            self._exposition = Exposition(self.fields)
        return self._exposition

    def flat(self) -> dict[str, dict[str, str]]:
        """The same numbers as Consul's `Stats` sections: section -> key -> text."""
        sections: dict[str, dict[str, str]] = {}
        for area, source in self._sources.items():
            sections[area] = {
                name: str(value)
                for name, value in _fields(source())
                if isinstance(value, int | float | str)
            }
        return sections


def _fields(stats: Any) -> Iterator[tuple[str, Any]]:
    """Names and values; those of a part within the part get its name in front."""
    if isinstance(stats, Mapping):
        yield from stats.items()
        return
    for field in dataclasses.fields(stats):
        value = getattr(stats, field.name)
        if dataclasses.is_dataclass(value):
            yield from ((f"{field.name}_{name}", inner) for name, inner in _fields(value))
        else:
            yield field.name, value
