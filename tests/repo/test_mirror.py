"""Every source module has a test file of its own, or is named here with the test that covers it."""

from __future__ import annotations

from pathlib import Path

from tests.repo.sources import ROOT, modules, text

#: Modules without a file of their own -> the test that would fail if they were wrong.
COVERED_BY: dict[str, str] = dict(
    line.split(maxsplit=1)
    for line in (Path(__file__).parent / "covered_by.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


def test_every_module_has_its_test() -> None:
    wrong = [
        problem
        for source in sorted(modules())
        if not source.endswith("__main__.py") and len(text(ROOT / source).splitlines()) > 20
        if (problem := trouble(Path(source)))
    ]
    assert not wrong, wrong


def trouble(source: Path) -> str:
    """What is wrong with the test of a module; empty if nothing is."""
    package = source.name == "__init__.py"
    stem = source.parent.name if package else source.stem
    folder = source.parent.parent if package else source.parent
    own = Path("tests") / folder / f"test_{stem}.py"
    other = COVERED_BY.get(str(source))
    if (ROOT / own).exists():
        return f"{source} has its own test now: take it off the list" if other else ""
    if other is None:
        return f"{source} has no {own}"
    return "" if (ROOT / other).exists() else f"{other} is gone"
