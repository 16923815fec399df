"""The TLS settings of checks that dial with TLS.

By default a check shows no certificate and believes the system's authorities. With
``enable_agent_tls_for_checks`` it shows the agent's own and believes the agent's authorities.
Loading authorities takes longer than the loop may be held, so it is a thread's work, done once
for every combination of settings until the configuration changes.
"""

from __future__ import annotations

import asyncio
import ssl

from agent.certificates import TlsConfig
from agent.definitions import CheckDefinition


class Contexts:
    """Contexts by what checks ask for."""

    __slots__ = ("_agent_tls", "_made")

    def __init__(self, agent_tls: TlsConfig | None) -> None:
        """``agent_tls`` is None unless checks are to use the agent's certificate."""
        self._agent_tls = agent_tls
        self._made: dict[tuple[bool, str], ssl.SSLContext] = {}

    def configure(self, agent_tls: TlsConfig | None) -> None:
        """Use these files from now on; they are read anew even if their names are the same."""
        self._agent_tls = agent_tls
        self._made.clear()

    async def of(self, check: CheckDefinition, protocol: str = "") -> ssl.SSLContext:
        """How this check dials; ``protocol`` is what ALPN offers. Raises OSError for bad files."""
        key = (check.tls_skip_verify, protocol)
        context = self._made.get(key)
        if context is None:
            context = await asyncio.to_thread(_make, self._agent_tls, *key)
            self._made[key] = context
        return context


def _make(agent_tls: TlsConfig | None, skip_verify: bool, protocol: str) -> ssl.SSLContext:
    if agent_tls is not None and agent_tls.has_ca:
        context = ssl.create_default_context(
            cafile=agent_tls.ca_file or None, capath=agent_tls.ca_path or None
        )
    else:
        context = ssl.create_default_context()
    if agent_tls is not None and agent_tls.cert_file and agent_tls.key_file:
        context.load_cert_chain(agent_tls.cert_file, agent_tls.key_file)
    if skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if protocol:
        context.set_alpn_protocols([protocol])
    return context
