"""When the compiled form of the proxy is used."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.connect import native

ROOT = Path(native.__file__).parents[2]
SOURCES = st.dictionaries(st.text(max_size=3), st.binary(max_size=3), max_size=4)


@given(SOURCES, SOURCES, st.text(max_size=2), st.text(max_size=2))
def test_a_fingerprint_is_of_every_byte_name_and_term(
    one: dict[str, bytes], two: dict[str, bytes], here: str, there: str
) -> None:
    same = native.fingerprint(one, here) == native.fingerprint(two, there)
    assert same == (one == two and here == there)


def test_what_is_compiled_is_there_and_what_is_left_is_named_rightly() -> None:
    names = {path.name for path in native.hot(ROOT / "proxy")}
    assert {"head.py", "short_exchange.py", "core.py", "observer.py"} <= names
    left = {
        path.name for name in native.PACKAGES for path in (ROOT / "proxy" / name).glob("*.py")
    } - names
    assert left == native.LEFT


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the package with a build beside it: of the same source, so that it needs none."""
    for place in (tmp_path, tmp_path / native.DIRECTORY):
        shutil.copytree(
            ROOT / "proxy", place / "proxy", ignore=shutil.ignore_patterns("__pycache__")
        )
    made_of = native.sources(tmp_path / "proxy")
    manifest = {"fingerprint": native.fingerprint(made_of, native.terms()), "modules": []}
    (tmp_path / native.DIRECTORY / native.MANIFEST).write_text(json.dumps(manifest))
    return tmp_path


def used(tree: Path, mode: str, first: str = "") -> tuple[str, str]:
    """Where the proxy is loaded from, and what is said of it."""
    code = (
        f"import sys; sys.path.append({str(ROOT)!r})\n"
        f"{first}\nfrom agent.connect import native\n"
        f"try: why = native.use({mode!r})\n"
        "except native.NotNative as error: why = f'refused: {error}'\n"
        "import proxy; print(proxy.__file__); print(why)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, env=os.environ | {"PYTHONPATH": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    place, why = ran.stdout.split("\n")[:2]
    return str(Path(place).relative_to(tree)), why


def test_a_build_is_used_while_it_fits_the_source(tree: Path) -> None:
    source, compiled = "proxy/__init__.py", f"{native.DIRECTORY}/proxy/__init__.py"
    assert used(tree, "require") == (compiled, "")
    assert used(tree, "off") == (source, "it is switched off")
    assert used(tree, "auto", "import proxy") == (source, "the proxy is loaded already")
    with (tree / "proxy" / "authz.py").open("a") as file:
        file.write("# changed\n")
    assert used(tree, "auto")[0] == source
    place, why = used(tree, "require")
    assert place == source and why.startswith("refused: ") and "built of other source" in why


def test_a_manifest_that_is_none_is_said(tmp_path: Path) -> None:
    package, directory = ROOT / "proxy", tmp_path
    assert native.unusable(package, directory) == "none was built"
    for text in ("", "[]", "\xff", '{"fingerprint": 1}'):
        (directory / native.MANIFEST).write_text(text, encoding="latin-1")
        assert native.unusable(package, directory)


def test_nothing_interpreted_inherits_from_what_is_compiled() -> None:
    """Python refuses such a class, but only when somebody first makes one of it."""
    compiled = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in native.hot(ROOT / "proxy")
    }
    wrong = []
    for name in ("proxy", "agent"):
        for path in (ROOT / name).rglob("*.py"):
            if ".".join(path.relative_to(ROOT).with_suffix("").parts) in compiled:
                continue
            tree = ast.parse(path.read_text())
            taken = {
                alias.asname or alias.name: node.module
                for node in ast.walk(tree)
                if isinstance(node, ast.ImportFrom)
                for alias in node.names
            }
            wrong += [
                f"{path.name}: {node.name}({ast.unparse(base)})"
                for node in ast.walk(tree)
                if isinstance(node, ast.ClassDef)
                for base in node.bases
                if taken.get(ast.unparse(base).split("[")[0]) in compiled
            ]
    assert not wrong
