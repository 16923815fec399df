"""Locks under sessions with a TTL: one holder at a time, and fencing of what they guard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

from jepsen_lite.checkers import Checker, availability, mutual_exclusion
from jepsen_lite.checkers.mutual_exclusion import ACQUIRE, GUARDED, RELEASE, RENEW
from jepsen_lite.client import SESSIONS, LockClient, Outcome
from jepsen_lite.cluster import Node
from jepsen_lite.history import FAIL, OK
from jepsen_lite.worker import Worker

_LOCKS = 3
#: The shortest that Consul grants.
_TTL_S = 10.0


@dataclass(frozen=True, slots=True)
class Lock:
    """Acquire, work under the lock for a few turns, release, or just go away and let it run out."""

    needs: frozenset[str] = frozenset({SESSIONS})
    checkers: Mapping[str, Checker] = field(
        default_factory=lambda: {
            mutual_exclusion.NAME: mutual_exclusion.check,
            availability.NAME: availability.check,
        }
    )

    def work(self, worker: Worker) -> Iterator[bool]:
        while not worker.over.is_set():
            node = worker.any_node()
            session = _session(worker, node)
            if session is None:
                yield False
                continue
            key = f"lock/{worker.rng.randrange(_LOCKS)}"
            told = _acquire(worker, node, key, session)
            yield told.type == OK
            if told.type == FAIL:
                continue
            yield from _hold(worker, key, session, told)

    def finish(self, worker: Worker) -> None:
        """One lock more can be had by a new session."""
        worker.until_ok(lambda node: _one_more(worker, node))


def _client(worker: Worker, node: Node) -> LockClient:
    return cast(LockClient, worker.cluster.client(node, timeout_s=worker.timeout_s))


def _session(worker: Worker, node: Node) -> str | None:
    outcome = worker.do(node, lambda: _client(worker, node).create_session(_TTL_S), f="session")
    return str(outcome.value) if outcome.type == OK else None


def _acquire(worker: Worker, node: Node, key: str, session: str) -> Outcome:
    def attempt() -> Outcome:
        outcome = _client(worker, node).acquire(key, session)
        if outcome.type != OK:
            return outcome
        return Outcome(type=OK, value={"token": outcome.value, "ttl_s": _TTL_S})

    return worker.do(node, attempt, f=ACQUIRE, key=key)


def _hold(worker: Worker, key: str, session: str, told: Outcome) -> Iterator[bool]:
    token = told.value["token"] if isinstance(told.value, dict) else None
    for _ in range(worker.rng.randrange(6)):
        node = worker.any_node()
        client = _client(worker, node)
        if worker.rng.random() < 0.3:
            outcome = worker.do(
                node,
                partial(client.renew_session, session),
                f=RENEW,
                key=key,
            )
        elif token is not None:
            outcome = worker.do(
                node,
                partial(client.set_guarded, key, session, f"{key}/guarded", str(token)),
                f=GUARDED,
                key=key,
                value=token,
            )
        else:
            break
        yield outcome.type == OK
    if worker.rng.random() < 0.9:
        node = worker.any_node()
        client = _client(worker, node)
        released = worker.do(
            node,
            partial(client.release, key, session),
            f=RELEASE,
            key=key,
        )
        yield released.type == OK


def _one_more(worker: Worker, node: Node) -> Outcome:
    session = _session(worker, node)
    if session is None:
        return Outcome(type=FAIL, error="no session")
    return _acquire(worker, node, "lock/last", session)
