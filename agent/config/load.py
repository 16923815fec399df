"""Files, flags and fragments -> the agent's configuration (cli-config contract, section B1).

The shell of this package: it reads files and asks the host for its name and interfaces. Which
source wins is decided in `merge`, what values mean in `build`.
"""

from __future__ import annotations

import functools
import json
import os
import re
import socket
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from agent.config import rules
from agent.config.build import DEV_DEFAULTS, build
from agent.config.decode import Values, decode
from agent.config.interfaces import host_interfaces
from agent.config.merge import merge, origins
from agent.config.schema import AgentConfig
from agent.config.sockaddr import Interface
from agent.errors import ConfigError

FILE_BYTES_MAX = 8 * 1024 * 1024
FORMATS = ("hcl", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFlags:
    """What the command line says. ``values`` are by key path, as a file would say them."""

    dev: bool = False
    paths: Sequence[str] = ()
    format: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    fragments: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What the configuration wants to know of this host."""

    name: Callable[[], str] = socket.gethostname
    interfaces: Callable[[], Sequence[Interface]] = host_interfaces


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """A valid configuration and what its owner should know of it."""

    config: AgentConfig
    warnings: tuple[str, ...]
    #: What all sources together say, and which of them speak of a key; the last one wins.
    values: Values = field(default_factory=dict)
    origins: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def load(flags: AgentFlags, *, host: Host = Host()) -> LoadedConfig:
    """Read, merge and check everything. Raises ConfigError with the text for the user."""
    if flags.format and flags.format not in FORMATS:
        raise ConfigError("config: -config-format must be either 'hcl' or 'json'")
    files, fragments, skipped = _sources(flags)
    values = merge(
        files=[said for _, said in files],
        flags=dict(flags.values),
        fragments=[said for _, said in fragments],
    )
    config = build(
        values,
        dev=flags.dev,
        node_name=values.get("node_name") or host.name(),
        interfaces=functools.cache(host.interfaces),
        data_dir_is_file=_is_file(values.get("data_dir", "")),
    )
    return LoadedConfig(
        config,
        (*skipped, *rules.warnings(values, config)),
        values=values,
        origins=origins([*files, ("flags", dict(flags.values)), *fragments]),
    )


def _sources(
    flags: AgentFlags,
) -> tuple[list[tuple[str, Values]], list[tuple[str, Values]], list[str]]:
    """What files and fragments say, by name, and which files were skipped. Raises ConfigError."""
    sources, skipped = read_paths(flags.paths, flags.format)
    fragments = [
        (name, decode(parse(text, "hcl", name), name))
        for name, text in ((f"flags-{at}.hcl", text) for at, text in enumerate(flags.fragments))
    ]
    return [("-dev", DEV_DEFAULTS), *sources] if flags.dev else sources, fragments, skipped


def blamed(flags: AgentFlags, error: str) -> dict[str, tuple[str, ...]]:
    """The keys that an error between values names, and who says something of each.

    Nothing where the error is in a file's own form: then it names the file.
    """
    try:
        files, fragments, _ = _sources(flags)
    except ConfigError:
        return {}
    known = origins([*files, ("flags", dict(flags.values)), *fragments])
    return {key: said for key, said in known.items() if re.search(rf"\b{re.escape(key)}\b", error)}


def read_paths(paths: Sequence[str], format: str) -> tuple[list[tuple[str, Values]], list[str]]:
    """What each file says, by name, in their order, and which files were skipped.

    Raises ConfigError.
    """
    sources: list[tuple[str, Values]] = []
    skipped: list[str] = []
    for path in paths:
        for name in _files(path):
            kind = format or name.rpartition(".")[2]
            if kind not in FORMATS:
                skipped.append(
                    f"skipping file {name}, extension must be .hcl or .json, "
                    "or config format must be set"
                )
                continue
            sources.append((name, decode(parse(_read(name), kind, name), name)))
    return sources, skipped


def stamp(paths: Sequence[str]) -> tuple[object, ...]:
    """Something that differs once a file has changed, come or gone; an error is a stamp too."""
    found: list[object] = []
    for path in paths:
        try:
            for name in _files(path):
                seen = os.stat(name)
                found.append((name, seen.st_ino, seen.st_size, seen.st_mtime_ns))
        except (ConfigError, OSError) as error:
            found.append(str(error))
    return tuple(found)


def parse(text: str, kind: str, name: str) -> Any:
    """The data of a text in HCL or JSON. Raises ConfigError."""
    if not text.strip():
        return {}
    try:
        if kind == "json":
            return json.loads(text, parse_constant=_no_constant)
        from agent.config import hcl  # only for those who have HCL files

        return hcl.loads(text)
    except RecursionError:
        raise ConfigError(f"failed to parse {name}: nested too deeply") from None
    except ValueError as error:
        raise ConfigError(f"failed to parse {name}: {error}") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _files(path: str) -> list[str]:
    """The file itself, or the files of a folder by name; sub-folders are left alone."""
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISDIR(mode):
            return [path]
        names = sorted(os.listdir(path))
    except OSError as error:
        raise _open_failed(path, error) from None
    inside = [os.path.join(path, name) for name in names]
    return [name for name in inside if not os.path.isdir(name)]


def _read(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise _open_failed(path, error) from None
    if len(raw) > FILE_BYTES_MAX:
        raise ConfigError(f"config: {path} is larger than {FILE_BYTES_MAX} bytes")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"failed to parse {path}: not UTF-8 text: {error.reason}") from None


def _open_failed(path: str, error: OSError) -> ConfigError:
    reason = (error.strerror or str(error)).lower()
    return ConfigError(f"config: Open failed on {path}. open {path}: {reason}")


def _is_file(path: str) -> bool:
    return bool(path) and os.path.exists(path) and not os.path.isdir(path)
