"""Members on real loopback sockets: join, detect, leave, encrypt, and survive garbage."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import random
import socket

import pytest

from gossip import ConfigError, Gossip, MemberEventKind, MemberStatus, exchange
from gossip.wire import messages
from gossip.wire.messages import NodeState, PushPull, State
from tests.gossip.rings import Watched, eventually, noted, quick, ring

KEY = bytes(range(32))


async def test_members_that_join_one_see_all_with_their_tags() -> None:
    configs = [quick(f"n{i}", tags={"id": str(i)}) for i in range(4)]
    async with ring(*configs) as members:
        for member in members:
            seen = {m.name: dict(m.tags) for m in member.gossip.members()}
            assert seen == {f"n{i}": {"id": str(i)} for i in range(4)}
            assert member.kinds("n0") == ["join"]


async def test_the_local_member_shows_the_port_that_was_bound() -> None:
    async with ring(quick("n0"), join=False) as (only,):
        member = only.gossip.local_member()
        assert member.port != 0
        assert (member.protocol_min, member.protocol_max, member.protocol_current) == (1, 5, 2)
        assert (member.delegate_min, member.delegate_max, member.delegate_current) == (2, 5, 5)
        assert member.status is MemberStatus.ALIVE


async def test_a_taken_port_is_an_error_of_start() -> None:
    async with ring(quick("n0"), join=False) as (first,):
        port = first.gossip.local_member().port
        second = Gossip(quick("n1", bind_port=port), on_member=lambda event: None)
        with pytest.raises(OSError, match="in use"):
            await second.start()
        await second.stop()


async def test_a_killed_member_fails_and_comes_back_after_a_restart() -> None:
    async with ring(quick("n0"), quick("n1"), quick("n2")) as members:
        port = members[2].gossip.local_member().port
        await members[2].gossip.stop()
        await eventually(
            lambda: all(m.status("n2") is MemberStatus.FAILED for m in members[:2]), "failed"
        )
        explanation = members[0].gossip.explain("n2")
        assert explanation is not None
        assert explanation.state == "dead"
        assert [t.state for t in explanation.transitions] == ["alive", "suspect", "dead"]
        again = Watched(quick("n2", bind_port=port))
        await again.gossip.start()
        try:
            await again.gossip.join([members[0].address])
            await eventually(
                lambda: all(m.status("n2") is MemberStatus.ALIVE for m in members[:2]), "back"
            )
            assert members[0].kinds("n2") == ["join", "failed", "join"]
        finally:
            await again.gossip.stop()


async def test_a_member_that_leaves_is_left_and_not_failed() -> None:
    async with ring(quick("n0"), quick("n1"), quick("n2")) as members:
        await members[1].gossip.leave()
        await eventually(
            lambda: all(members[i].status("n1") is MemberStatus.LEFT for i in (0, 2)), "left"
        )
        assert members[0].kinds("n1") == ["join", "leave"]


async def test_a_lone_member_leaves_without_waiting() -> None:
    async with ring(quick("n0"), join=False) as (only,):
        async with asyncio.timeout(1.0):
            await only.gossip.leave()


async def test_changed_tags_are_told_as_an_update() -> None:
    async with ring(quick("n0"), quick("n1")) as members:
        await members[1].gossip.set_tags({"role": "db"})
        await eventually(lambda: members[0].kinds("n1") == ["join", "update"], "update")
        assert members[0].events[-1].kind is MemberEventKind.UPDATE
        assert dict(members[0].events[-1].member.tags) == {"role": "db"}
        with pytest.raises(ConfigError, match="512"):
            await members[1].gossip.set_tags({"long": "x" * 600})


async def test_force_leave_turns_failed_into_left_and_prune_forgets() -> None:
    async with ring(*(quick(f"n{i}", retransmit_mult=4) for i in range(4))) as members:
        assert not members[0].gossip.force_leave("nobody")
        for victim in (members[2], members[3]):
            await victim.gossip.stop()
        await eventually(
            lambda: all(
                m.status(n) is MemberStatus.FAILED for m in members[:2] for n in ("n2", "n3")
            ),
            "failed",
        )
        assert members[0].gossip.force_leave("n2")
        assert members[0].gossip.force_leave("n3", prune=True)
        await eventually(
            lambda: all(
                m.status("n2") is MemberStatus.LEFT and m.status("n3") is None for m in members[:2]
            ),
            "left and forgotten",
        )
        assert members[1].kinds("n2") == ["join", "failed", "leave"]
        assert members[1].kinds("n3")[-1] == "reap"


async def test_an_encrypted_ring_works_and_nothing_readable_travels() -> None:
    async with ring(quick("n0", keys=(KEY,)), quick("n1", keys=(KEY,))) as members:
        await members[1].gossip.set_tags({"role": "secret"})
        await eventually(lambda: members[0].kinds("n1") == ["join", "update"], "update")
        assert not members[0].gossip.stats().dropped


@pytest.mark.parametrize("keys", [(), (bytes(32),), (bytes(16),)])
async def test_a_member_with_a_wrong_key_is_refused(keys: tuple[bytes, ...]) -> None:
    async with ring(quick("n0", keys=(KEY,)), quick("n1", keys=keys), join=False) as members:
        result = await members[1].gossip.join([members[0].address])
        assert result.joined == 0
        assert len(result.errors) == 1
        assert members[0].status("n1") is None
        assert members[1].status("n0") is None


async def test_a_plain_member_learns_why_it_was_refused() -> None:
    async with ring(quick("n0"), quick("n1", keys=(KEY,)), join=False) as members:
        result = await members[1].gossip.join([members[0].address])
        assert result.joined == 0
        # n0 answers in plain; n1 has keys and insists on them.
        assert members[0].gossip.stats().dropped == {"encrypted": 1}


async def test_join_reports_each_address_that_fails() -> None:
    async with ring(quick("n0"), quick("n1"), join=False) as members:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            dead = f"127.0.0.1:{closed.getsockname()[1]}"
            result = await members[1].gossip.join([members[0].address, dead, "[::1", "h:99999"])
        assert result.joined == 1
        assert [text for text, _ in result.errors] == [dead, "[::1", "h:99999"]


async def test_meeting_oneself_is_no_way_into_a_ring() -> None:
    async with ring(quick("n0"), join=False) as (only,):
        result = await only.gossip.join([only.address])
        assert (result.joined, result.errors) == (0, ())


async def test_garbage_on_both_protocols_is_dropped_and_counted() -> None:
    rng = random.Random(7)
    async with ring(quick("n0"), quick("n1", keys=(KEY,)), join=False) as members:
        for member in members:
            target = member.gossip.local_member()
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                for size in (0, 1, 2, 5, 60, 1400, 9000):
                    for kind in (0, 1, 2, 3, 4, 5, 7, 8, 9, 11, 12, 99, 244):
                        sock.sendto(
                            bytes((kind,)) + rng.randbytes(size), ("127.0.0.1", target.port)
                        )
            for kind in (0, 2, 6, 8, 9, 10, 13, 99, 244):
                reader, writer = await asyncio.open_connection("127.0.0.1", target.port)
                writer.write(bytes((kind,)) + rng.randbytes(300))
                with contextlib.suppress(OSError):
                    await writer.drain()
                    writer.write_eof()
                    await reader.read()
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
            stats = member.gossip.stats()
            assert stats.stream_errors >= 8
        await eventually(
            lambda: all(sum(m.gossip.stats().dropped.values()) > 60 for m in members), "counted"
        )
        # And both still work.
        for member in members:
            assert [m.name for m in member.gossip.members()] == [member.gossip.local_member().name]


async def test_a_silent_stream_is_cut_at_its_deadline() -> None:
    async with ring(quick("n0", tcp_timeout_s=0.2), join=False) as (only,):
        reader, writer = await asyncio.open_connection("127.0.0.1", only.gossip.local_member().port)
        writer.write(b"\x06")
        async with asyncio.timeout(5.0):
            assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        assert only.gossip.stats().stream_errors == 1


async def test_streams_above_the_limit_are_refused_unread() -> None:
    async with ring(quick("n0", streams_max=2), join=False) as (only,):
        port = only.gossip.local_member().port
        held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        await eventually(lambda: only.gossip.stats().streams_accepted == 2, "two held")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        assert only.gossip.stats().streams_refused == 1
        for _, each in [*held, (reader, writer)]:
            each.close()
            with contextlib.suppress(OSError):
                await each.wait_closed()


async def test_a_tcp_ping_is_answered() -> None:
    async with ring(quick("n0"), join=False) as (only,):
        port = only.gossip.local_member().port
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(bytes.fromhex("0082a44e6f6465a26e30a55365714e6f07"))
        assert await reader.read() == bytes.fromhex("0282a75061796c6f6164c0a55365714e6f07")
        writer.close()
        await writer.wait_closed()


async def test_a_callback_that_raises_does_not_stop_the_ring() -> None:
    def broken(event: object) -> None:
        raise ValueError("application defect")

    gossip = Gossip(quick("n0"), on_member=broken)
    await gossip.start()
    try:
        async with ring(quick("n1"), join=False) as (other,):
            member = gossip.local_member()
            await other.gossip.join([f"127.0.0.1:{member.port}"])
            await eventually(lambda: len(gossip.members()) == 2, "joined")
    finally:
        await gossip.stop()


async def test_user_events_reach_every_member_once() -> None:
    seen: list[tuple[str, bytes]] = []
    listener = Watched(quick("n1"), on_user_event=noted(seen))
    async with ring(quick("n0"), join=False) as (first,):
        await listener.gossip.start()
        try:
            await listener.gossip.join([first.address])
            await eventually(lambda: first.status("n1") is MemberStatus.ALIVE, "joined")
            first.gossip.user_event("deploy", b"v1")
            await eventually(lambda: bool(seen), "event")
            assert seen == [("deploy", b"v1")]
        finally:
            await listener.gossip.stop()


async def test_a_restarted_member_rejoins_from_its_file(tmp_path: pathlib.Path) -> None:
    path = str(tmp_path / "peers.json")
    async with ring(quick("n0"), quick("n1", rejoin_path=path)) as members:
        await members[1].gossip.stop()
        assert os.path.exists(path)  # noqa: ASYNC240
        again = Watched(quick("n1", rejoin_path=path))
        await again.gossip.start()
        try:
            await eventually(lambda: again.status("n0") is MemberStatus.ALIVE, "rejoined")
            await again.gossip.leave()
            assert not os.path.exists(path)  # noqa: ASYNC240
        finally:
            await again.gossip.stop()


async def test_a_restarted_member_hears_no_old_events_and_the_new_ones(
    tmp_path: pathlib.Path,
) -> None:
    path = str(tmp_path / "local.snapshot")
    async with ring(quick("n0"), quick("n1", rejoin_path=path)) as members:
        first, second = members
        first.gossip.user_event("old", b"")
        await eventually(lambda: second.gossip.stats().user_events == 1, "the event")
        await second.gossip.stop()
        first.gossip.user_event("missed", b"")
        seen: list[tuple[str, bytes]] = []
        port = second.gossip.local_member().port
        config = quick("n1", rejoin_path=path, bind_port=port)
        again = Watched(config, on_user_event=noted(seen))
        await again.gossip.start()
        try:
            await eventually(lambda: bool(seen), "what happened meanwhile")
            first.gossip.user_event("new", b"")
            await eventually(lambda: len(seen) == 2, "the new event")
            assert seen == [("missed", b""), ("new", b"")]
        finally:
            await again.gossip.stop()


async def test_a_leave_forgets_unless_it_is_to_be_taken_back(tmp_path: pathlib.Path) -> None:
    paths = [str(tmp_path / name) for name in ("forgets", "remembers")]
    configs = [
        quick("n1", rejoin_path=paths[0]),
        quick("n2", rejoin_path=paths[1], rejoin_after_leave=True),
    ]
    async with ring(quick("n0"), *configs) as members:
        for member in members[1:]:
            await member.gossip.leave()
        assert not os.path.exists(paths[0])  # noqa: ASYNC240
        again = Watched(configs[1])
        await again.gossip.start()
        try:
            await eventually(lambda: again.status("n0") is MemberStatus.ALIVE, "rejoined")
        finally:
            await again.gossip.stop()


async def test_coordinates_travel_in_acks() -> None:
    async with ring(quick("n0"), quick("n1")) as members:
        await eventually(
            lambda: "n1" in members[0].gossip._core.coordinates.known, "a measured round trip"
        )


async def test_an_idle_ring_costs_few_packets() -> None:
    async with ring(quick("n0"), quick("n1")) as members:
        await eventually(
            lambda: all(m.gossip.stats().broadcasts_queued == 0 for m in members), "quiet"
        )
        before = members[0].gossip.stats()
        await eventually(
            lambda: members[0].gossip.stats().probes >= before.probes + 5, "five probes"
        )
        after = members[0].gossip.stats()
        # One ping and one ack per probe interval, nothing else.
        assert after.packets_sent - before.packets_sent <= 2 * (after.probes - before.probes) + 4


async def test_a_large_table_is_encoded_between_other_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "ENCODE_SLICE_S", 0.0)
    records = tuple(
        NodeState(
            incarnation=number,
            name=f"n{number}",
            address=b"\x7f\0\0\1",
            port=8301,
            meta=None,
            versions=None,
            state=State.ALIVE,
        )
        for number in range(640)
    )
    table, turns, encoding = PushPull(False, records, b"state"), 0, True

    async def turn() -> None:
        nonlocal turns
        while encoding:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group:
        group.create_task(turn())
        data = await exchange._encoded(table)
        encoding = False
    assert data == messages.encode_push_pull(table)
    assert turns >= 9
