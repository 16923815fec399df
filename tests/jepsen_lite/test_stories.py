"""What people read of a run: the story of a drill, the timeline, the table of a matrix."""

from html.parser import HTMLParser
from pathlib import Path

import pytest

from jepsen_lite import drill, suite
from jepsen_lite.checkers import Validity
from jepsen_lite.checkers.compose import check_all
from jepsen_lite.history import INFO, NEMESIS, Op, read_history
from jepsen_lite.namespaces import Namespaces
from jepsen_lite.nemeses import NEMESES, chosen
from jepsen_lite.network import NetworkError
from jepsen_lite.run import Options
from jepsen_lite.timeline import as_html
from jepsen_lite.workloads import WORKLOADS

DATA = Path(__file__).parents[1] / "data" / "jepsen_lite"


def noted(at: float, f: str, value: str) -> Op:
    return Op(at=at, process=NEMESIS, type=INFO, f=f, value=value)


def test_a_story_has_a_chapter_for_each_fault() -> None:
    ops = read_history(DATA / "real_modes.jsonl")
    last = max(op.at for op in ops)
    ops += [noted(last / 2, "inject", "kill-leader: killed n1"), noted(last / 2, "heal", "whole")]
    told = drill.story(ops, check_all(WORKLOADS["modes"].checkers, ops))
    assert "1. At" in told
    assert "killed n1" in told
    assert "without an acknowledged change" in told
    assert "Judged over everything: valid." in told


def test_the_script_has_only_what_there_is() -> None:
    assert set(drill.SCRIPT) <= set(NEMESES)
    assert drill.in_order(("kill", "halves")).needs_network


class _Whole(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_a_timeline_shows_faults_and_escapes_what_clients_wrote() -> None:
    ops = read_history(DATA / "double_cas.jsonl")
    ops += [noted(0.1, "inject", "<script>alert(1)</script>")]
    page = as_html("a & b", ops, check_all(WORKLOADS["cas"].checkers, ops))
    assert "<script>" not in page
    parser = _Whole()
    parser.feed(page)
    assert "a & b" in parser.texts
    assert "#c22" in page  # what the verdict names is red


def test_a_matrix_is_as_bad_as_its_worst_run() -> None:
    rows = [
        suite.Row(options=Options(), validity=Validity.VALID, operations=10),
        suite.Row(options=Options(), validity=None, note="no compiler"),
        suite.Row(options=Options(), validity=Validity.INVALID, note="lost"),
    ]
    assert suite.worst_of(rows) is Validity.INVALID
    assert suite.worst_of(rows[:2]) is Validity.VALID
    assert suite.worst_of(rows[1:2]) is Validity.UNKNOWN
    assert suite.as_table(rows).count("\n") == 5
    assert "not run" in suite.as_line(rows[1])


def test_an_unknown_nemesis_is_refused() -> None:
    with pytest.raises(KeyError):
        chosen(("kill", "gremlin"))


def test_a_network_that_cannot_be_made_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NetworkError, match="ip"):
        Namespaces(3).open()
