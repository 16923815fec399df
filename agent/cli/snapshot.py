"""`snapshot`: saves the state of the servers into a file, looks into such a file, restores it."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind
from agent.cli.progress import Progress

if TYPE_CHECKING:
    from raftstore.archive import ArchiveMeta, TableSize

_FORMATS = ("pretty", "json")
#: What `-append-filename` can put into the name.
_PARTS = ("version", "dc", "node", "status")
_UNITS = ("B", "KB", "MB", "GB", "TB")


def _file(call: Call) -> str | None:
    """The one argument, None when it is not one; says so."""
    if not call.args:
        call.fail("Missing FILE argument")
        return None
    if len(call.args) > 1:
        call.fail(f"Too many arguments (expected 1, got {len(call.args)})")
        return None
    return call.args[0]


def _save(call: Call) -> int:
    from agent.cli.client import ClientError

    name = _file(call)
    if name is None:
        return 1
    try:
        path = _named(call, Path(name))
    except (ValueError, ClientError) as error:
        return call.fail(f"Error naming snapshot file: {error}")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        return call.fail(f"Error creating snapshot file: {error}")
    try:
        with os.fdopen(descriptor, "w+b") as file:
            try:
                call.client().download("/v1/snapshot", Progress(file, call.err, "received"))
            except ClientError as error:
                return call.fail(f"Error saving snapshot: {error}")
            return _keep(call, file, Path(temporary), path)
    except OSError as error:
        return call.fail(f"Error writing snapshot file: {error}")
    finally:
        Path(temporary).unlink(missing_ok=True)


def _named(call: Call, path: Path) -> Path:
    """The path with what `-append-filename` wants behind the file's name. Raises ValueError and
    ClientError."""
    wanted = [part for part in call.flags.text("append-filename").split(",") if part]
    unknown = sorted(set(wanted) - set(_PARTS))
    if unknown:
        raise ValueError(f'-append-filename knows {", ".join(_PARTS)}, not "{unknown[0]}"')
    if not wanted:
        return path
    found = call.client().read("/v1/agent/self")
    raft = (found.get("Stats") or {}).get("raft") or {}
    told = {
        "version": found["Config"]["Version"],
        "dc": found["Config"]["Datacenter"],
        "node": found["Config"]["NodeName"],
        "status": str(raft.get("state") or "client").lower(),
    }
    return path.with_name("-".join([path.stem, *(told[p] for p in wanted)]) + path.suffix)


def _keep(call: Call, file: Any, temporary: Path, path: Path) -> int:
    """Verify what was saved by reading it back, and only then give it its name."""
    from raftstore.archive import ArchiveError, ArchiveReader
    from raftstore.errors import DecodeError

    file.flush()
    os.fsync(file.fileno())
    file.seek(0)
    try:
        reader = ArchiveReader(file)
        for _ in reader.chunks():
            pass
    except (ArchiveError, DecodeError) as error:
        return call.fail(f"Error verifying snapshot file: {error}")
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    call.say(f"Saved and verified snapshot to index {reader.meta.index}")
    return 0


def _restore(call: Call) -> int:
    from agent.cli.client import ClientError, expect

    name = _file(call)
    if name is None:
        return 1
    try:
        with open(name, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            sent = Progress(file, call.err, "sent", total=size)
            expect(call.client().upload("/v1/snapshot", sent, size))
    except OSError as error:
        return call.fail(f"Error opening snapshot file: {_reason(name, error)}")
    except ClientError as error:
        return call.fail(f"Error restoring snapshot: {error}")
    call.say("Restored snapshot")
    return 0


def _reason(name: str, error: Exception) -> str:
    from agent.cli.client import open_error

    return open_error(name, error)


def _inspect(call: Call) -> int:
    from raftstore.archive import ArchiveReader
    from raftstore.errors import DecodeError

    name = _file(call)
    if name is None:
        return 1
    wanted = call.flags.text("format")
    if wanted not in _FORMATS:
        return call.fail(f"Unknown format: {wanted}")
    keys = _Keys(call) if call.flags.values.get("kvdetails") else None
    try:
        with open(name, "rb") as file:
            reader = ArchiveReader(file)
            for chunk in reader.chunks():
                if keys is not None:
                    keys.count(chunk)
    except OSError as error:
        return call.fail(f"Error opening snapshot file: {_reason(name, error)}")
    except DecodeError as error:
        return call.fail(f"Error reading snapshot: {error}")
    shown = _described(reader.meta, reader.tables(), keys)
    if wanted == "json":
        call.say(json.dumps(shown, indent=4))
    else:
        call.say(_pretty(shown))
    return 0


class _Keys:
    """Number and size of keys by the beginning of their names."""

    def __init__(self, call: Call) -> None:
        self._depth = int(call.flags.values.get("kvdepth") or 0)
        self._filter = call.flags.text("kvfilter")
        self.found: dict[str, list[int]] = {}

    def count(self, chunk: bytes) -> None:
        """Look at one chunk of the archive. Raises DecodeError."""
        from raftstore.codec import unpack
        from raftstore.errors import DecodeError
        from raftstore.state.snapshots import CHUNK_BYTES_MAX, chunk_head

        if chunk_head(chunk)[0] != "kv":
            return
        try:
            for key, value, *_ in unpack(chunk, bytes_max=CHUNK_BYTES_MAX)[1]:
                if key.startswith(self._filter):
                    parts = key.split("/")
                    name = "/".join(parts[: self._depth] if self._depth > 0 else parts)
                    held = self.found.setdefault(name, [0, 0])
                    held[0] += 1
                    held[1] += len(key.encode()) + len(value)
        except (TypeError, ValueError, AttributeError):
            raise DecodeError("failed to read snapshot: a key that is none") from None


def _described(
    meta: ArchiveMeta, tables: tuple[TableSize, ...], keys: _Keys | None
) -> Mapping[str, Any]:
    found = keys.found if keys is not None else {}
    ordered = sorted(found.items(), key=lambda item: (-item[1][1], item[0]))
    return {
        "Meta": {
            "ID": meta.id,
            "Size": meta.size,
            "Index": meta.index,
            "Term": meta.term,
            "Version": meta.version,
        },
        "Stats": [{"Name": t.name, "Sum": t.bytes, "Count": t.count} for t in tables],
        "StatsKV": [{"Name": name, "Sum": size, "Count": count} for name, (count, size) in ordered],
        "TotalSize": sum(t.bytes for t in tables),
        "TotalSizeKV": sum(size for _, size in found.values()),
    }


def _pretty(shown: Mapping[str, Any]) -> str:
    lines = [f" {name.ljust(13)}{value}" for name, value in shown["Meta"].items()]
    lines += _table("Type", shown["Stats"], shown["TotalSize"])
    if shown["StatsKV"]:
        lines += _table("Key Name", shown["StatsKV"], shown["TotalSizeKV"])
    return "\n".join(lines)


def _table(title: str, rows: list[Mapping[str, Any]], total: int) -> list[str]:
    names = [title, "Total", *(row["Name"] for row in rows)]
    width = max(map(len, names)) + 2
    counts = max(len(str(row["Count"])) for row in rows) if rows else 0
    wide = max(counts, len("Count")) + 2

    def line(name: str, count: str, size: str) -> str:
        return f" {name.ljust(width)}{count.ljust(wide)}{size}"

    rule = line("-" * len(title), "-" * 5, "-" * 4)
    body = [line(row["Name"], str(row["Count"]), _size(row["Sum"])) for row in rows]
    return ["", line(title, "Count", "Size"), rule, *body, rule, line("Total", "", _size(total))]


def _size(count: int) -> str:
    """Bytes as people read them: 340B, 1.2KB."""
    size, unit = float(count), 0
    while size >= 1000 and unit < len(_UNITS) - 1:
        size, unit = size / 1024, unit + 1
    return f"{count}B" if not unit else f"{size:.1f}{_UNITS[unit]}"


COMMANDS = {
    ("snapshot", "save"): Command(
        usage="snapshot save [options] FILE",
        help="Saves the state of the servers: keys, catalog, sessions, intentions, certificate\n"
        "authority and all other definitions, as of one moment. The file is verified by\n"
        "reading it back, and appears whole or not at all. It holds secrets (the key of\n"
        "the certificate authority), so only its owner may read it.",
        run=_save,
        server=True,
        flags=(
            Flag(
                "append-filename",
                "What to put behind the file's name, separated by commas: version, dc, node\n"
                "and status (leader, follower, client) of the agent that is asked.",
            ),
        ),
    ),
    ("snapshot", "restore"): Command(
        usage="snapshot restore [options] FILE",
        help="Replaces the state of all servers by a saved one, at once or not at all. Who the\n"
        "servers are is not touched. Everything written since is gone.",
        run=_restore,
        server=True,
    ),
    ("snapshot", "inspect"): Command(
        usage="snapshot inspect [options] FILE",
        help="Verifies a saved state and says what is in it. No agent is needed.",
        run=_inspect,
        http=False,
        flags=(
            Flag("format", "Output format: pretty or json.", default="pretty"),
            Flag(
                "kvdetails", "Number and size of keys by the beginning of their names.", Kind.BOOL
            ),
            Flag(
                "kvdepth",
                "How many parts of a name, up to a slash, count together; 0 for all.",
                Kind.INT,
                default=2,
            ),
            Flag("kvfilter", "Only keys that begin so."),
        ),
    ),
}
