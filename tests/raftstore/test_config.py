"""Defaults that other parts rely on."""

from __future__ import annotations

from raftstore.config import StateLimits, StoreConfig
from raftstore.wire import LIMITS


def test_a_store_keeps_everything_in_memory_unless_told_where():
    assert StoreConfig(node_id="s1").data_dir == ""


def test_more_outcomes_are_remembered_than_a_sender_can_have_in_flight():
    """A request whose outcome was forgotten too early could not be retried safely."""
    assert StateLimits().outcomes_max >= 4096


def test_a_command_has_room_for_the_largest_value_of_a_key():
    assert LIMITS.command_bytes_max >= 512 * 1024 + 4096
