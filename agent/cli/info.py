"""`info`: the agent's statistics by group."""

from __future__ import annotations

from collections.abc import Mapping

from agent.cli.command import Call, Command


def _info(call: Call) -> int:
    from agent.cli.client import ClientError

    try:
        found = call.client().read("/v1/agent/self")
    except ClientError as error:
        return call.fail(f"Error querying agent: {error}")
    call.say(info_text(found.get("Stats") or {}))
    return 0


def info_text(stats: Mapping[str, Mapping[str, str]]) -> str:
    """Groups and keys, both sorted."""
    lines: list[str] = []
    for group in sorted(stats):
        lines.append(f"{group}:")
        lines += [f"\t{key} = {stats[group][key]}" for key in sorted(stats[group])]
    return "\n".join(lines)


COMMANDS = {
    ("info",): Command(
        usage="info [options]",
        help="Shows what operators want to know of an agent: its parts and their numbers.",
        run=_info,
    ),
}
