"""`explain restore`: which archive is in force, and which one is on its way."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from agent.backend import Backend
from agent.dates import date
from raftstore.records import Json, Restored
from raftstore.restore_queries import GetRestore


def restore_explainer(
    backend: Backend,
) -> Callable[[Sequence[str], Mapping[str, str]], Awaitable[Json]]:
    """What answers about restores."""

    async def restore(arguments: Sequence[str], query: Mapping[str, str]) -> Json:
        found = (await backend.ask(GetRestore())).value
        return {"Last": _shown(found.last), "Staged": _shown(found.staged)}

    return restore


def _shown(restored: Restored | None) -> Json:
    if restored is None:
        return None
    return {
        "ID": restored.id,
        "SavedIndex": restored.saved_index,
        "SavedClusterID": restored.saved_cluster,
        "Parts": restored.parts,
        "StagedBytes": restored.staged_bytes,
        "BegunIndex": restored.begun_index,
        "BegunAt": date(restored.begun_at),
        "Index": restored.index,
        "At": date(restored.at) if restored.index else None,
    }
