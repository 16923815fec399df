"""Links between servers, with hostile peers on real sockets: closed and counted, nothing more."""

import asyncio
import random
import struct
from dataclasses import replace

import msgpack
import pytest

from raftstore.raft import FIRST_BYTE, MemJournal, RaftConfig, RaftNode
from raftstore.raft.frames import (
    PROTOCOL_VERSION,
    Append,
    Hello,
    Removed,
    Returned,
    VoteReply,
    encode,
)
from raftstore.raft.log import NOOP_COMMAND
from raftstore.raft.transport import PeerNetwork
from tests.raftstore.raft.cluster import introduce, open_door, servers, until

PICKLED = b"\x80\x04\x8c\x05posix\x8c\x06system\x93."  # what stock peers would send and load


@pytest.fixture
async def target():
    """A bootstrapped node "b" of the cluster a, b, c, and its port."""
    node = RaftNode(
        RaftConfig(node_id="b", hello_timeout_s=0.3),
        journal=MemJournal(),
        apply=lambda index, stamp, payload: None,
    )
    door = await open_door(node.accept)
    await node.start()
    node.bootstrap(dict.fromkeys("abc", ""))
    yield node, door.sockets[0].getsockname()[1]
    door.close()
    await node.stop()


async def knock(port: int, data: bytes, *, introduced_by: bytes = b"") -> bytes:
    """Send bytes, after an introduction if there is a hello; what comes back until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        if introduced_by:
            await introduce(reader, writer, introduced_by)
            writer.write(data)
        else:
            writer.write(FIRST_BYTE + data)
        return await asyncio.wait_for(reader.read(), 5.0)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def hello(node, **changes):
    fields = {
        "version": PROTOCOL_VERSION,
        "cluster_id": node.cluster_id,
        "node_id": "c",
        "to_node_id": "b",
        "boot_nonce": 1,
    }
    return encode(Hello(**{**fields, **changes}))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "frame too large"),
        (struct.pack(">I", 2**31), "frame too large"),
        (struct.pack(">I", 4097), "frame too large"),
        (struct.pack(">I", 10) + b"\xc1" * 10, "malformed frame"),
        (struct.pack(">I", 40) + PICKLED.ljust(40), "malformed frame"),
        (encode(VoteReply(1, True)), "malformed frame"),
        (b"", "hello timeout"),
        (b"\0\0", "hello timeout"),
    ],
)
async def test_garbage_before_the_hello_closes_the_link(target, data, reason):
    node, port = target
    assert await knock(port, data) == b""
    assert node.status().dropped[reason] == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"version": 99}, "wrong protocol version"),
        ({"cluster_id": "another"}, "wrong cluster"),
        ({"node_id": "x"}, "stranger"),
        ({"node_id": "b"}, "wrong node"),
        ({"to_node_id": "a"}, "wrong node"),
    ],
)
async def test_a_wrong_introduction_closes_the_link(target, changes, reason):
    node, port = target
    assert await knock(port, hello(node, **changes)) == b""
    assert node.status().dropped[reason] == 1


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (struct.pack(">I", 2**23 + 1), "frame too large"),
        (struct.pack(">I", 30) + PICKLED.ljust(30), "malformed frame"),
        (struct.pack(">I", 3) + msgpack.packb([200]), "malformed frame"),
    ],
)
async def test_garbage_after_the_hello_closes_the_link(target, data, reason):
    node, port = target
    await knock(port, data, introduced_by=hello(node))
    assert node.status().dropped[reason] == 1


async def test_a_forged_leader_cannot_bring_kinds_that_the_engine_would_unpickle(target):
    node, port = target
    rows = [[10**6, b"\x02" + PICKLED]]
    frame = msgpack.packb([1, 10**6, 1, 1, 0, 1, rows])
    await knock(port, struct.pack(">I", len(frame)) + frame, introduced_by=hello(node))
    assert node.status().dropped["malformed frame"] == 1
    assert node.status().last_index == 1


@pytest.mark.parametrize(
    ("addresses", "reason", "refused"),
    [(1, "too many connections of one address", 62), (70, "too many connections", 6)],
)
async def test_connections_that_say_nothing_are_bounded(target, addresses, reason, refused):
    node, port = target
    # None of them may be too late before the last has come, however busy the machine.
    node._network.config = replace(node._network.config, hello_timeout_s=30.0)
    writers = []
    for at in range(70):
        local = (f"127.9.0.{1 + at % addresses}", 0)
        _, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=local)
        writer.write(FIRST_BYTE)
        writers.append(writer)
    await until(lambda: node.status().dropped.get(reason, 0) == refused)
    for writer in writers:
        writer.close()


async def test_a_frame_in_small_pieces_and_many_in_one_are_read_alike(target):
    node, port = target
    append = encode(
        Append(term=1, seq=1, prev_index=1, prev_term=0, commit=1, entries=((NOOP_COMMAND, 2, 1),))
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await introduce(reader, writer, hello(node), in_pieces=True)
    for byte in append:
        writer.write(bytes((byte,)))
        await writer.drain()
    await until(lambda: node.status().last_index == 2)
    writer.write(append * 50)
    data = b""
    async with asyncio.timeout(5):
        while len(data) < 400:
            data += await reader.read(65536)
    writer.close()


async def test_a_newer_link_replaces_the_older_one_to_the_same_peer(target):
    node, port = target
    first, second = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
    for reader, writer in (first, second):
        await introduce(reader, writer, hello(node))
    assert await asyncio.wait_for(first[0].read(), 5) is not None
    assert node.status().dropped["replaced"] == 1
    for _, writer in (first, second):
        writer.close()


async def test_links_come_back_after_they_were_cut():
    async with servers(3) as cluster:
        await cluster.write(b"x")
        for server in cluster.all:
            for link in list(server.node._network._links.values()):
                link.close("replaced")
        await cluster.write(b"y")
        await until(lambda: all([p for _, p in s.applied] == [b"x", b"y"] for s in cluster.all))


def network(name, received, *, members, election_min_s=0.2):
    net = PeerNetwork(
        RaftConfig(node_id=name, write_buffer_bytes_max=2**16, election_min_s=election_min_s),
        cluster_id=lambda: "one",
        on_message=lambda peer, message, size: received.append((peer, message)) or True,
        on_up=lambda peer, hello: received.append((peer, "up")),
        on_down=lambda peer: received.append((peer, "down")),
        rng=random.Random(1),
    )
    net.start()
    net.set_members(members)
    return net


async def test_the_greater_node_id_dials_and_the_smaller_waits():
    heard = {"a": [], "b": []}
    nets = {name: network(name, heard[name], members="ab") for name in "ab"}
    doors = {name: await open_door(net.accept) for name, net in nets.items()}
    ports = {name: door.sockets[0].getsockname()[1] for name, door in doors.items()}
    nets["a"].set_address("b", "127.0.0.1", ports["b"])
    assert not nets["a"]._dialling
    nets["b"].set_address("a", "127.0.0.1", ports["a"])
    await until(lambda: nets["a"].linked("b") and nets["b"].linked("a"))
    nets["a"].send("b", VoteReply(1, True))
    await until(lambda: heard["b"] == [("a", "up"), ("a", VoteReply(1, True))])
    nets["b"].set_members("b", removed="a", index=7)
    await until(lambda: heard["a"][-2:] == [("b", Removed(7)), ("b", "down")])
    told = len(heard["a"])
    await nets["b"]._dial("a")  # and again whenever they meet, but nothing else
    assert not nets["b"].linked("a") and nets["b"].dropped["removed from the cluster"] == 2
    assert len(heard["a"]) >= told
    for name in "ab":
        doors[name].close()
        await nets[name].stop()


async def test_a_peer_that_does_not_read_loses_its_link(target):
    heard = []
    net = network("a", heard, members="ab")
    door = await open_door(net.accept)
    port = door.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ours = hello(target[0], node_id="b", to_node_id="a", cluster_id="one")
    await introduce(reader, writer, ours)
    writer.transport.pause_reading()
    await until(lambda: net.linked("b"))
    entry = (b"\x04" + b"x" * 2**19, 2, 1)
    async with asyncio.timeout(10):
        while net.linked("b"):
            net.send(
                "b",
                Append(term=1, seq=1, prev_index=1, prev_term=1, commit=0, entries=(entry,)),
            )
            await asyncio.sleep(0)
    assert net.dropped["peer does not read"] == 1
    assert net.dropped["message to a blocked peer"] > 0
    writer.close()
    door.close()
    await net.stop()


async def test_a_peer_that_reads_again_in_time_keeps_its_link(target):
    heard = []
    net = network("a", heard, members="ab", election_min_s=30.0)
    door = await open_door(net.accept)
    reader, writer = await asyncio.open_connection("127.0.0.1", door.sockets[0].getsockname()[1])
    await introduce(reader, writer, hello(target[0], node_id="b", to_node_id="a", cluster_id="one"))
    writer.transport.pause_reading()
    await until(lambda: net.linked("b"))
    entry = (b"\x04" + b"x" * 2**19, 2, 1)
    async with asyncio.timeout(10):
        while not net.dropped["message to a blocked peer"]:
            net.send(
                "b",
                Append(term=1, seq=1, prev_index=1, prev_term=1, commit=0, entries=(entry,)),
            )
            await asyncio.sleep(0)
    writer.transport.resume_reading()
    link = net._links["b"]
    while link._blocked_timer is not None:
        await asyncio.wait_for(reader.read(65536), 5)
    assert net.linked("b")
    writer.close()
    door.close()
    await net.stop()


async def test_a_recorded_stream_opens_nothing(target):
    node, port = target
    append = encode(
        Append(term=7, seq=1, prev_index=1, prev_term=0, commit=1, entries=((NOOP_COMMAND, 7, 1),))
    )
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    recorded = await introduce(reader, writer, hello(node)) + append
    writer.write(append)
    await until(lambda: node.status().last_index == 2)
    up = node.status()
    for _ in range(3):
        await knock(port, recorded[1:])
    assert node.status().dropped["replayed hello"] == 3
    assert node.status().dropped.get("replaced", 0) == 0
    assert (node.status().last_index, node.status().term) == (up.last_index, up.term)
    writer.close()


async def test_a_removed_server_is_let_in_again_when_a_member_vouches_for_it(target):
    net = network("a", [], members="ab")
    net.set_members("ab", removed="x", index=7)
    door = await open_door(net.accept)
    port = door.sockets[0].getsockname()[1]
    hi = {"to_node_id": "a", "cluster_id": "one"}
    returning = hello(target[0], node_id="x", config_index=2**62, **hi)
    told = await knock(port, returning)
    assert told.endswith(encode(Removed(7))) and net.dropped["removed from the cluster"] == 1

    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await introduce(reader, writer, hello(target[0], node_id="b", **hi))
    writer.write(encode(Returned(8, ("x",))))
    await until(lambda: net._admission.removed and not net._admission.is_removed("x"))
    back, its = await asyncio.open_connection("127.0.0.1", port)
    await introduce(back, its, returning)
    await until(lambda: net.linked("x"))
    net.set_members("ab", removed="x", index=8)  # and removed once more
    await until(lambda: not net.linked("x"))
    for each in (writer, its):
        each.close()
    door.close()
    await net.stop()


async def test_members_that_came_back_are_vouched_for_on_every_link(target):
    net = network("a", [], members="ab")
    door = await open_door(net.accept)
    port = door.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    ours = hello(target[0], node_id="b", to_node_id="a", cluster_id="one")
    await introduce(reader, writer, ours)
    await until(lambda: net.linked("b"))
    net.set_members("abx", index=9, returned=("x",))
    vouch = encode(Returned(9, ("x",)))
    assert await asyncio.wait_for(reader.readexactly(len(vouch)), 5) == vouch
    again, other = await asyncio.open_connection("127.0.0.1", port)
    await introduce(again, other, ours)
    assert await asyncio.wait_for(again.readexactly(len(vouch)), 5) == vouch
    for each in (writer, other):
        each.close()
    door.close()
    await net.stop()


async def test_an_inbox_is_full_by_bytes_too():
    replica_config = RaftConfig(node_id="a", inbox_bytes_max=1000)
    node = RaftNode(replica_config, journal=MemJournal(), apply=lambda index, stamp, payload: None)
    assert node._message("b", VoteReply(1, True), 600)
    assert not node._message("b", VoteReply(1, True), 600)
    assert node._message("b", VoteReply(1, True), 400)


class Dice(random.Random):
    """Always the same throw, and counted."""

    throws = 0

    def uniform(self, a, b):
        self.throws += 1
        return a


class ShortLinks(PeerNetwork):
    """Every link comes up and is gone at once, as when two dial each other at the same time."""

    dialled = 0

    async def _dial(self, peer):
        self.dialled += 1
        return True


async def test_the_pause_after_a_link_that_did_not_last_is_thrown_with_dice():
    dice = Dice()
    net = ShortLinks(
        RaftConfig(node_id="b", redial_min_s=0.001, redial_max_s=0.01),
        cluster_id=lambda: "one",
        on_message=lambda peer, message, size: True,
        on_up=lambda peer, hello: None,
        on_down=lambda peer: None,
        rng=dice,
    )
    net.start()
    net.set_members(["a", "b"])
    net.set_address("a", "127.0.0.1", 1)
    await until(lambda: net.dialled >= 5)
    await net.stop()
    assert dice.throws >= net.dialled - 1
