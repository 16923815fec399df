"""When files are put aside, and which ones go."""

from __future__ import annotations

from dataclasses import replace

from agent.audit.config import SinkConfig
from agent.audit.rotation import aside, is_due, superfluous

CONFIG = SinkConfig(
    name="s", path="/d/audit.json", rotate_bytes=100, rotate_duration_s=60, rotate_max_files=2
)


def due(size: int, age_s: float, more: int = 10, config: SinkConfig = CONFIG) -> bool:
    return is_due(config, size=size, begun=1000.0, now=1000.0 + age_s, more=more)


def test_a_file_is_put_aside_by_size_and_by_age() -> None:
    assert not due(90, 59)
    assert due(91, 0)
    assert due(1, 60)
    assert not due(0, 1e9, more=1000)
    assert not due(10**9, 1e9, config=replace(CONFIG, rotate_bytes=0, rotate_duration_s=0))


def test_the_newest_are_kept_and_nothing_else_is_touched() -> None:
    names = ["audit.json", "audit-9.json", "audit-10.json", "audit-11.json", "audit-x.json",
             "audit-12.json.gz", "other-1.json"]  # fmt: skip
    assert aside("/d/audit.json", 12) == "/d/audit-12.json"
    assert superfluous(CONFIG, names) == ["audit-9.json"]
    assert superfluous(replace(CONFIG, rotate_max_files=0), names) == []
