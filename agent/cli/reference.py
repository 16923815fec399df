"""The reference pages, made of the program itself: commands, a man page, configuration keys.

`make reference` writes them into docs/reference; a test compares them with the program.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from agent import VERSION
from agent.cli.command import Command, meaning
from agent.cli.main import TABLE, load
from agent.config.bounds import Limits
from agent.config.changes import Effect, effect_of
from agent.config.keys import KEYS, Key, Kind, Standing
from agent.quotas import RequestLimits

_MADE = "made by `make reference`: do not edit"
_INTRO = """\
Flags are written with one or two dashes, with `=` or a space; they end at the first other word.
Results go to standard output, everything else to standard error. `-h` behind a command shows what
stands here.
"""
_TYPES = {
    Kind.STRING: "text",
    Kind.BOOL: "true or false",
    Kind.INT: "number",
    Kind.FLOAT: "number",
    Kind.DURATION: "duration",
    Kind.STRINGS: "list of texts",
    Kind.STRING_MAP: "texts by name",
    Kind.STRINGS_MAP: "lists by name",
    Kind.DURATION_MAP: "durations by name",
    Kind.OPAQUE: "object",
    Kind.OPAQUES: "list of objects",
}


def pages() -> dict[str, str]:
    """The text of every page by its file's name."""
    return {"commands.md": commands_page(), "keys.md": keys_page(), "lictor.1": man_page()}


def _commands() -> Iterator[tuple[tuple[str, ...], Command]]:
    for path, (module, _) in sorted(TABLE.items()):
        if module:
            yield path, load(path)


# -- Markdown ------------------------------------------------------------------------------------


def commands_page() -> str:
    """Every command with its usage, its words and its own flags."""
    parts = [f"# Commands\n\n<!-- {_MADE} -->\n\n{_INTRO}"]
    parts.append("| command | what it does |\n|---|---|")
    parts += [
        f"| [`{' '.join(path)}`](#{'-'.join(path)}) | {TABLE[path][1]} |" for path, _ in _commands()
    ]
    for path, command in _commands():
        parts.append(f"\n## {' '.join(path)}\n\n```text\nlictor {command.usage}\n```\n")
        parts.append(_plain(command.help))
        if command.flags:
            parts.append("\n| flag | meaning |\n|---|---|")
            parts += [_flag_row(name, text) for name, text in _flags(command)]
        shared = _shared(command)
        if shared:
            parts.append(f"\nAnd {shared}.")
    return "\n".join(parts) + "\n"


def _plain(text: str) -> str:
    """Words as Markdown shows them."""
    return text.strip().replace("<", "&lt;").replace("*", "\\*")


def _flags(command: Command) -> Iterator[tuple[str, str]]:
    for flag in sorted(command.flags, key=lambda flag: flag.name):
        value = f"=<{flag.kind.value}>" if flag.kind.value else ""
        yield f"-{flag.name}{value}", meaning(flag)


def _flag_row(name: str, text: str) -> str:
    return f"| `{name}` | {_plain(text).replace('|', chr(92) + '|')} |"


def _shared(command: Command) -> str:
    kinds = []
    if command.http:
        kinds.append("the HTTP options")
    if command.server:
        kinds.append("`-datacenter`, `-stale`")
    if command.namespace:
        kinds.append("`-namespace`, `-partition`")
    return ", ".join(kinds)


def keys_page() -> str:
    """Every configuration key with its type and what becomes of it."""
    lines = [
        f"# Configuration keys\n\n<!-- {_MADE} -->\n",
        'Files are HCL or JSON; durations are texts such as `"10s"`. *Live* keys are taken over by',
        "a reload, all others wait for a restart. Where nothing else is said, names, defaults and",
        "meanings are Consul's. `lictor config-plan` says the same of your own files.\n",
        "Of bounds (`limits`) the default stands here.\n",
        "| key | type | standing | default |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{key.path}` | {_type(key)} | {_standing(key)} | {_default(key)} |"
        for key in _sorted_keys()
    ]
    return "\n".join(lines) + "\n"


def _sorted_keys() -> list[Key]:
    return sorted(KEYS, key=lambda key: (key.path.count(".") > 0, key.path))


def _type(key: Key) -> str:
    if isinstance(key.kind, Kind):
        return _TYPES[key.kind]
    return {"many": "blocks", "named": "blocks by name"}.get(key.kind.form, "block")


def _standing(key: Key) -> str:
    if key.standing is Standing.LATER:
        return f"no effect: {key.note}" if key.note else "accepted, no effect yet"
    if key.standing is Standing.IGNORED:
        return "accepted, no effect"
    if key.standing is Standing.REFUSED:
        return "refused"
    return "live" if effect_of(key) is Effect.LIVE else ""


def _default(key: Key) -> str:
    """Of a bound; the other keys' defaults are written where they are explained."""
    stanza, _, name = key.target.partition(".")
    bounds = {"limits": Limits(), "request_limits": RequestLimits()}.get(stanza)
    return "" if bounds is None else f"{getattr(bounds, name)}{'s' if name.endswith('_s') else ''}"


# -- man -----------------------------------------------------------------------------------------


def man_page() -> str:
    """lictor(1), for groff."""
    lines = [
        f'.\\" {_MADE}',
        f'.TH LICTOR 1 "" "lictor {VERSION}" "User Commands"',
        ".SH NAME",
        "lictor \\- service registry and mesh with Consul's interfaces",
        ".SH SYNOPSIS",
        ".B lictor",
        "[\\-\\-version] [\\-\\-help] \\fICOMMAND\\fR [\\fIOPTIONS\\fR] [\\fIARGUMENTS\\fR]",
        ".SH DESCRIPTION",
        _roff(_INTRO.replace("`", "")),
        ".SH COMMANDS",
    ]
    for path, command in _commands():
        lines += [f".SS {_roff(' '.join(path))}", f".B lictor {_roff(command.usage)}", ".PP"]
        lines.append(_roff(command.help))
        for name, text in _flags(command):
            lines += [".TP", f"\\fB{_roff(name)}\\fR", _roff(text)]
    lines += [
        ".SH ENVIRONMENT",
        "CONSUL_HTTP_ADDR, CONSUL_HTTP_TOKEN, CONSUL_HTTP_TOKEN_FILE, CONSUL_HTTP_AUTH,",
        "CONSUL_HTTP_SSL, CONSUL_HTTP_SSL_VERIFY, CONSUL_CACERT, CONSUL_CAPATH,",
        "CONSUL_CLIENT_CERT, CONSUL_CLIENT_KEY, CONSUL_TLS_SERVER_NAME: as flags; flags win.",
        ".SH EXIT STATUS",
        "0 for success, 1 for an error; 2 where a command says so, 127 for an unknown command.",
    ]
    return "\n".join(lines) + "\n"


def _roff(text: str) -> str:
    """Text that groff shows as it is."""
    escaped = text.strip().replace("\\", "\\e").replace("-", "\\-")
    lines = (line.strip() for line in escaped.splitlines())
    return "\n".join(f"\\&{line}" if line[:1] in {".", "'"} else line or ".br" for line in lines)


def main() -> None:
    """Write all pages into the folder that is named."""
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text)


if __name__ == "__main__":
    main()
