"""The library below a program's files does what its control file says, and a power failure takes
exactly what was not synced."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jepsen_lite.nemeses import disk
from jepsen_lite.targets import Place

pytestmark = pytest.mark.skipif(disk._compiler() is None, reason="no C compiler")


def run(place: Place, script: str) -> subprocess.CompletedProcess[str]:
    """Run a Python script whose files below ``data`` are on the broken disk."""
    return subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | disk._environment(place),
        cwd=place.folder / "data",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "n1"
    (folder / "data").mkdir(parents=True)
    return Place(number=1, address="127.0.0.1", seen_as="127.0.0.1", ports={}, folder=folder)


WRITES = """
import os
file = os.open("log", os.O_RDWR | os.O_CREAT, 0o600)
os.pwrite(file, b"synced....", 0)
os.fsync(file)
os.pwrite(file, b"LOST", 0)
os.pwrite(file, b"and this too", 20)
"""


def test_what_was_synced_stays_and_what_was_not_may_go(place: Place) -> None:
    assert run(place, WRITES).returncode == 0
    path = place.folder / "data" / "log"
    assert path.read_bytes().startswith(b"LOST")
    kept = path.read_bytes()
    undo = {log: log.read_bytes() for log in (place.folder / "undo").iterdir()}
    seen: set[bytes] = set()
    for seed in range(40):
        path.write_bytes(kept)
        for log, raw in undo.items():
            log.write_bytes(raw)
        disk.forget(place.folder, random.Random(seed))
        left = path.read_bytes()
        assert left[4:10] == b"ed...."
        seen.add(left.rstrip(b"\0"))
    assert b"synced...." in seen  # everything unsynced is gone
    assert kept in seen  # everything had arrived
    assert len(seen) > 3  # and what lies between, torn writes too


def test_a_file_without_unsynced_writes_is_left_alone(place: Place) -> None:
    assert run(place, WRITES.rsplit('os.pwrite(file, b"LOST"', 1)[0]).returncode == 0
    assert disk.forget(place.folder, random.Random(1)) == 0
    assert (place.folder / "data" / "log").read_bytes() == b"synced...."


def test_descriptors_that_sync_by_themselves_lose_nothing(place: Place) -> None:
    script = WRITES.replace("os.O_CREAT", "os.O_CREAT | os.O_DSYNC")
    assert run(place, script).returncode == 0
    assert disk.forget(place.folder, random.Random(1)) == 0


ORDERED = """
import os, sys, time
file = os.open("log", os.O_RDWR | os.O_CREAT, 0o600)
begun = time.monotonic()
try:
    os.pwrite(file, b"x", 0)
    os.fsync(file)
except OSError as error:
    print(error.errno)
print(round(time.monotonic() - begun, 2), file=sys.stderr)
"""


@pytest.mark.parametrize(("what", "errno"), [("full", 28), ("error", 5)])
def test_writes_and_syncs_fail_when_told_to(place: Place, what: str, errno: int) -> None:
    environment = disk._environment(place)
    disk._order(place, what, 1)
    done = subprocess.run(
        [sys.executable, "-c", ORDERED],
        env=os.environ | environment,
        cwd=place.folder / "data",
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.split() == [str(errno)]
    if what == "error":
        assert disk._control(place).read_text() == "none 0\n"  # one sync alone


def test_a_hanging_sync_returns_when_the_disk_is_well_again(place: Place) -> None:
    environment = disk._environment(place)
    disk._order(place, "hang")
    process = subprocess.Popen(
        [sys.executable, "-c", ORDERED],
        env=os.environ | environment,
        cwd=place.folder / "data",
        stderr=subprocess.PIPE,
    )
    deadline = time.monotonic() + 20
    while not list((place.folder / "undo").iterdir()) and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.3)
    disk._order(place, "none")
    assert process.wait(10) == 0
    assert process.stderr is not None
    process.stderr.close()


def test_files_elsewhere_are_left_alone(place: Place, tmp_path: Path) -> None:
    environment = disk._environment(place)
    disk._order(place, "full")
    subprocess.run(
        [sys.executable, "-c", "open('elsewhere', 'w').write('well')"],
        env=os.environ | environment,
        cwd=tmp_path,
        check=True,
        timeout=30,
    )
    assert (tmp_path / "elsewhere").read_text() == "well"
