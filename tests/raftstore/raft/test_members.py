"""The configuration value and its one encoding."""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.errors import DecodeError
from raftstore.raft.members import VOTER, Config, Disk, Member, bootstrap_config, decode_config


def test_bootstrap_servers_make_the_same_record_whatever_the_order():
    one = bootstrap_config({"a": "h:1", "b": "h:2", "c": "h:3"})
    two = bootstrap_config({"c": "h:3", "b": "h:2", "a": "h:1"})
    assert one.encode() == two.encode()
    assert one.cluster_id == bootstrap_config({"a": "", "b": "", "c": ""}).cluster_id
    assert one.cluster_id != bootstrap_config({"a": "", "b": ""}).cluster_id
    assert one.voters == {"a", "b", "c"}


def test_a_configuration_comes_back_as_it_was():
    config = bootstrap_config({"a": "h:1", "b": "[::1]:2"})
    assert decode_config(config.encode()) == config


def test_disks_come_back_as_they_were_and_change_the_bytes_only_where_there_are_any():
    config = bootstrap_config({"a": "h:1", "b": "h:2"})
    noted = Config(config.cluster_id, {**config.members, "a": Member(VOTER, "h:1", "d1")}, ("x",))
    assert decode_config(noted.encode()) == noted
    assert msgpack.unpackb(config.encode())[0] == 1
    too_long = Config(config.cluster_id, {"a": Member(VOTER, "h:1", "d" * 65)})
    with pytest.raises(DecodeError):
        decode_config(too_long.encode())


@pytest.mark.parametrize(
    ("known", "disk", "keeps"),
    [
        ("d1", Disk("d1", founding=False), True),
        ("d1", Disk("d2", founding=True), False),
        ("d1", Disk("", founding=True), False),
        ("", Disk("d2", founding=True), True),
        ("", Disk("d2", founding=False), False),
    ],
)
def test_a_member_is_known_by_its_disk_or_by_having_been_there_first(known, disk, keeps):
    assert Member(VOTER, "h:1", known).keeps_promises_on(disk) is keeps


@pytest.mark.parametrize("members", [{}, {"": "h:1"}, {"x" * 129: "h:1"}, {"a": "h" * 300}])
def test_impossible_members_are_refused(members):
    with pytest.raises((ValueError, DecodeError)):
        bootstrap_config(members)


@given(st.binary(max_size=80))
def test_random_bytes_are_a_decode_error(data):
    with pytest.raises(DecodeError):
        decode_config(data)


@pytest.mark.parametrize(
    "value",
    [
        [1, "id", [["a", 4, ""]]],
        [1, "id", [["a", True, ""]]],
        [1, "id", [["a", 1, ""], ["a", 1, ""]]],
        [2, "id", [["a", 1, ""]]],
        [1, "", [["a", 1, ""]]],
        [1, "id", []],
        [1, "id", [["a", 1]]],
    ],
)
def test_wrong_shapes_are_refused(value):
    with pytest.raises(DecodeError):
        decode_config(msgpack.packb(value))
