"""What this host is and what it has left, in the words of Consul's `agent/host` (Linux's /proc).

What cannot be read is left out, with the reason among the errors.
"""

from __future__ import annotations

import os
import platform
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Facts = dict[str, Any]

#: CPUs that are described one by one.
CPUS_MAX = 1024


def host_facts(folder: str) -> Facts:
    """Memory, CPUs, host, and the file system of a folder; takes some milliseconds."""
    errors: list[str] = []

    def look(part: Callable[[], Any]) -> Any:
        try:
            return part()
        except (OSError, ValueError, KeyError, IndexError) as error:
            errors.append(str(error))
            return None

    return {
        "Memory": look(memory),
        "CPU": look(cpus) or [],
        "Host": look(host),
        "Disk": look(lambda: disk(folder)),
        "CollectionTime": time.time_ns(),
        "Errors": errors or None,
    }


def memory() -> Facts:
    """In bytes."""
    found = {
        name: int(rest.split()[0]) * 1024
        for name, _, rest in _pairs("/proc/meminfo", ":")
        if rest.split()[:1] and rest.split()[0].isdigit()
    }
    total, available = found["MemTotal"], found["MemAvailable"]
    used = total - available
    return {
        "total": total,
        "available": available,
        "used": used,
        "usedPercent": 100 * used / total,
        "free": found["MemFree"],
        "buffers": found.get("Buffers", 0),
        "cached": found.get("Cached", 0),
        "swapTotal": found.get("SwapTotal", 0),
        "swapFree": found.get("SwapFree", 0),
    }


def cpus() -> list[Facts]:
    """One entry for each."""
    found: list[Facts] = []
    for name, _, value in _pairs("/proc/cpuinfo", ":"):
        match name:
            case "processor":
                if len(found) >= CPUS_MAX:
                    break
                found.append({"cpu": int(value), "cores": 1})
            case "vendor_id" if found:
                found[-1]["vendorId"] = value
            case "model name" if found:
                found[-1]["modelName"] = value
            case "cpu MHz" if found:
                found[-1]["mhz"] = float(value)
            case "physical id" | "core id" if found:
                found[-1]["physicalId" if name == "physical id" else "coreId"] = value
    return found


def host() -> Facts:
    """Name, kernel, and how long it has run."""
    uptime_s = float(Path("/proc/uptime").read_text().split()[0])
    system = os.uname()
    release = {name: value.strip('"') for name, _, value in _pairs("/etc/os-release", "=")}
    return {
        "hostname": socket.gethostname(),
        "uptime": int(uptime_s),
        "bootTime": int(time.time() - uptime_s),
        "procs": sum(1 for entry in os.scandir("/proc") if entry.name.isdigit()),
        "os": platform.system().lower(),
        "platform": release.get("ID", ""),
        "platformFamily": release.get("ID_LIKE", "").partition(" ")[0],
        "platformVersion": release.get("VERSION_ID", ""),
        "kernelVersion": system.release,
        "kernelArch": system.machine,
    }


def disk(folder: str) -> Facts:
    """Room of the file system, in bytes."""
    found = os.statvfs(folder)
    total, free = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
    used = total - found.f_bfree * found.f_frsize
    return {
        "path": folder,
        "total": total,
        "free": free,
        "used": used,
        "usedPercent": 100 * used / total if total else 0.0,
        "inodesTotal": found.f_files,
        "inodesFree": found.f_ffree,
        "inodesUsed": found.f_files - found.f_ffree,
    }


def _pairs(path: str, separator: str) -> list[tuple[str, str, str]]:
    lines = Path(path).read_text(errors="replace").splitlines()
    parts = [line.partition(separator) for line in lines if separator in line]
    return [(name.strip(), mark, value.strip()) for name, mark, value in parts]
