"""Disks are slow, hang, fail, fill up, forget what was not synced, and rot.

A small library (``disk_faults.c``, compiled when it is first wanted) stands between the program and
its files under the node's ``data`` folder, and does what its control file says.
"""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
import time
from pathlib import Path

from jepsen_lite.cluster import Cluster, Node
from jepsen_lite.nemeses.members import make_whole, whole
from jepsen_lite.nemeses.nemesis import Nemesis
from jepsen_lite.nemeses.processes import leader_or_any, named, running
from jepsen_lite.targets import Place

_SOURCE = Path(__file__).parent / "disk_faults.c"
_RECORD = struct.Struct("<qqq")
#: Longer than a checker's slack, shorter than what makes a leader give a follower up.
_LAG_MS = 500
#: A node that cannot use its disk ends within this time.
_REFUSE_WAIT_S = 5.0
#: So long syncs hang before the power fails, so that something is not on disk yet.
_UNSYNCED_S = 0.3


def _compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def _why_not(_cluster: Cluster) -> str:
    return "" if _compiler() else "wants a C compiler (Debian: gcc)"


def library(folder: Path) -> Path:
    """The compiled library, made in the folder when it is not there."""
    built = folder / "disk_faults.so"
    if not built.exists():
        compiler = _compiler()
        assert compiler is not None
        subprocess.run(  # noqa: S603  (our own source)
            [compiler, "-shared", "-fPIC", "-O1", "-o", str(built), str(_SOURCE), "-ldl"],
            check=True,
        )
    return built


def _control(place: Place) -> Path:
    return place.folder / "disk"


def _environment(place: Place) -> dict[str, str]:
    (place.folder / "undo").mkdir(exist_ok=True)
    _order(place, "none")
    return {
        "LD_PRELOAD": str(library(place.folder.parent)),
        "JL_DISK_CONTROL": str(_control(place)),
        "JL_DISK_FOLDER": str(place.folder / "data"),
        "JL_DISK_UNDO": str(place.folder / "undo"),
    }


def _order(place: Place, what: str, amount: int = 0) -> None:
    fresh = _control(place).with_suffix(".new")
    fresh.write_text(f"{what} {amount}\n")
    fresh.rename(_control(place))


def _some(cluster: Cluster, rng: random.Random) -> list[Node]:
    """The leader, one follower, or all."""
    leader = leader_or_any(cluster, rng)
    others = [node for node in running(cluster) if node not in leader]
    kind = rng.randrange(3)
    if kind == 0 or not others:
        return leader
    return [rng.choice(others)] if kind == 1 else running(cluster)


def _slow(cluster: Cluster, rng: random.Random) -> str:
    nodes, delay_ms = _some(cluster, rng), rng.choice([50, 200, 500])
    for node in nodes:
        _order(node.place, "slow", delay_ms)
    return f"a sync takes {delay_ms} ms on {named(nodes)}"


def _lag(cluster: Cluster, rng: random.Random) -> str:
    """One follower falls behind, while the others go on without it and it hears all they say."""
    leader = leader_or_any(cluster, rng)
    node = rng.choice([each for each in running(cluster) if each not in leader] or leader)
    _order(node.place, "slow", _LAG_MS)
    return f"a sync takes {_LAG_MS} ms on {node.name}, a follower"


def _hang(cluster: Cluster, rng: random.Random) -> str:
    nodes = _some(cluster, rng)
    for node in nodes:
        _order(node.place, "hang")
    return f"syncs hang on {named(nodes)}"


def _error(cluster: Cluster, rng: random.Random) -> str:
    """One sync fails on one node; what it does then is its business, but it must not lie."""
    alive = running(cluster)
    if len(alive) < len(cluster.nodes):
        return "nobody: not all nodes run"
    node = rng.choice(alive)
    _order(node.place, "error", 1)
    if _ends(node):
        return f"a sync failed on {node.name}, which ended"
    met = _control(node.place).read_text().startswith("none")
    return f"a sync {'failed' if met else 'would fail'} on {node.name}, which goes on"


def _full(cluster: Cluster, rng: random.Random) -> str:
    nodes = _some(cluster, rng)
    for node in nodes:
        _order(node.place, "full")
    return f"the disk is full on {named(nodes)}"


