"""What an agent's configuration allows of archives of the state: of every agent, server or not."""

from __future__ import annotations

from agent.backend.archives import ArchiveConfig
from agent.config.schema import AgentConfig


def archive_config(config: AgentConfig) -> ArchiveConfig:
    """The bounds of an agent's configuration."""
    return ArchiveConfig(
        folder=config.data_dir,
        bytes_max=config.limits.archive_max_size,
        unpacked_bytes_max=config.limits.archive_max_unpacked_size,
        timeout_s=config.limits.archive_timeout_s,
        at_once_max=config.limits.archives_max,
    )
