"""The tokens that this agent uses itself, as they are now: configured, or set while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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

    __slots__ = ("_secrets", "_set", "_told", "version")

    def __init__(self, configured: AclTokens, kept: Mapping[str, str] | None = None) -> None:
        """``kept``: set while the agent ran before; these beat the configured ones."""
        self._set = dict(kept or {})
        self._secrets = _configured(configured) | self._set
        #: Rises with every change.
        self.version = 0
        self._told: list[Callable[[], None]] = []

    def on_change(self, told: Callable[[], None]) -> None:
        """Call back after every change."""
        self._told.append(told)

    def _changed(self) -> None:
        self.version += 1
        for told in self._told:
            told()

    def set(self, name: str, secret: str) -> None:
        """Use another secret from now on; ``name`` is one of ``NAMES``' values."""
        assert name in self._secrets, "the caller has translated the name"
        self._secrets[name] = secret
        self._set[name] = secret
        self._changed()

    def reload(self, configured: AclTokens) -> None:
        """Use what the configuration says now, where nothing else was set since the start."""
        secrets = _configured(configured) | self._set
        if secrets != self._secrets:
            self._secrets = secrets
            self._changed()

    @property
    def set_at_runtime(self) -> Mapping[str, str]:
        """What was set by request, now or before the last start."""
        return self._set

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

    def registering(self, own: str, *, configured: bool) -> str:
        """For writing a service or check into the catalog: its own token, or for one of a
        configuration file the token of those, or the default one. Never the agent's: what nobody
        may register is not registered with its rights."""
        return own or (self.config_file if configured else self._secrets["default"])

    @property
    def config_file(self) -> str:
        """For services and checks of configuration files."""
        return self._secrets["config_file_service_registration"] or self._secrets["default"]


def _configured(tokens: AclTokens) -> dict[str, str]:
    return {name: getattr(tokens, name) for name in dict.fromkeys(NAMES.values())}
