"""What a server keeps, and how it is saved and restored: made of the agent's configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from agent.archive_bounds import archive_config
from agent.backend.archive_transfers import ArchiveTransfers
from agent.backend.archives import LocalArchives
from agent.config.schema import AgentConfig
from agent.errors import ConfigError
from raftstore.raft.members import Config
from raftstore.recover import take_peers_file
from raftstore.recovery import RecoveryRefused
from raftstore.store import Store, StoreConfig

if TYPE_CHECKING:
    from agent.backend.local import LocalBackend


def store_config(config: AgentConfig) -> StoreConfig:
    """The settings of a server's store."""
    return StoreConfig(
        node_id=config.node_id,
        data_dir=config.data_dir,
        raft_multiplier=config.raft_multiplier,
        raft_lease=config.raft_lease,
        yield_when_full=config.raft_yield_when_full,
        snapshot_entries=config.raft_snapshot_threshold,
        snapshot_interval_s=config.raft_snapshot_interval_s,
        trailing_entries=config.raft_trailing_logs,
        blocking_queries_max=config.limits.blocking_queries_max,
    )


def use_peers_file(config: AgentConfig, *, address: str) -> Config | None:
    """Go on with the servers of a peers.json, if there is one. Raises ConfigError."""
    if not config.data_dir:
        return None
    try:
        return take_peers_file(config.data_dir, own_id=config.node_id, own_address=address)
    except RecoveryRefused as error:
        raise ConfigError(str(error)) from None


def server_archives(
    backend: LocalBackend, store: Store, config: AgentConfig
) -> tuple[LocalArchives, ArchiveTransfers]:
    """A server's own, and what it does for agents without a vote."""
    archives = LocalArchives(backend, store, archive_config(config))
    return archives, ArchiveTransfers(archives, archive_config(config))
