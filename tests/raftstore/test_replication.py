"""What the store asks of a log: the real one and the tests' one have all of it."""

from __future__ import annotations

from typing import Any

import pytest

from raftstore.raft import RaftNode
from raftstore.raft.status import RaftStatus
from raftstore.replication import Log, LogStatus
from tests.raftstore.instant import InstantLog


def asked_of(protocol: Any) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


@pytest.mark.parametrize("name", sorted(asked_of(Log) - {"fatal", "operations"}))
def test_raft_is_such_a_log(name: str):
    assert hasattr(RaftNode, name)


def test_its_status_tells_what_is_asked():
    assert asked_of(LogStatus) <= set(RaftStatus.__dataclass_fields__) | set(vars(RaftStatus))


def test_a_log_without_a_cluster_is_one_too():
    given = set(vars(InstantLog)) | set(InstantLog.__dataclass_fields__)
    assert {"propose", "read_index", "status", "fatal", "bootstrapped"} <= given
