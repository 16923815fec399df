"""One Prometheus text of several proxies in a process. Pure: their labels tell the services."""

from __future__ import annotations

from collections.abc import Mapping


def merged(own: str, others: Mapping[str, str]) -> str:
    """The texts as one, with each family's samples in one place, as the format wants it."""
    families: dict[str, list[str]] = {}
    for text in (own, *(others[name] for name in sorted(others))):
        held: list[str] = []
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                held = families.setdefault(line, [])
            elif line:
                held.append(line)
    return "".join(
        f"{line}\n" for family, samples in families.items() for line in (family, *samples)
    )
