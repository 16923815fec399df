"""Carries rules out with the system's own tools; needs CAP_NET_ADMIN."""

from __future__ import annotations

import shutil
import subprocess

from agent.redirect import rules
from agent.redirect.rules import Wanted

TIMEOUT_S = 30.0


class NotApplied(Exception):
    """The rules are not in force; the text says why."""


def nftables(script: str, *, netns: str = "") -> None:
    """Load one transaction. Raises NotApplied, and then nothing has changed."""
    _run(["nft", "-f", "-"], netns, script)


def iptables(wanted: Wanted, *, netns: str = "") -> None:
    """Put the rules in the place of earlier ones. Raises NotApplied; what was put is then taken
    away again."""
    iptables_undo(netns=netns)
    for version, program in ((4, "iptables"), (6, "ip6tables")):
        for arguments in rules.iptables(wanted, version=version):
            try:
                _run([program, "-w", "5", *arguments], netns)
            except NotApplied:
                if version == 6 and not _has_ipv6_nat(netns):
                    return  # a host without it has nothing to lead
                iptables_undo(netns=netns)
                raise


def iptables_undo(*, netns: str = "") -> None:
    """Take the rules away, as far as they are there."""
    for program in ("iptables", "ip6tables"):
        for arguments in rules.iptables_undo():
            try:
                _run([program, "-w", "5", *arguments], netns)
            except NotApplied:
                continue


def _has_ipv6_nat(netns: str) -> bool:
    try:
        _run(["ip6tables", "-w", "5", "-t", "nat", "-L", "-n"], netns)
    except NotApplied:
        return False
    return True


def _run(command: list[str], netns: str, text: str = "") -> None:
    if shutil.which(command[0]) is None:
        raise NotApplied(f"{command[0]} is not installed")
    if netns:
        command = ["nsenter", f"--net={netns}", *command]
    try:
        done = subprocess.run(  # noqa: S603  (no shell, and every word is checked)
            command, input=text, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotApplied(f"{' '.join(command)}: {error}") from error
    if done.returncode != 0:
        raise NotApplied(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
