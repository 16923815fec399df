"""The unit, the image and the sources that they speak of agree with the program."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from agent.cli.agent import read_flags
from agent.cli.flags import parse
from agent.cli.main import load

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging" / "lictor.service"
DOCKERFILE = ROOT / "Dockerfile"


def setting(name: str) -> str:
    """A setting of the unit."""
    found = re.search(rf"^{name}=(.*)$", UNIT.read_text(), re.MULTILINE)
    assert found, name
    return found[1]


def test_the_unit_starts_an_agent_with_flags_that_exist() -> None:
    program, command, *words = shlex.split(setting("ExecStart"))
    assert (Path(program).name, command) == ("lictor", "agent")
    flags = read_flags(parse(load(("agent",)).all_flags, words))
    assert flags.values["data_dir"] == "/var/lib/" + setting("StateDirectory")
    assert flags.paths == ("/etc/" + setting("ConfigurationDirectory"),)
    assert setting("Type") == "notify"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "lictor.service"
    text = UNIT.read_text().replace("/opt/lictor/bin/lictor", "/bin/true")
    unit.write_text(re.sub("^Documentation=.*$", "", text, flags=re.MULTILINE))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    ours = [line for line in done.stderr.splitlines() if "lictor.service" in line]
    assert not ours, ours


def test_the_image_is_made_of_what_is_there() -> None:
    text = DOCKERFILE.read_text()
    for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.MULTILINE):
        *sources, _ = line.split()
        for source in sources:
            assert (ROOT / source).exists(), source
    packages = re.search(r"^packages = (.*)$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages
    for package in re.findall(r'"(\w+)"', packages[1]):
        assert f"COPY {package} ./{package}\n" in text, package


def test_what_the_image_runs_exists() -> None:
    text = DOCKERFILE.read_text()
    words = re.findall(r'"([^"]+)"', re.findall(r"^CMD (.*)$", text, re.MULTILINE)[-1])
    parse(load((words[0],)).all_flags, words[1:])
    check = re.search(r'^HEALTHCHECK .*CMD \["lictor", "(\w+)"\]$', text, re.MULTILINE)
    assert check
    load((check[1],))


def test_versions_can_be_taken_from_the_lock_file() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    pinned = re.findall(r"^[a-zA-Z0-9._-]+==[^ ]+", lock, re.MULTILINE)
    declared = re.search(
        r"^dependencies = \[(.*?)^\]", (ROOT / "pyproject.toml").read_text(), re.M | re.S
    )
    assert declared
    names = set(re.findall(r'^\s*"([a-z0-9-]+)', declared[1], re.MULTILINE))
    assert names <= {line.partition("==")[0].lower() for line in pinned}
