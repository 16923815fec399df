"""Operations on the keys of the whole ring: sends the questions of gossip.rotation, one at a time.

Decides nothing: whom to ask what, and when to stop, is gossip.rotation's.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from gossip.asking import Question
from gossip.config import GossipConfig
from gossip.errors import KeyringError
from gossip.query_streams import Answers
from gossip.roster import Member, MemberStatus
from gossip.rotation import Ask, KeyOperation, KeyReport, Rotation

log = logging.getLogger("lictor.gossip.ring_keys")


class RingKeys:
    """The keys of all members, seen and changed from this one."""

    def __init__(
        self,
        config: GossipConfig,
        *,
        ask: Callable[[Question], Answers],
        members: Callable[[], Iterable[Member]],
    ) -> None:
        self._config = config
        self._ask = ask
        self._members = members
        self._running: Rotation | None = None
        self.last: KeyReport | None = None
        """How the last change from here went."""

    @property
    def path(self) -> str:
        """The file of our own keys, "" when they are only kept in memory."""
        return self._config.keyring_path

    @property
    def running(self) -> KeyReport | None:
        """How far the change is that is made from here."""
        return None if self._running is None else self._running.report()

    async def list(self, *, relay_factor: int = 0) -> KeyReport:
        """What every live member holds."""
        rotation = Rotation(KeyOperation.LIST, rounds_max=self._config.key_rounds_max)
        return await self._run(rotation, relay_factor, None)

    async def change(
        self,
        operation: KeyOperation,
        key: bytes,
        *,
        relay_factor: int = 0,
        progress: Callable[[KeyReport], None] | None = None,
    ) -> KeyReport:
        """Install, use or remove a key everywhere. ``progress`` is told after each answer.

        Raises KeyringError when another change is under way here, QueryError when nothing can be
        asked. Whatever else happens is in the report.
        """
        if self._running is not None:
            raise KeyringError("another change of the keys is under way")
        rotation = Rotation(operation, key, rounds_max=self._config.key_rounds_max)
        self._running = rotation
        try:
            report = await self._run(rotation, relay_factor, progress)
        finally:
            self._running = None
            self.last = rotation.report()
        log.info(
            "keys changed operation=%s members=%d done=%d failed=%d silent=%d refused=%s",
            operation.name.lower(),
            len(report.members),
            len(report.done),
            len(report.failed),
            len(report.silent),
            report.refused,
        )
        if report.away and report.changed:
            log.warning("failed members did not take part nodes=%s", ",".join(report.away))
        return report

    async def _run(
        self,
        rotation: Rotation,
        relay_factor: int,
        progress: Callable[[KeyReport], None] | None,
    ) -> KeyReport:
        ask: Ask | None = rotation.start(
            self._names(MemberStatus.ALIVE), self._names(MemberStatus.FAILED)
        )
        while ask is not None:
            answers = self._ask(
                Question(
                    name=ask.name, payload=ask.payload, nodes=ask.nodes, relay_factor=relay_factor
                )
            )
            try:
                async for answer in answers:
                    if answer.payload is None:
                        continue
                    rotation.answer(answer.sender, answer.payload)
                    if progress is not None:
                        progress(rotation.report())
                    if not rotation.missing:
                        break
            finally:
                answers.close()
            ask = rotation.round_over(self._names(MemberStatus.ALIVE))
        return rotation.report()

    def _names(self, status: MemberStatus) -> tuple[str, ...]:
        return tuple(member.name for member in self._members() if member.status is status)
