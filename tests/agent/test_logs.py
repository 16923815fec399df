"""The line format that operators' tools parse."""

from __future__ import annotations

import json
import logging

from agent.logs import JsonFormatter, LineFormatter


def record() -> logging.LogRecord:
    entry = logging.LogRecord(
        "lictor.agent.dns", logging.WARNING, "x.py", 1, "slow answer name=%s", ("web",), None
    )
    entry.created = 1_769_853_600.25
    return entry


def test_a_line_is_time_level_topic_message() -> None:
    line = LineFormatter().format(record())
    assert line == "2026-01-31T10:00:00.250Z [WARN]  agent.dns: slow answer name=web"


def test_json_has_the_same_facts_under_consuls_keys() -> None:
    entry = json.loads(JsonFormatter().format(record()))
    assert entry == {
        "@level": "warning",
        "@message": "slow answer name=web",
        "@module": "agent.dns",
        "@timestamp": "2026-01-31T10:00:00.250Z",
    }
