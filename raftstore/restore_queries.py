"""What may be asked about archives that are restored; numbered with queries.py."""

from __future__ import annotations

from dataclasses import dataclass

from raftstore.queries import Footprint, Query, numbered
from raftstore.records import RestoreView


@numbered(26, RestoreView)
@dataclass(frozen=True, slots=True)
class GetRestore(Query[RestoreView]):
    """Which archive was restored last, and which one is being staged.

    Wakes at the former only: parts come by the thousand.
    """

    def footprint(self) -> tuple[Footprint, ...]:
        return (("restores", ""),)
