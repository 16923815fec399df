"""`monitor`: the log of a running agent, as it is written."""

from __future__ import annotations

from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind


def _monitor(call: Call) -> int:
    from agent.cli.client import ClientError

    query = [("loglevel", call.flags.text("log-level"))]
    if call.flags["log-json"]:
        query.append(("logjson", ""))

    def show(piece: bytes) -> None:
        call.raw(piece)
        call.out.flush()

    try:
        call.client().follow("/v1/agent/monitor", query, show)
    except ClientError as error:
        return call.fail(f"Error starting monitor: {error}")
    except KeyboardInterrupt:
        return 0
    call.say(
        "\nRemote side ended the monitor! This usually means that the\n"
        "remote side has exited or crashed."
    )
    return 1


COMMANDS = {
    ("monitor",): Command(
        usage="monitor [options]",
        help="Shows the log of the agent from now on, until it is interrupted. The level is that of"
        "\nwhat is shown; it need not be the one that the agent writes with.",
        run=_monitor,
        flags=(
            Flag("log-json", "Show the log as JSON.", Kind.BOOL),
            Flag("log-level", "The least level that is shown.", default="INFO"),
        ),
    ),
}
