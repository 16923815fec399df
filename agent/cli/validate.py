"""`validate`: the checks of an agent's start without a start."""

from __future__ import annotations

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind


def _validate(call: Call) -> int:
    from agent.config.load import FORMATS, AgentFlags, load
    from agent.errors import ConfigError

    wanted = call.flags.text("config-format")
    if wanted and wanted not in FORMATS:
        # The missing quote is Consul's; tools compare the text.
        return call.fail("-config-format must be either 'hcl' or 'json")
    if not call.args:
        return call.fail("Must specify at least one config file or directory")
    try:
        loaded = load(AgentFlags(paths=call.args, format=wanted))
    except ConfigError as error:
        return call.fail(f"Config validation failed: {error}")
    if not call.flags["quiet"]:
        for warning in loaded.warnings:
            call.fail(warning)
        call.say("Configuration is valid!")
    return 0


COMMANDS = {
    ("validate",): Command(
        usage="validate [options] FILE_OR_DIRECTORY...",
        help="Reads configuration files and folders as an agent would and reports what is wrong.",
        run=_validate,
        http=False,
        flags=(
            Flag("config-format", "Format of all files: hcl or json."),
            Flag("quiet", "Print errors only.", Kind.BOOL),
        ),
    ),
}
