"""Queries between the core and the application: answers as streams, the handler's tasks, the file.

Decides nothing: what an answer is, and when a query ends, is gossip.asking's; what is written to
the keyring's file, gossip.key_changes'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from gossip import keyfile
from gossip.asking import Question
from gossip.config import GossipConfig
from gossip.effects import QueryArrived, QueryEnded, QueryReplied, SaveKeys
from gossip.errors import QueryError
from gossip.serf import Serf

log = logging.getLogger("lictor.gossip.query_streams")

#: Answers a query of somebody else, by name and payload; None says nothing.
QueryHandler = Callable[[str, bytes], Awaitable[bytes | None]]
QueryEffect = QueryArrived | QueryReplied | QueryEnded | SaveKeys


@dataclass(frozen=True, slots=True)
class Answer:
    """One member's word; ``payload`` is None for the acknowledgement that the query arrived."""

    sender: str
    payload: bytes | None

    @property
    def is_ack(self) -> bool:
        return self.payload is None


class Answers:
    """What members say to one query, as it comes in; ends when the query's time is over.

    Holds at most ``query_answers_max`` answers and as many acks: the core takes no more.
    """

    __slots__ = ("_close", "_closed", "_queue")

    def __init__(self, close: Callable[[], None]) -> None:
        self._queue: asyncio.Queue[Answer | None] = asyncio.Queue()
        self._close = close
        self._closed = False

    def __aiter__(self) -> Answers:
        return self

    async def __anext__(self) -> Answer:
        if self._closed and self._queue.empty():
            raise StopAsyncIteration
        answer = await self._queue.get()
        if answer is None:
            raise StopAsyncIteration
        return answer

    def close(self) -> None:
        """Want no more of them; what has come stays readable."""
        if not self._closed:
            self._close()
            self.end()

    def put(self, answer: Answer) -> None:
        self._queue.put_nowait(answer)

    def end(self) -> None:
        if not self._closed:
            self._closed = True
            self._queue.put_nowait(None)


class QueryStreams:
    """The running queries of ours with their readers, and those of others with their handlers."""

    def __init__(
        self,
        core: Serf,
        config: GossipConfig,
        *,
        now: Callable[[], float],
        settle: Callable[[], None],
        spawn: Callable[[Coroutine[Any, Any, None], str], None],
        handler: QueryHandler | None,
    ) -> None:
        self._core = core
        self._config = config
        self._now = now
        self._settle = settle
        self._spawn = spawn
        self._handler = handler
        self._streams: dict[tuple[int, int], Answers] = {}
        self._answering = 0

    def ask(self, question: Question) -> Answers:
        """Send it; the answers come into the stream. Raises QueryError."""
        key = self._core.queries.ask(question, self._core.tags, self._now())
        answers = Answers(lambda: self._forget(key))
        self._streams[key] = answers
        self._settle()
        return answers

    def close(self) -> None:
        """The member stops: nobody answers any more."""
        for answers in list(self._streams.values()):
            answers.end()
        self._streams.clear()

    def carry_out(self, effect: QueryEffect) -> None:
        match effect:
            case QueryReplied(ltime, query_id, sender, payload):
                answers = self._streams.get((ltime, query_id))
                if answers is not None:
                    answers.put(Answer(sender, payload))
            case QueryEnded(ltime, query_id):
                answers = self._streams.pop((ltime, query_id), None)
                if answers is not None:
                    answers.end()
            case QueryArrived():
                self._take(effect)
            case SaveKeys(keys):
                self._spawn(self._save(keys), "gossip-keyring-save")

    def _forget(self, key: tuple[int, int]) -> None:
        self._core.queries.asking.close(*key)
        self._streams.pop(key, None)

    def _take(self, arrived: QueryArrived) -> None:
        if self._handler is None:
            return
        if self._answering >= self._config.queries_answering_max:
            log.warning("query not answered, too many at once name=%s", arrived.query.name)
            return
        self._answering += 1
        self._spawn(self._work(self._handler, arrived), "gossip-query-handler")

    async def _work(self, handler: QueryHandler, arrived: QueryArrived) -> None:
        query = arrived.query
        try:
            async with asyncio.timeout_at(arrived.deadline):
                answer = await handler(query.name, query.payload or b"")
            if answer is not None:
                self._core.queries.answer(arrived, answer, self._now())
                self._settle()
        except TimeoutError:
            log.warning("query not answered in time name=%s", query.name)
        except QueryError as error:
            log.warning("query not answered name=%s error=%s", query.name, error)
        except Exception:  # the application's mistakes must not stop the ring
            log.exception("query handler failed name=%s", query.name)
        finally:
            self._answering -= 1

    async def _save(self, keys: tuple[bytes, ...]) -> None:
        error = ""
        try:
            await asyncio.to_thread(keyfile.save, self._config.keyring_path, keys)
        except OSError as failure:
            error = failure.strerror or str(failure)
            log.warning("keyring not written path=%s error=%s", self._config.keyring_path, failure)
        else:
            log.info("keyring written keys=%d", len(keys))
        self._core.queries.keys.saved(error, self._now())
        self._settle()
