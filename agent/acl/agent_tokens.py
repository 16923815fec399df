"""The tokens that this agent uses itself, as they are now: configured, or set while it runs."""

from __future__ import annotations

from collections.abc import Mapping

from agent.config.schema import AclTokens

#: Name in `/v1/agent/token/NAME` -> our name; old names with the new ones.
NAMES: Mapping[str, str] = {
    "default": "default",
    "agent": "agent",
    "agent_recovery": "agent_recovery",
    "agent_master": "agent_recovery",
    "replication": "replication",
    "config_file_service_registration": "config_file_service_registration",
    "dns": "dns",
    "acl_token": "default",
    "acl_agent_token": "agent",
    "acl_agent_master_token": "agent_recovery",
    "acl_replication_token": "replication",
}


class AgentTokens:
    """Secrets by name. Which one is used for what is decided here."""

    __slots__ = ("_secrets", "version")

    def __init__(self, configured: AclTokens) -> None:
        self._secrets: dict[str, str] = {
            name: getattr(configured, name) for name in dict.fromkeys(NAMES.values())
        }
        #: Rises with every change.
        self.version = 0

    def set(self, name: str, secret: str) -> None:
        """Use another secret from now on; ``name`` is one of ``NAMES``' values."""
        assert name in self._secrets, "the caller has translated the name"
        self._secrets[name] = secret
        self.version += 1

    def get(self, name: str) -> str:
        """The secret of that very name, "" for none."""
        return self._secrets[name]

    @property
    def default(self) -> str:
        """For requests that show none, and registrations without one of their own."""
        return self._secrets["default"]

    @property
    def agent(self) -> str:
        """For what the agent does by itself."""
        return self._secrets["agent"] or self._secrets["default"]

    @property
    def recovery(self) -> str:
        """Allows to operate this very agent while no server can be asked."""
        return self._secrets["agent_recovery"]

    @property
    def dns(self) -> str:
        """For questions over DNS."""
        return self._secrets["dns"] or self._secrets["default"]

    @property
    def config_file(self) -> str:
        """For services and checks of configuration files."""
        return self._secrets["config_file_service_registration"] or self._secrets["default"]
