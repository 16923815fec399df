"""The console script: finds the command, reads its flags, runs it (cli-config contract, A1).

A command's module is imported only when it is called: most calls are short and many.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.cli.command import Call, Command, help_text
from agent.cli.flags import FlagError, HelpWanted, parse

#: Command words -> (module below agent.cli, synopsis). No module: a group.
TABLE: dict[tuple[str, ...], tuple[str, str]] = {
    ("acl",): ("", "Interact with access control"),
    ("acl", "auth-method"): ("", "Tools for auth methods"),
    **{
        ("acl", "auth-method", verb): ("acl_method", f"{verb.capitalize()} auth methods")
        for verb in ("create", "delete", "list", "read", "update")
    },
    ("acl", "binding-rule"): ("", "Tools for binding rules"),
    **{
        ("acl", "binding-rule", verb): ("acl_binding", f"{verb.capitalize()} binding rules")
        for verb in ("create", "delete", "list", "read", "update")
    },
    ("acl", "bootstrap"): ("acl", "Makes the first management token"),
    ("acl", "policy"): ("", "Tools for policies"),
    **{
        ("acl", "policy", verb): ("acl_policy", f"{verb.capitalize()} policies")
        for verb in ("create", "delete", "list", "read", "update")
    },
    ("acl", "role"): ("", "Tools for roles"),
    **{
        ("acl", "role", verb): ("acl_role", f"{verb.capitalize()} roles")
        for verb in ("create", "delete", "list", "read", "update")
    },
    ("acl", "set-agent-token"): ("acl", "Gives the agent a token to use"),
    ("acl", "templated-policy"): ("", "Tools for templated policies"),
    **{
        ("acl", "templated-policy", verb): ("acl", f"{verb.capitalize()} templated policies")
        for verb in ("list", "preview", "read")
    },
    ("acl", "token"): ("", "Tools for tokens"),
    **{
        ("acl", "token", verb): ("acl_token", f"{verb.capitalize()} tokens")
        for verb in ("clone", "create", "delete", "list", "read", "update")
    },
    ("acl", "translate-rules"): ("acl", "Turns old rules into new ones"),
    ("agent",): ("agent", "Runs an agent"),
    ("catalog",): ("", "Interact with the catalog"),
    ("catalog", "datacenters"): ("catalog", "Lists all known datacenters"),
    ("catalog", "nodes"): ("catalog", "Lists nodes of a datacenter"),
    ("catalog", "services"): ("catalog", "Lists services of a datacenter"),
    ("config",): ("", "Interact with config entries"),
    ("config", "delete"): ("config", "Delete a config entry"),
    ("config", "list"): ("config", "List the config entries of a kind"),
    ("config", "plan"): ("config", "Say what writing a config entry would do"),
    ("config", "read"): ("config", "Display a config entry"),
    ("config", "write"): ("config", "Write a config entry"),
    ("config-plan",): ("config_plan", "Says what changed configuration files would do"),
    ("connect",): ("", "Interact with the service mesh"),
    ("connect", "ca"): ("", "Interact with the mesh's certificate authority"),
    ("connect", "ca", "csr"): ("ca_external", "Print the request for an intermediate"),
    ("connect", "ca", "get-config"): ("connect", "Display the authority's configuration"),
    ("connect", "ca", "revocations"): ("revoke", "List certificates that are denied"),
    ("connect", "ca", "revoke"): ("revoke", "Deny certificates of services"),
    ("connect", "ca", "roots"): ("connect", "List the root certificates"),
    ("connect", "ca", "rotate"): ("connect", "Replace the active root certificate"),
    ("connect", "ca", "set-config"): ("connect", "Modify the authority's configuration"),
    ("connect", "ca", "set-intermediate"): ("ca_external", "Install a signed intermediate"),
    ("connect", "ca", "unrevoke"): ("revoke", "Let denied certificates count again"),
    ("connect", "envoy"): ("envoy", "Would run Envoy as a sidecar"),
    ("connect", "expose"): ("envoy", "Puts a service behind an ingress gateway"),
    ("connect", "redirect-traffic"): ("redirect", "Leads connections to a transparent sidecar"),
    ("connect", "proxy"): ("connect", "Runs a built-in mTLS proxy"),
    ("debug",): ("debug", "Gathers what there is to know of an agent"),
    ("dns",): ("", "Tools for DNS"),
    ("dns", "setup"): ("dns", "Says how another DNS server passes our names on"),
    ("doctor",): ("doctor", "Looks for what is wrong with an agent and its host"),
    ("drill",): ("faults", "Breaks a throw-away cluster and tells the story"),
    ("event",): ("event", "Fires a user event"),
    ("exec",): ("exec", "Runs a command on many hosts"),
    ("explain",): ("explain", "Says why a decision fell"),
    ("force-leave",): ("membership", "Forces a failed member into the left state"),
    ("info",): ("info", "Provides debugging information for operators"),
    ("intention",): ("", "Interact with intentions"),
    ("intention", "check"): ("intention", "Check whether a connection would be allowed"),
    ("intention", "create"): ("intention", "Create intentions"),
    ("intention", "delete"): ("intention", "Delete an intention"),
    ("intention", "get"): ("intention", "Show an intention"),
    ("intention", "list"): ("intention", "List all intentions"),
    ("intention", "match"): ("intention", "Show intentions that match a service"),
    ("intention", "learn"): ("intention", "Show who asked whom, and what would allow just that"),
    ("intention", "plan"): ("intention", "Show which pairs an intention would change"),
    ("join",): ("membership", "Tell the agent to join a cluster"),
    ("keygen",): ("version", "Generates a new gossip key"),
    ("keyring",): ("keyring", "Lists or changes the gossip keys of all agents"),
    ("kv",): ("", "Interact with the key-value store"),
    ("kv", "delete"): ("kv", "Removes keys"),
    ("kv", "export"): ("kv_transfer", "Exports a part of the tree as JSON"),
    ("kv", "get"): ("kv", "Retrieves or lists keys"),
    ("kv", "import"): ("kv_transfer", "Imports a tree from JSON"),
    ("kv", "put"): ("kv", "Sets or updates a key"),
    ("leave",): ("membership", "Gracefully leaves the cluster and stops the agent"),
    ("lock",): ("lock", "Runs a command while a lock is held"),
    ("login",): ("login", "Gets a token for the identity of another system"),
    ("logout",): ("login", "Deletes a token that a login gave out"),
    ("maint",): ("maint", "Controls node or service maintenance mode"),
    ("members",): ("membership", "Lists the members of the cluster"),
    ("monitor",): ("monitor", "Shows the log of an agent"),
    ("operator",): ("", "Tools for operators"),
    ("operator", "autopilot"): ("", "Tools for the care of the servers"),
    ("operator", "autopilot", "get-config"): ("autopilot", "Display the configuration"),
    ("operator", "autopilot", "set-config"): ("autopilot", "Modify the configuration"),
    ("operator", "autopilot", "state"): ("autopilot", "Display the servers' state"),
    ("operator", "raft"): ("", "Tools for the Raft cluster"),
    ("operator", "raft", "list-peers"): ("operator", "Display the Raft peers"),
    ("operator", "raft", "remove-peer"): ("operator", "Remove a server from the Raft peers"),
    ("operator", "raft", "transfer-leader"): ("operator", "Hand leadership to another server"),
    ("operator", "usage"): ("", "Tools for counting"),
    ("operator", "usage", "instances"): ("usage", "Counts services and instances"),
    ("raft",): ("", "Tools for servers that are stopped"),
    ("raft", "recover"): ("raft", "Go on after the loss of a quorum"),
    ("proxy",): ("", "A look at what sidecars do"),
    ("proxy", "tap"): ("proxy", "Shows requests as they pass a sidecar"),
    ("reload",): ("membership", "Tells the agent to read its configuration again"),
    ("rtt",): ("rtt", "Estimates the round trip between two nodes"),
    ("services",): ("", "Interact with services"),
    ("services", "deregister"): ("services", "Deregister services from the local agent"),
    ("services", "export"): ("export", "Exports a service to peers"),
    ("services", "register"): ("services", "Register services with the local agent"),
    ("snapshot",): ("", "Saves, restores and inspects the state of the servers"),
    ("snapshot", "inspect"): ("snapshot", "Displays what is in a saved state"),
    ("snapshot", "restore"): ("snapshot", "Restores a saved state of the servers"),
    ("snapshot", "save"): ("snapshot", "Saves the state of the servers for a backup"),
    ("tls",): ("", "Tools for certificates of TLS between agents"),
    ("tls", "ca"): ("", "Tools for the authority"),
    ("tls", "ca", "create"): ("tls", "Makes an authority"),
    ("tls", "cert"): ("", "Tools for certificates"),
    ("tls", "cert", "create"): ("tls", "Makes a certificate"),
    ("validate",): ("validate", "Validates configuration files and folders"),
    ("verify",): ("faults", "Tests a running cluster, harmlessly"),
    ("version",): ("version", "Prints the version"),
    ("watch",): ("watch", "Watches for changes"),
}
_VERSION = frozenset({"-v", "-version", "--version"})
_HELP = frozenset({"-h", "-help", "--help"})
_AUTOCOMPLETE = frozenset({"autocomplete-install", "autocomplete-uninstall"})
_UNKNOWN_STATUS = 127
#: Commands of newer releases and of Enterprise whose features are not there: told, not taken for a
#: slip.
_NOT_SUPPORTED = frozenset(
    {"license", "namespace", "partition", "peering", "resource", "troubleshoot"}
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; gives the exit status."""
    words = list(sys.argv if argv is None else argv)
    program = os.path.basename(words[0]) if words else ""
    if not program or program.endswith(".py"):
        program = "lictor"
    try:
        if "COMP_LINE" in os.environ:
            return _complete(os.environ["COMP_LINE"], os.environ.get("COMP_POINT", ""))
        status = run(program, words[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone. Nothing may be written at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 1
    return status


def _complete(line: str, point: str) -> int:
    from agent.cli.completion import candidates

    # Shells count in bytes.
    raw = os.fsencode(line)
    upto = os.fsdecode(raw[: int(point)] if point.isdecimal() else raw)
    for word in candidates(upto, TABLE, load):
        print(word)
    return 0


def _autocomplete(program: str, flag: str) -> int:
    import shutil

    from agent.cli import completion

    change = completion.install if flag.endswith("-install") else completion.uninstall
    try:
        for file in change(program, shutil.which(program) or program, Path.home()):
            print(f"{file}: start a new shell, or read the file again")
    except (completion.InstallError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def run(program: str, words: Sequence[str]) -> int:
    """Find the command and run it."""
    start = next((at for at, word in enumerate(words) if not word.startswith("-")), len(words))
    before = words[:start]
    if any(word in _VERSION for word in before):
        return _command(program, ("version",), [])
    if len(before) == 1 and before[0].lstrip("-") in _AUTOCOMPLETE:
        return _autocomplete(program, before[0])
    path = _match(words[start:])
    if not path:
        if any(word in _HELP for word in before) and start == len(words):
            print(_group_help(program, ()), end="")
            return 0
        if start < len(words) and words[start] in _NOT_SUPPORTED:
            print(f"{words[start]} is not supported", file=sys.stderr)
            return 1
        print(_group_help(program, ()), end="", file=sys.stderr)
        return _UNKNOWN_STATUS
    rest = words[start + len(path) :]
    if before and not all(word in _HELP for word in before):
        print(
            "Invalid flags before the subcommand. If these flags are for\n"
            "the subcommand, please put them after the subcommand.\n",
            file=sys.stderr,
        )
        print(_help(program, path), end="", file=sys.stderr)
        return 1
    if before or (rest and rest[0] in _HELP):
        print(_help(program, path), end="")
        return 0
    if not TABLE[path][0]:
        print(_group_help(program, path), end="", file=sys.stderr)
        return 1
    return _command(program, path, rest)


def _match(words: Sequence[str]) -> tuple[str, ...]:
    """The longest known command at the start of these words."""
    longest: tuple[str, ...] = ()
    while len(longest) < len(words) and (*longest, words[len(longest)]) in TABLE:
        longest = (*longest, words[len(longest)])
    return longest


def load(path: tuple[str, ...]) -> Command:
    """The command of these words."""
    module = importlib.import_module(f"agent.cli.{TABLE[path][0]}")
    command = module.COMMANDS[path]
    assert isinstance(command, Command)
    return command


def _command(program: str, path: tuple[str, ...], words: Sequence[str]) -> int:
    command = load(path)
    try:
        flags = parse(command.all_flags, words, anywhere=command.flags_anywhere)
    except HelpWanted:
        print(help_text(program, command), end="")
        return 0
    except FlagError as error:
        print(f"{error}\n{help_text(program, command)}", end="", file=sys.stderr)
        return command.error_status
    call = Call(program=program, flags=flags, environ=os.environ)
    if not command.http:
        return command.run(call)
    from agent.cli.client import SetupError

    try:
        return command.run(call)
    except SetupError as error:
        return call.fail(f"Error connecting to {call.title} agent: {error}", command.error_status)


def _help(program: str, path: tuple[str, ...]) -> str:
    if TABLE[path][0]:
        return help_text(program, load(path))
    return _group_help(program, path)


def _group_help(program: str, path: tuple[str, ...]) -> str:
    below = {
        words[-1]: synopsis
        for words, (_, synopsis) in sorted(TABLE.items())
        if len(words) == len(path) + 1 and words[: len(path)] == path
    }
    width = max(len(word) for word in below)
    head = " ".join([program, *path])
    if path:
        title, kind = f"Usage: {head} <subcommand> [options] [args]", "Subcommands"
    else:
        title, kind = (
            f"Usage: {head} [--version] [--help] [-autocomplete-(un)install] <command> [<args>]",
            "Available commands are",
        )
    lines = [f"    {word.ljust(width)}    {synopsis}" for word, synopsis in below.items()]
    about = [f"  {TABLE[path][1]}.", ""] if path else []
    return "\n".join([title, "", *about, f"{kind}:", *lines, ""])
