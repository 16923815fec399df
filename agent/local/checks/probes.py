"""Which probe looks at which kind of check, and what the probes share."""

from __future__ import annotations

import logging
from enum import Enum

from agent.certificates import TlsConfig
from agent.definitions import CheckDefinition
from agent.late import loaded
from agent.local.checks.contexts import Contexts
from agent.local.checks.http import HttpProber
from agent.local.checks.os_service import probe_os_service
from agent.local.checks.probe import ProbeResult
from agent.local.checks.script import probe_script
from agent.local.checks.tcp import probe_tcp
from agent.local.checks.udp import probe_udp
from agent.local.programs import Programs
from raftstore.records import CRITICAL

log = logging.getLogger("lictor.agent.local.checks")


class Lane(Enum):
    """What a running probe takes up; each is bounded by itself, so that slow programs do not keep
    connections waiting."""

    CONNECTION = "connection"
    PROGRAM = "program"


#: Kinds that are probed from here; the rest report themselves, follow others, or are refused.
LANES = {
    "http": Lane.CONNECTION,
    "tcp": Lane.CONNECTION,
    "udp": Lane.CONNECTION,
    "grpc": Lane.CONNECTION,
    "h2ping": Lane.CONNECTION,
    "script": Lane.PROGRAM,
    "docker": Lane.PROGRAM,
    "os_service": Lane.PROGRAM,
}


#: What is asked for in the TLS handshake of checks that speak HTTP/2 (RFC 9113, 3.2).
HTTP2 = "h2"


class Probes:
    """Looks at applications."""

    def __init__(self, agent_tls: TlsConfig | None = None) -> None:
        """``agent_tls`` is None unless checks are to use the agent's certificate."""
        self._contexts = Contexts(agent_tls)
        self._http = HttpProber(self._contexts)
        self._programs = Programs()

    def configure(self, agent_tls: TlsConfig | None) -> None:
        """Use these files from now on."""
        self._contexts.configure(agent_tls)

    async def close(self) -> None:
        """Close what is open."""
        await self._http.close()
        await self._programs.close()

    async def probe(self, check: CheckDefinition, output_max: int) -> ProbeResult:
        """Look once; whatever happens is a result."""
        try:
            return await self._probe(check, output_max)
        except Exception as error:  # one check's trouble must not end the running of the others
            log.exception("check broke check=%s", check.id)
            return ProbeResult(CRITICAL, f"the check could not be run: {error}")

    async def _probe(self, check: CheckDefinition, output_max: int) -> ProbeResult:
        match check.kind:
            case "http":
                return await self._http.probe(check, output_max)
            case "tcp":
                of = self._contexts.of
                return await probe_tcp(check, await of(check) if check.tcp_use_tls else None)
            case "udp":
                return await probe_udp(check)
            case "grpc":
                tls = check.grpc_use_tls
                context = await self._contexts.of(check, HTTP2) if tls else None
                await loaded("agent.local.checks.grpc")  # HTTP/2 is only for those who check it
                from agent.local.checks.grpc import probe_grpc

                return await probe_grpc(check, context)
            case "h2ping":
                tls = check.h2ping_use_tls
                context = await self._contexts.of(check, HTTP2) if tls else None
                await loaded("agent.local.checks.h2ping")
                from agent.local.checks.h2ping import probe_h2ping

                return await probe_h2ping(check, context)
            case "os_service":
                return await probe_os_service(check, self._programs)
            case "docker":
                await loaded("agent.local.checks.docker")
                from agent.local.checks.docker import probe_docker

                return await probe_docker(check, output_max)
            case _:
                return await probe_script(check, output_max, self._programs)
