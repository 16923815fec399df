"""What a shell is offered, and that it can be told of it and forget it again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.cli.completion import InstallError, candidates, install, uninstall
from agent.cli.main import TABLE, load

PROGRAM = Path(sys.executable).parent / "lictor"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("lictor mem", ["members"]),
        ("lictor kv ", ["delete", "export", "get", "import", "put"]),
        ("lictor operator raft r", ["remove-peer"]),
        ("lictor kv get -re", ["-recurse"]),
        ("lictor validate -", ["-config-format", "-quiet"]),
        ("lictor nothing ", []),
        ("lictor kv get some-key -re", ["-recurse"]),
        ("lictor kv get nothing", []),
        ("lictor", []),
        ("", []),
        ("lictor kv 'ge", []),
    ],
)
def test_candidates(line: str, found: list[str]) -> None:
    assert candidates(line, TABLE, load) == found


@given(st.text(max_size=40))
def test_no_line_breaks_it(text: str) -> None:
    candidates(f"lictor {text}", TABLE, load)


def test_the_program_answers_a_shell() -> None:
    line = "lictor mem and more"
    done = subprocess.run(
        [PROGRAM, "lictor", "mem", "lictor"],
        env=os.environ | {"COMP_LINE": line, "COMP_POINT": "10"},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stdout == "members\n"


def test_shells_are_told_once_and_forget_it_again(tmp_path: Path) -> None:
    before = {".bashrc": "alias a=b", ".zshrc": "# mine\n"}
    for name, text in before.items():
        (tmp_path / name).write_text(text)
    (tmp_path / ".config" / "fish").mkdir(parents=True)
    files = install("lictor", "/opt/lic tor", tmp_path)
    assert len(files) == 3
    assert "complete -C '/opt/lic tor' lictor" in (tmp_path / ".bashrc").read_text()
    with pytest.raises(InstallError, match="already installed"):
        install("lictor", "/opt/lic tor", tmp_path)
    assert uninstall("lictor", "/opt/lic tor", tmp_path) == files
    assert (tmp_path / ".bashrc").read_text() == "alias a=b\n"
    assert (tmp_path / ".zshrc").read_text() == before[".zshrc"]
    assert not files[2].exists()
    with pytest.raises(InstallError, match="not installed"):
        uninstall("lictor", "/opt/lic tor", tmp_path)


def test_a_user_without_a_shell_is_told(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="no shell"):
        install("lictor", "/opt/lic tor", tmp_path)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_bash_completes_by_it(tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_text("")
    environ = os.environ | {"HOME": str(tmp_path), "PATH": f"{PROGRAM.parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [PROGRAM, "-autocomplete-install"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert str(tmp_path / ".bashrc") in done.stdout
    shown = subprocess.run(
        ["bash", "-c", ". ~/.bashrc; complete -p lictor"],
        env=environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert shown.stdout.startswith("complete -C ")


@pytest.mark.parametrize("words", [("peering", "list"), ("resource",), ("troubleshoot", "proxy")])
def test_what_newer_releases_have_and_we_do_not_is_told(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [PROGRAM, *words], capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"{words[0]} is not supported\n"
