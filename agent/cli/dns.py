"""`dns setup`: what another DNS server has to be told, and whether names arrive through it."""

from __future__ import annotations

import dns.exception
import dns.flags
import dns.message
import dns.query
import dns.rcode

from agent.cli.command import Call, Command
from agent.cli.dns_snippets import PROGRAMS, Agent, Snippet
from agent.cli.flags import Flag, Kind

TIMEOUT_S = 3.0


def _setup(call: Call) -> int:
    flags = call.flags
    program = flags.text("for")
    if program not in PROGRAMS:
        known = ", ".join(PROGRAMS)
        return call.fail(f"-for says for which program: {known}")
    host, _, port = flags.text("dns-addr").rpartition(":")
    if not host or not port.isdecimal():
        return call.fail(f"-dns-addr is no address with a port: {flags.text('dns-addr')}")
    agent = Agent(domain=flags.text("domain").strip("."), host=host.strip("[]"), port=int(port))
    snippet = PROGRAMS[program](agent)
    if not flags["check"]:
        call.say(snippet.text.rstrip())
        print(f"\nWrite this into {snippet.file}, then: {snippet.then}", file=call.err)
        print(f"Whether it works: {call.program} dns setup -for={program} -check", file=call.err)
        return 0
    return _check(call, agent, snippet)


def _check(call: Call, agent: Agent, snippet: Snippet) -> int:
    """Ask the agent itself, then the other program, for the same."""
    through = call.flags.text("resolver") or snippet.listens
    host, port = through, 53
    if through.count(":") == 1 or through.startswith("["):
        text, _, number = through.rpartition(":")
        if number.isdecimal():
            host, port = text, int(number)
    found = _servers(agent.domain, agent.host, agent.port)
    if isinstance(found, str):
        return call.fail(f"The agent at {agent.bracketed} does not answer: {found}")
    call.say(f"The agent at {agent.bracketed} answers for {agent.domain}")
    passed_on = _servers(agent.domain, host.strip("[]"), port)
    if isinstance(passed_on, str):
        return call.fail(f"{host} port {port} does not pass {agent.domain} on: {passed_on}")
    if not passed_on:
        return call.fail(f"{host} port {port} answers for {agent.domain} without the agent's names")
    call.say(f"{host} port {port} passes {agent.domain} on to it")
    return 0


def _servers(domain: str, host: str, port: int) -> set[str] | str:
    """The addresses of the servers' own service, or what went wrong.

    Every cluster has that service, so a name which is there is asked for.
    """
    query = dns.message.make_query(f"consul.service.{domain}.", "A")
    try:
        reply = dns.query.udp(query, host, port=port, timeout=TIMEOUT_S)
    except (OSError, dns.exception.DNSException) as error:
        return str(error) or type(error).__name__
    if reply.rcode() != dns.rcode.NOERROR:
        return f"{dns.rcode.to_text(reply.rcode())} for consul.service.{domain}"
    return {rdata.to_text() for rrset in reply.answer for rdata in rrset}


COMMANDS: dict[tuple[str, ...], Command] = {
    ("dns", "setup"): Command(
        usage="dns setup -for=PROGRAM [options]",
        help="Prints what PROGRAM has to be told so that it passes the agent's domain on:\n"
        f"{', '.join(PROGRAMS)}. With -check it prints nothing of that, and says instead whether\n"
        "names arrive, at the agent itself and through the program.",
        run=_setup,
        http=False,
        flags=(
            Flag("for", "The program."),
            Flag("domain", "The agent's domain.", default="consul"),
            Flag("dns-addr", "Where the agent answers DNS.", default="127.0.0.1:8600"),
            Flag("check", "Say whether it works.", Kind.BOOL),
            Flag("resolver", "Where the program answers; its usual address by default."),
        ),
    ),
}
