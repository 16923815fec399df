"""Every source module has a test file of its own, or is named here with the test that covers it."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("agent", "raftstore", "gossip", "proxy")

#: Modules without a file of their own -> the test that would fail if they were wrong.
COVERED_BY: dict[str, str] = dict(
    line.split(maxsplit=1)
    for line in (Path(__file__).parent / "covered_by.txt").read_text().splitlines()
    if line and not line.startswith("#")
)


def sources() -> list[str]:
    """All modules with code in them."""
    return [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
        if path.name != "__main__.py" and len(path.read_text().splitlines()) > 20
    ]


@pytest.mark.parametrize("source", sources())
def test_every_module_has_its_test(source: str) -> None:
    path = Path(source)
    stem = path.parent.name if path.name == "__init__.py" else path.stem
    folder = path.parent.parent if path.name == "__init__.py" else path.parent
    own = ROOT / "tests" / folder / f"test_{stem}.py"
    if own.exists():
        assert source not in COVERED_BY, f"{source} has its own test now: take it off the list"
        return
    assert source in COVERED_BY, f"no {own.relative_to(ROOT)}"
    assert (ROOT / COVERED_BY[source]).exists(), f"{COVERED_BY[source]} is gone"
