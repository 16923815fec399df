"""The compiled form of the proxy's hot modules: which they are, and whether one that was built may
be used (ADR 102).

A build is a copy of the package beside the source in which some modules are machine code. It names
what it was made of, and is used only while that is what the source says: nobody ever runs code
that is older than what he reads.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

PACKAGE = "proxy"
#: Where a build is looked for, beside the package.
DIRECTORY = ".lictor-native"
MANIFEST = "manifest.json"
MODES = frozenset({"auto", "off", "require"})
#: Packages whose modules are compiled: what a request or a frame passes through.
PACKAGES = ("http1", "l7", "balance", "tunnel", "telemetry")
#: Of these not. Some wait for the network or the disk, or work in threads, and say to the compiler
#: what is not so; hashes of 64 bits are no faster compiled; the others are seldom run, and machine
#: code takes memory.
LEFT = frozenset(
    {
        "__init__.py", "access_log.py", "connection_log.py", "connections.py", "exposed.py",
        "ingress.py", "ingress_http.py", "log_file.py", "merged.py", "mirror.py", "mover.py",
        "otlp.py", "outlets.py", "own.py", "prober.py", "probes.py", "route_walk.py",
        "settings.py", "standing.py", "tap.py", "upstreams.py", "xxh64.py",
    }
)  # fmt: skip


#: How the C compiler is to optimise: for size, as a sidecar's memory counts and most of the time is
#: spent in Python's own library either way.
OPTIMISED = "s"


class NotNative(Exception):
    """The compiled form was required and cannot be used; the text says why."""


def hot(package: Path) -> list[Path]:
    """The modules to compile, in order."""
    return [
        path
        for name in PACKAGES
        for path in sorted((package / name).glob("*.py"))
        if path.name not in LEFT
    ]


def fingerprint(sources: Mapping[str, bytes], terms: str) -> str:
    """What a build is made of: every file's path and bytes, and by which terms."""
    digest = hashlib.sha256(terms.encode())
    for name in sorted(sources):
        digest.update(f"\0{name}\0{len(sources[name])}\0".encode())
        digest.update(sources[name])
    return digest.hexdigest()


def terms() -> str:
    """What a build is for: the interpreter, as its machine code fits no other, and which modules
    are compiled how."""
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return f"{sys.version} {suffix} {PACKAGES} {' '.join(sorted(LEFT))} {OPTIMISED}"


def sources(package: Path) -> dict[str, bytes]:
    """All of the package's source, by path within it."""
    return {
        str(path.relative_to(package)): path.read_bytes() for path in sorted(package.rglob("*.py"))
    }


def unusable(package: Path, directory: Path) -> str:
    """Why the build in a directory may not be used; "" when it may."""
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except FileNotFoundError:
        return "none was built"
    except (OSError, ValueError) as error:
        return f"its manifest cannot be read: {error}"
    if not isinstance(manifest, dict):
        return "its manifest cannot be read"
    if manifest.get("fingerprint") != fingerprint(sources(package), terms()):
        return "it was built of other source, or for another interpreter"
    return ""


def package() -> Path:
    """Where the package's source is, found without loading it."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise NotNative("the package has no place on the disk")
    return Path(spec.origin).parent


def directory() -> Path:
    """Where its build is, or would be."""
    return package().parent / DIRECTORY


def use(mode: str) -> str:
    """Let the proxy that this process is about to load be the compiled one, where there is one.

    Gives why it is not, "" when it is. Raises NotNative where it is required and is not.
    """
    if mode == "off":
        return "it is switched off"
    if PACKAGE in sys.modules:
        why = "the proxy is loaded already"
    else:
        why = unusable(package(), directory())
        if not why:
            sys.path.insert(0, str(directory()))
    if why and mode == "require":
        raise NotNative(f"the compiled proxy cannot be used: {why}")
    return why
