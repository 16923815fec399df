"""The targets hold for what was recorded, so that they do not rot where atheris is missing."""

from __future__ import annotations

import pytest

from tests.fuzz.targets import TARGETS, seeds


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_holds_for_recorded_traffic(target: str) -> None:
    given = list(seeds(target))
    assert len(given) >= 5
    for data in [*given[::7], b"", given[0][:-1]]:
        TARGETS[target](data)
