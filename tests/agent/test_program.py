"""Files of the program that are replaced under a running process, on packages of our own."""

from __future__ import annotations

import importlib
import itertools
import logging
import os
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agent.program import PACKAGES, Program, ProgramReplaced, folders, looks

_numbers = itertools.count()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that is loaded, with parts that are not."""
    folder = tmp_path / f"ours{next(_numbers)}"
    (folder / "deep").mkdir(parents=True)
    for name in ("__init__", "first", "second", "deep/__init__", "deep/third"):
        (folder / f"{name}.py").write_text(f"SAYS = {name!r}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module(folder.name)
    return folder


@pytest.fixture
def guarded() -> Iterator[Callable[[Path], Program]]:
    made: list[Program] = []

    def guard(folder: Path) -> Program:
        made.append(Program((str(folder),)))
        made[-1].on_guard()
        return made[-1]

    yield guard
    for program in made:
        program.off_guard()
    assert not any(isinstance(finder, Program) for finder in sys.meta_path)


def replaced(path: Path) -> None:
    """By other text of the same length, as the next release may have it."""
    path.write_text(path.read_text().swapcase())
    later = path.stat().st_mtime_ns + 1_000_000
    os.utime(path, ns=(later, later))


async def test_what_is_as_it_was_is_loaded(package, guarded) -> None:
    program = guarded(package)
    for part in ("first", "deep.third"):
        name = f"{package.name}.{part}"
        assert importlib.import_module(name).SAYS.endswith(part.rpartition(".")[2])
    assert not await program.replaced()
    assert (program.stats.replaced_current, program.stats.loads_refused) == (0, 0)


async def test_another_release_is_not_loaded_into_this_one(package, guarded, caplog) -> None:
    program = guarded(package)
    importlib.import_module(f"{package.name}.first")
    replaced(package / "first.py")
    replaced(package / "deep" / "third.py")
    assert importlib.import_module(f"{package.name}.first"), "it is here already"
    caplog.set_level(logging.WARNING, "lictor.agent.program")
    for _ in range(2):
        with pytest.raises(
            ProgramReplaced, match=f"third is not loaded.*kill -USR2 {os.getpid()} "
        ):
            importlib.import_module(f"{package.name}.deep.third")
    assert importlib.import_module(f"{package.name}.second").SAYS == "second"
    assert (program.stats.replaced_current, program.stats.loads_refused) == (1, 2)
    assert await program.replaced()
    assert len(caplog.records) == 1, "it is said once"


async def test_what_the_next_release_does_not_have_is_no_riddle(package, guarded) -> None:
    guarded(package)
    (package / "second.py").unlink()
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"{package.name}.second")
    replaced(package / "__init__.py")
    with pytest.raises(ProgramReplaced):
        importlib.import_module(f"{package.name}.second")


async def test_the_same_release_again_is_no_other(package, guarded) -> None:
    program = guarded(package)
    path = package / "first.py"
    text, stat = path.read_text(), path.stat()
    replaced(path)
    assert await program.replaced()
    path.write_text(text)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert not await program.replaced()
    assert program.stats.replaced_current == 0
    assert importlib.import_module(f"{package.name}.first").SAYS == "first"


def test_what_comes_out_of_an_archive_is_left_alone(package, guarded, monkeypatch) -> None:
    archive = package.parent / "program.zip"
    name = f"{package.name}zipped"
    with zipfile.ZipFile(archive, "w") as file:
        for part in ("__init__", "first"):
            file.write(package / f"{part}.py", f"{name}/{part}.py")
    monkeypatch.syspath_prepend(str(archive))
    importlib.import_module(name)
    guarded(archive / name)
    archive.touch()
    assert importlib.import_module(f"{name}.first").SAYS == "first"


def test_all_of_the_program_is_looked_at() -> None:
    found = folders()
    assert [os.path.basename(folder) for folder in found] == list(PACKAGES)
    files = sum(1 for folder in found for _ in Path(folder).rglob("*.py"))
    assert len(looks(found)) == files
    assert looks(("/no/such/folder",)) == frozenset()
