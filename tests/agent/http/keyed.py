"""The keys of a ring whose members answer at once: real operations over real keyrings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gossip import Answer, Answers, GossipConfig, Keyring, MemberStatus, Question, RingKeys
from gossip.key_changes import KeyChanges
from gossip.stats import GossipStats
from gossip.wire import serf


class SeenMember:
    """What an operation wants to know of a member."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.status = MemberStatus.ALIVE


class KeyedRing:
    """Keyrings by member; those in ``silent`` do not answer."""

    def __init__(self, *names: str) -> None:
        self.rings = {name: Keyring() for name in names}
        self.silent: set[str] = set()
        self.asked: list[Question] = []
        self._config = GossipConfig(name="asker")
        members: Callable[[], Any] = lambda: [SeenMember(name) for name in self.rings]  # noqa: E731
        self.keys = RingKeys(self._config, ask=self._ask, members=members)

    def _ask(self, question: Question) -> Answers:
        self.asked.append(question)
        answers = Answers(lambda: None)
        for name, ring in self.rings.items():
            if name in self.silent or (question.nodes and name not in question.nodes):
                continue
            self._member(name, ring, answers).receive(_query(question), 0.0)
        answers.end()
        return answers

    def _member(self, name: str, ring: Keyring, answers: Answers) -> KeyChanges:
        def answered(_query: serf.Query, payload: bytes, _now: float) -> None:
            answers.put(Answer(name, payload))

        return KeyChanges(self._config, ring, GossipStats(), answer=answered, save=_no_file)


def _no_file(_effect: object) -> None:
    raise AssertionError("there is no keyring file")


def _query(question: Question) -> serf.Query:
    return serf.Query(
        ltime=1,
        id=1,
        address=bytes(4),
        port=1,
        source_node="asker",
        filters=None,
        flags=0,
        relay_factor=question.relay_factor,
        timeout_ns=1,
        name=question.name,
        payload=question.payload,
    )
