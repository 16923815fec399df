"""Queries between real members: answers as they come, handlers of the application, their bounds."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gossip import Answer, Answers, Question
from gossip.errors import QueryError
from tests.gossip.rings import Watched, eventually, quick, ring


async def _first(stream: Answers) -> Answer | None:
    return await anext(stream, None)


async def uptime(name: str, payload: bytes) -> bytes | None:
    return payload.upper() if name == "uptime" else None


@contextlib.asynccontextmanager
async def three(**changes: object):  # type: ignore[no-untyped-def]
    members = [
        Watched(quick(f"n{i}", tags={"id": str(i)}, **changes), on_query=uptime) for i in range(3)
    ]
    try:
        for member in members:
            await member.gossip.start()
            await member.gossip.join([members[0].address])
        await eventually(
            lambda: all(len(m.gossip.members()) == 3 for m in members), "everybody sees everybody"
        )
        yield members
    finally:
        for member in members:
            await member.gossip.stop()


async def test_every_member_answers_once_with_its_handler() -> None:
    async with three() as members:
        asked = Question(name="uptime", payload=b"up", ack=True, relay_factor=1)
        acks, answers = [], {}
        stream = members[1].gossip.query(asked)
        async for answer in stream:
            if answer.is_ack:
                acks.append(answer.sender)
            else:
                assert answer.sender not in answers
                answers[answer.sender] = answer.payload
            if len(acks) == len(answers) == 3:
                stream.close()
        assert sorted(acks) == ["n0", "n1", "n2"]
        assert answers == {"n0": b"UP", "n1": b"UP", "n2": b"UP"}
        assert members[1].gossip.stats().queries_asked == 1


async def test_filters_choose_who_answers_and_the_stream_ends_with_the_time() -> None:
    async with three() as members:
        asked = Question(name="uptime", tags={"id": "^[02]$"}, nodes=("n1", "n2"), timeout_s=0.5)
        assert [a.sender async for a in members[0].gossip.query(asked)] == ["n2"]
        nobody = Question(name="what", timeout_s=0.3)
        assert [a async for a in members[0].gossip.query(nobody)] == []


async def test_what_is_too_long_is_refused_before_it_is_sent() -> None:
    async with ring(quick("n0")) as (only,):
        with pytest.raises(QueryError, match="query exceeds limit of 1024 bytes"):
            only.gossip.query(Question(name="x", payload=bytes(1024)))
        assert only.gossip.stats().queries_asked == 0


async def test_a_handler_that_fails_is_late_or_says_too_much_does_not_answer() -> None:
    async def handler(name: str, payload: bytes) -> bytes | None:
        if name == "bad":
            raise ValueError(name)
        if name == "slow":
            await asyncio.sleep(60)
        return bytes(2000)

    member = Watched(quick("n0"), on_query=handler)
    await member.gossip.start()
    try:
        for name in ("bad", "slow", "long"):
            question = Question(name=name, timeout_s=0.2, ack=True)
            found = [answer async for answer in member.gossip.query(question)]
            assert [answer.is_ack for answer in found] == [True]
        assert member.gossip.stats().dropped == {"response_too_large": 1}
    finally:
        await member.gossip.stop()


async def test_handlers_at_work_are_bounded() -> None:
    release = asyncio.Event()

    async def handler(name: str, payload: bytes) -> bytes | None:
        await release.wait()
        return b"done"

    member = Watched(quick("n0", queries_answering_max=2), on_query=handler)
    await member.gossip.start()
    try:
        streams = [
            member.gossip.query(Question(name="x", payload=bytes((i,)), timeout_s=0.5))
            for i in range(4)
        ]
        release.set()
        counts = [len([answer async for answer in stream]) for stream in streams]
        assert counts == [1, 1, 0, 0]
        again = member.gossip.query(Question(name="x", timeout_s=0.3))
        assert len([answer async for answer in again]) == 1
    finally:
        await member.gossip.stop()


async def test_a_stop_ends_the_streams() -> None:
    async with ring(quick("n0")) as (only,):
        stream = only.gossip.query(Question(name="x", timeout_s=60.0))
        async with asyncio.timeout(5.0), asyncio.TaskGroup() as group:
            waiting = group.create_task(_first(stream))
            group.create_task(only.gossip.stop())
        assert waiting.result() is None
        with pytest.raises(QueryError):
            only.gossip.query(Question(name="x"))
