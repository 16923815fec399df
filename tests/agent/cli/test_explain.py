"""How `explain` shows what an agent tells."""

from __future__ import annotations

from agent.cli.explain import outline


def test_text_of_several_lines_stays_within_its_place() -> None:
    found = {"Checks": [{"Output": "one\ntwo\n\nthree\n", "Status": "critical", "Since": None}]}
    assert list(outline(found)) == [
        "Checks:",
        "  - Output:",
        "      | one",
        "      | two",
        "      |",
        "      | three",
        "    Status: critical",
        "    Since: -",
    ]
