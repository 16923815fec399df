"""`config-plan`: what changed configuration files would do to a running agent, key by key."""

from __future__ import annotations

import json
from typing import Any

from agent.cli.command import Call, Command, columns
from agent.cli.flags import Flag

_FORMATS = ("pretty", "json")


def _plan(call: Call) -> int:
    wanted = call.flags.text("format")
    if wanted not in _FORMATS:
        return call.fail(f"Unknown format: {wanted}")
    if call.args:
        found = _of_files(call)
    else:
        from agent.cli.client import ClientError

        try:
            found = call.client().read("/v1/explain/configuration")
        except ClientError as error:
            return call.fail(f"Error querying {call.title} agent: {error}")
    if wanted == "json":
        call.say(json.dumps(found, indent=4, ensure_ascii=False))
    else:
        _show(call, found)
    return 0 if found["Valid"] else 1


def _show(call: Call, found: dict[str, Any]) -> None:
    for warning in found["Warnings"]:
        call.fail(warning)
    if not found["Valid"]:
        call.fail(f"Invalid, a reload would change nothing: {found['Error'].rstrip()}")
        for key, said in sorted((found.get("ErrorSources") or {}).items()):
            call.fail(f"{key} is set in {', '.join(said)}")
    elif not found["Changes"]:
        call.say("Nothing has changed." if not call.args else "No keys are set.")
    else:
        rows: list[tuple[str, ...]] = [("Key", "Effect", "Said by")]
        rows += [
            (
                each["Key"],
                f"{each['Effect']} ({each['Why']})" if each.get("Why") else each["Effect"],
                ", ".join(each["Sources"]) or "(gone)",
            )
            for each in found["Changes"]
        ]
        call.say(columns(rows))


def _of_files(call: Call) -> Any:
    """Every key of these files, as a change from nothing."""
    from agent.cli.reread import refused, shown
    from agent.config.changes import changes
    from agent.config.load import AgentFlags, load
    from agent.errors import ConfigError

    flags = AgentFlags(paths=call.args, format=call.flags.text("config-format"))
    try:
        loaded = load(flags)
    except ConfigError as error:
        return refused(flags, error)
    return {
        "Valid": True,
        "Error": "",
        "Changes": [shown(each) for each in changes({}, loaded.values, loaded.origins)],
        "Warnings": list(loaded.warnings),
    }


COMMANDS = {
    ("config-plan",): Command(
        usage="config-plan [options] [FILE_OR_DIRECTORY...]",
        help="Asks the agent to read its own files and flags again, and says what has changed since"
        "\nit took them over: keys that a reload makes live, keys that need a restart, keys"
        "\nwithout effect, or why a reload would be refused. Nothing is changed. With files, no"
        "\nagent is asked: each key of theirs is told. The exit status is 1 when they are invalid."
        "\nThis is about the agent's own files; for config entries there is `config plan`.",
        run=_plan,
        flags=(
            Flag("config-format", "Format of all files: hcl or json."),
            Flag("format", "Output format: pretty or json.", default="pretty"),
        ),
    ),
}
