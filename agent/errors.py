"""Errors of the agent. Only agent/http/server.py turns them into HTTP statuses."""

from __future__ import annotations


class AgentError(Exception):
    """Root of the agent's errors."""


class ConfigError(AgentError):
    """The configuration cannot be used. The text names the file and the key."""


class RequestError(AgentError):
    """A request is answered with ``status`` and the text, in the words clients expect."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class ForwardError(AgentError):
    """A server could not be asked. ``definite``: the request was certainly not carried out."""

    def __init__(self, text: str, *, definite: bool) -> None:
        super().__init__(text)
        self.definite = definite


class NoServers(ForwardError):
    """This agent knows no server ("No known Consul servers")."""

    def __init__(self) -> None:
        super().__init__("No known Consul servers", definite=True)


class NoClusterLeader(ForwardError):
    """No server leads, also after holding the request ("No cluster leader")."""

    def __init__(self) -> None:
        super().__init__("No cluster leader", definite=True)
