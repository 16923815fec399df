"""A phase of `make test`: what a second look forgives, and what it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.phases import AGAIN_MAX, BEGUN_FIRST, ROOT, compile_once, marked, phase, phases

#: Fails the first time it is run.
ONCE = """
from pathlib import Path

def test_late():
    mark = Path(__file__).with_suffix(".seen")
    seen = mark.exists()
    mark.touch()
    assert seen
"""
ALWAYS = "def test_wrong():\n    assert False\n"
QUIET = ("-p", "no:xdist")


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plugins take most of the time that these small runs take."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def test_what_passes_alone_is_let_through_and_named(tmp_path: Path) -> None:
    (tmp_path / "test_once.py").write_text(ONCE)
    again: list[str] = []
    assert phase(QUIET, again, tmp_path) == 0
    assert again == ["test_once.py::test_late"]


def test_what_fails_twice_fails(tmp_path: Path) -> None:
    (tmp_path / "test_once.py").write_text(ONCE)
    (tmp_path / "test_always.py").write_text(ALWAYS)
    again: list[str] = []
    assert phase(QUIET, again, tmp_path) == 1
    assert again == []


def test_many_failures_get_no_second_look(tmp_path: Path) -> None:
    for number in range(AGAIN_MAX + 1):
        (tmp_path / f"test_once{number}.py").write_text(ONCE)
    assert phase(QUIET, [], tmp_path) == 1


def test_what_cannot_be_collected_fails_at_once(tmp_path: Path) -> None:
    (tmp_path / "test_broken.py").write_text("import nothing_of_this_name")
    (tmp_path / "test_once.py").write_text(ONCE)
    assert phase(QUIET, [], tmp_path) != 0


def test_files_that_take_longest_are_begun_first() -> None:
    found = [Path(name).name for name in marked(ROOT, "e2e", "interop")]
    assert set(found[: len(BEGUN_FIRST)]) == set(BEGUN_FIRST)
    assert found[len(BEGUN_FIRST) :] == [name for name in found if name not in BEGUN_FIRST]


def test_all_passed_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_fine.py").write_text("def test_fine():\n    pass\n")
    again: list[str] = []
    assert phase(QUIET, again, tmp_path) == 0
    assert again == []


def test_the_files_of_a_mark_are_found(tmp_path: Path) -> None:
    folder = tmp_path / "tests" / "deep"
    folder.mkdir(parents=True)
    (folder / "test_one.py").write_text("pytestmark = [pytest.mark.e2e, pytest.mark.calm]")
    (folder / "test_two.py").write_text("@pytest.mark.calm\ndef test_this(): ...")
    (folder / "test_three.py").write_text("def test_that(): ...")
    found = ["tests/deep/test_one.py", "tests/deep/test_two.py"]
    assert marked(tmp_path, "calm", "alone") == found
    assert marked(tmp_path, "e2e") == found[:1]


def test_every_phase_has_files() -> None:
    first, *others = phases(ROOT)
    assert "tests/repo" in first[-1]
    assert all(Path(ROOT, each[-1]).is_file() for each in others)


def test_tests_are_compiled_before_processes_of_a_phase_each_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    folder = tmp_path / "tests"
    folder.mkdir()
    for name in ("one", "two", "broken"):
        (folder / f"test_{name}.py").write_text("def test_fine():\n    pass\n")
    (folder / "test_broken.py").write_text("import nothing_of_this_name")
    compile_once(tmp_path)
    compiled = {path.name.partition(".")[0] for path in (folder / "__pycache__").iterdir()}
    assert compiled == {"test_one", "test_two", "test_broken"}
