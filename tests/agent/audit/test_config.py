"""The `audit` stanza, in both forms."""

from __future__ import annotations

from typing import Any

import pytest

from agent.audit.config import SinkConfig, audit_sinks
from agent.errors import ConfigError

SINK = {
    "type": "file", "format": "json", "path": "/a/audit.json", "delivery_guarantee": "best-effort",
    "rotate_duration": "1h", "rotate_max_files": 3, "rotate_bytes": 1000,
}  # fmt: skip
READ = SinkConfig(
    name="s", path="/a/audit.json", rotate_bytes=1000, rotate_duration_s=3600.0, rotate_max_files=3
)


def test_both_forms_say_the_same() -> None:
    assert audit_sinks({"enabled": True, "sink": {"s": SINK}}) == (READ,)
    assert audit_sinks([{"enabled": True, "sink": [{"s": [SINK]}]}]) == (READ,)
    assert audit_sinks({"sink": {"s": SINK}}) == ()
    assert audit_sinks({"enabled": True}) == audit_sinks({}) == ()


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ({"enabled": "yes"}, "audit.enabled: expected type 'bool'"),
        ({"bogus": 1}, "invalid config key audit.bogus"),
        ({"sink": {"s": {**SINK, "type": "syslog"}}}, 'audit.sink "s": type must be "file"'),
        ({"sink": {"s": {**SINK, "mode": "0644"}}}, "its owner's alone"),
        ({"sink": {"s": {"type": "file"}}}, "path is missing"),
        ({"sink": {"s": {**SINK, "rotate_bytes": -1}}}, "rotate_bytes must be a number"),
        ({"sink": {"s": {**SINK, "rotate_bytes": True}}}, "rotate_bytes must be a number"),
        ({"sink": {"s": {**SINK, "rotate_duration": "soon"}}}, "rotate_duration: "),
        ({"sink": {"s": {**SINK, "rotate_duration": "-1s"}}}, "not negative"),
        ({"sink": {"s": {**SINK, "bogus": 1}}}, "invalid config key bogus"),
        ({"sink": {"s": SINK, "t": SINK}}, "two of them have the same path"),
        ({"sink": {str(n): {"path": str(n)} for n in range(9)}}, "8 at most"),
        ({"sink": "x"}, "audit.sink: expected an object"),
        (7, "audit: expected an object"),
    ],
)
def test_what_is_wrong_is_told(value: Any, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        audit_sinks(value)