def _calm(cluster: Cluster) -> str:
    for node in cluster.nodes:
        _order(node.place, "none")
    cluster.heal()
    return "all disks work"


def _power_loss(cluster: Cluster, rng: random.Random) -> str:
    """All nodes die at once, and of what they had not synced any number of last writes is gone."""
    nodes = running(cluster)
    for node in nodes:
        _order(node.place, "hang")
    time.sleep(_UNSYNCED_S)
    for node in nodes:
        cluster.kill(node)
    lost = sum(forget(node.place.folder, rng) for node in nodes)
    return f"power failed on {named(nodes)}; {lost} writes were not on disk"


def forget(folder: Path, rng: random.Random) -> int:
    """Undo some of the last writes that were never synced, the newest first. Of the oldest one that
    goes, sometimes only a part. Returns how many were undone."""
    undone = 0
    for log in sorted((folder / "undo").iterdir()):
        path, records = _records(log.read_bytes())
        log.unlink()
        if path is None or not path.exists():
            continue
        keep = rng.randint(0, len(records))
        with path.open("r+b") as file:
            for number in range(len(records) - 1, keep - 1, -1):
                offset, size_before, old = records[number]
                if number == keep and len(old) > 1 and rng.random() < 0.5:
                    old = old[: rng.randrange(1, len(old))]  # torn: the rest had arrived
                file.seek(offset)
                file.write(old)
                if number > keep:
                    file.truncate(max(size_before, 0))
                undone += 1
    return undone


def _records(raw: bytes) -> tuple[Path | None, list[tuple[int, int, bytes]]]:
    """An undo log: the file's path, then (offset, size before, old bytes) of each write."""
    end = raw.find(b"\n")
    if end < 0:
        return None, []
    found: list[tuple[int, int, bytes]] = []
    at = end + 1
    while at + _RECORD.size <= len(raw):
        offset, length, size_before = _RECORD.unpack_from(raw, at)
        at += _RECORD.size
        if at + length > len(raw):
            break
        found.append((offset, size_before, raw[at : at + length]))
        at += length
    return Path(raw[:end].decode()), found


def _bit_flip(cluster: Cluster, rng: random.Random) -> str:
    """Bits of one node's files change while it is down. If it refuses to start on them, that is
    right, and it gets an empty disk, as its operator would give it."""
    if not whole(cluster):
        return "nobody: the cluster is not whole yet"
    node = rng.choice(running(cluster))
    cluster.kill(node)
    files = [path for path in sorted((node.place.folder / "data").rglob("*")) if path.is_file()]
    flipped = 0
    for _ in range(rng.randint(1, 20)):
        flipped += _flip(rng.choice(files), rng)
    cluster.launch(node)
    if not _ends(node):
        return f"{flipped} bits of {node.name} flipped; it started"
    shutil.rmtree(node.place.folder / "data", ignore_errors=True)
    cluster.launch(node)
    return f"{flipped} bits of {node.name} flipped; it refused to start and got an empty disk"


def _ends(node: Node) -> bool:
    """Whether the node's process ends within the time it has for that."""
    deadline = time.monotonic() + _REFUSE_WAIT_S
    while time.monotonic() < deadline and node.running:
        time.sleep(0.1)
    return not node.running


def _flip(path: Path, rng: random.Random) -> int:
    size = path.stat().st_size
    if not size:
        return 0
    with path.open("r+b") as file:
        at = rng.randrange(size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))
    return 1


SLOW = Nemesis(inject=_slow, heal=_calm, why_not=_why_not, environment=_environment)
LAG = Nemesis(inject=_lag, heal=_calm, why_not=_why_not, environment=_environment)
HANG = Nemesis(inject=_hang, heal=_calm, why_not=_why_not, environment=_environment)
ERROR = Nemesis(inject=_error, heal=_calm, why_not=_why_not, environment=_environment)
FULL = Nemesis(inject=_full, heal=_calm, why_not=_why_not, environment=_environment)
POWER_LOSS = Nemesis(inject=_power_loss, heal=_calm, why_not=_why_not, environment=_environment)
BIT_FLIP = Nemesis(inject=_bit_flip, heal=make_whole)
