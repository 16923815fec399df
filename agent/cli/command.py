"""What a command is: its words, flags, help text, and the call that carries it out.

Standard output carries results, standard error everything else (cli-config contract, A1).
"""

from __future__ import annotations

import io
import json
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from agent.cli.flags import Flag, Kind, Parsed

if TYPE_CHECKING:
    from agent.cli.client import Client

CLIENT_FLAGS = (
    Flag("ca-file", "Path to a CA file to verify the server with."),
    Flag("ca-path", "Path to a folder of CA files to verify the server with."),
    Flag("client-cert", "Path to a client certificate."),
    Flag("client-key", "Path to the client certificate's key."),
    Flag("http-addr", "Address and port of the agent's HTTP API, unix:///path for a socket."),
    Flag("tls-server-name", "Name to verify in the server's certificate."),
    Flag("token", "ACL token of the requests."),
    Flag("token-file", "File with the ACL token of the requests."),
)
SERVER_FLAGS = (
    Flag("datacenter", "Datacenter to ask; the agent's own by default."),
    Flag("stale", "Let any server answer, also one that lags behind.", Kind.BOOL),
)
FORMAT = Flag("format", "Output format: pretty or json.", default="pretty")
NAMESPACE_FLAGS = (
    Flag("namespace", "Only the default namespace exists."),
    Flag("partition", "Only the default partition exists."),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command. ``usage`` is what follows the program's name in the first line of its help."""

    usage: str
    help: str
    run: Callable[[Call], int]
    flags: Sequence[Flag] = ()
    #: It talks to an agent; ``server`` adds -datacenter and -stale.
    http: bool = True
    server: bool = False
    namespace: bool = False
    #: Flags may stand behind other words too; no command of Consul's has that.
    flags_anywhere: bool = False
    #: Exit status when the flags or the client's options cannot be used.
    error_status: int = 1

    @property
    def all_flags(self) -> tuple[Flag, ...]:
        """Its own flags and those that all commands of its sort have."""
        return (
            *self.flags,
            *(CLIENT_FLAGS if self.http else ()),
            *(SERVER_FLAGS if self.server else ()),
            *(NAMESPACE_FLAGS if self.namespace else ()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One run of a command: what the user gave and where the answers go."""

    program: str
    flags: Parsed
    environ: Mapping[str, str] = field(default_factory=dict)
    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    stdin: BinaryIO = field(default_factory=lambda: sys.stdin.buffer)

    @property
    def args(self) -> tuple[str, ...]:
        """The words behind the flags."""
        return self.flags.rest

    @property
    def title(self) -> str:
        """The program's name as texts show it: Lictor, or Consul when called so."""
        return self.program[:1].upper() + self.program[1:]

    def say(self, text: str) -> None:
        """A line of result."""
        print(text, file=self.out)

    def raw(self, data: bytes) -> None:
        """Bytes of result, as they are."""
        if isinstance(self.out, io.TextIOWrapper):
            self.out.flush()
            self.out.buffer.write(data)
        else:
            self.out.write(data.decode("utf-8", "replace"))

    def fail(self, text: str, status: int = 1) -> int:
        """A line of error; gives the exit status."""
        print(text, file=self.err)
        return status

    def show(self, value: Any, pretty: Callable[[], str]) -> int:
        """Print what came back as `-format` wants it; the exit status."""
        wanted = self.flags.text("format")
        if wanted == "json":
            self.say(json.dumps(value, indent=4, ensure_ascii=False))
        elif wanted == "pretty":
            self.say(pretty())
        else:
            return self.fail(f"Unknown format: {wanted}")
        return 0

    def client(self) -> Client:
        """The HTTP client that flags and environment describe. Raises SetupError."""
        from agent.cli.client import Client, read_options

        return Client(read_options(self.flags, self.environ))


def help_text(program: str, command: Command) -> str:
    """The help of a command: usage, words, then its flags in groups."""
    parts = [f"Usage: {program} {command.usage}\n", textwrap.indent(command.help.strip(), "  ")]
    groups: list[tuple[str, Sequence[Flag]]] = []
    if command.http:
        shared = CLIENT_FLAGS + (SERVER_FLAGS if command.server else ())
        groups.append(("HTTP API Options", shared + (NAMESPACE_FLAGS if command.namespace else ())))
    if command.flags:
        groups.append(("Command Options", command.flags))
    for title, flags in groups:
        parts.append(f"\n{title}\n")
        parts += [_flag_help(flag) for flag in sorted(flags, key=lambda flag: flag.name)]
    return "\n".join(parts).rstrip() + "\n"


def _flag_help(flag: Flag) -> str:
    head = f"  -{flag.name}" + (f"=<{flag.kind.value}>" if flag.kind.value else "")
    return head + "\n" + textwrap.indent(textwrap.fill(meaning(flag), 74), "     ") + "\n"


def meaning(flag: Flag) -> str:
    """What a flag does, and its default where that says something."""
    if flag.default in (None, "", False):
        return flag.help
    default = "true" if flag.default is True else flag.default
    return f"{flag.help} The default is {default}."


def columns(rows: Sequence[Sequence[Any]]) -> str:
    """A table: cells padded to the widest of their column, two spaces between, header first."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[at]) for row in texts) for at in range(len(texts[0]))]
    lines = []
    for row in texts:
        padded = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("  ".join([*padded, row[-1]]))
    return "\n".join(lines)
