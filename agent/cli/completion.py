"""Completion of a command line in a shell, and how shells are told of it.

A shell that completes calls the program with the line in COMP_LINE and the cursor's place in
COMP_POINT, and reads candidates from its output: the way of bash's `complete -C`, which zsh knows
too. fish is given a file that calls the program in the same way.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.cli.command import Command

Table = Mapping[tuple[str, ...], tuple[str, str]]


class InstallError(Exception):
    """A shell could not be told, or was told before; the message is for the user."""


def candidates(line: str, table: Table, load: Callable[[tuple[str, ...]], Command]) -> list[str]:
    """What the last word of ``line``, which ends at the cursor, may become."""
    words = _words(line)[1:]
    if not words:
        return []
    *before, last = words
    path: tuple[str, ...] = ()
    for word in before:
        if (*path, word) not in table:
            break
        path = (*path, word)
    rest = before[len(path) :]
    below = sorted({p[len(path)] for p in table if len(p) > len(path) and p[: len(path)] == path})
    found: list[str] = []
    if not rest:
        found += below
    if path and table[path][0]:
        found += sorted(f"-{flag.name}" for flag in load(path).all_flags)
    return [word for word in found if word.startswith(last)]


def _words(line: str) -> list[str]:
    """The words of a line that may end in the middle of one, the last one possibly empty."""
    try:
        words = shlex.split(line)
    except ValueError:  # an open quote
        words = line.split()
    return [*words, ""] if not line or line[-1].isspace() else words


@dataclass(frozen=True, slots=True)
class _Shell:
    """How one shell is told: lines in its file, or a file of its own."""

    file: Path
    lines: str
    own_file: bool = False


def install(program: str, path: str, home: Path) -> list[Path]:
    """Tell every shell that this user has of the program at ``path``; gives the files.

    Raises InstallError and OSError.
    """
    changed = []
    for shell in _shells(program, path, home):
        old = shell.file.read_text() if shell.file.exists() else ""
        if shell.lines in old:
            raise InstallError(f"already installed in {shell.file}")
        shell.file.parent.mkdir(parents=True, exist_ok=True)
        gap = "\n" if old and not old.endswith("\n") else ""
        shell.file.write_text(shell.lines if shell.own_file else f"{old}{gap}{shell.lines}")
        changed.append(shell.file)
    if not changed:
        raise InstallError("no shell to install for: neither bash nor zsh nor fish is used here")
    return changed


def uninstall(program: str, path: str, home: Path) -> list[Path]:
    """Take it back. Raises InstallError when no shell was told, and OSError."""
    changed = []
    for shell in _shells(program, path, home):
        old = shell.file.read_text() if shell.file.exists() else ""
        if shell.lines not in old:
            continue
        if shell.own_file:
            shell.file.unlink()
        else:
            shell.file.write_text(old.replace(shell.lines, ""))
        changed.append(shell.file)
    if not changed:
        raise InstallError("not installed")
    return changed


def _shells(program: str, path: str, home: Path) -> Iterator[_Shell]:
    path = shlex.quote(path)
    bash = next((f for f in (home / ".bashrc", home / ".bash_profile") if f.exists()), None)
    if bash is not None:
        yield _Shell(bash, f"complete -C {path} {program}\n")
    zsh = home / ".zshrc"
    if zsh.exists():
        yield _Shell(
            zsh,
            # bashcompinit wants compdef, which a file of few lines may not have loaded.
            "(( $+functions[compdef] )) || { autoload -Uz compinit && compinit -i }\n"
            "autoload -U +X bashcompinit && bashcompinit\n"
            f"complete -o nospace -C {path} {program}\n",
        )
    fish = home / ".config" / "fish"
    if fish.is_dir():
        yield _Shell(
            fish / "completions" / f"{program}.fish",
            f"complete -c {program} -f -a "
            f"'(env COMP_LINE=(commandline -cp) COMP_POINT=(commandline -C) {path})'\n",
            own_file=True,
        )
