"""What is registered by request is on disk before it is in force, and while it is.

Stands between the agent and the files: an error of the disk refuses a registration and tries to put
back what was there. The states of checks are written in the background.
"""

from __future__ import annotations

import logging

from agent.errors import RequestError
from agent.local.files import Files
from agent.local.registration import Registration
from agent.local.services import LocalState
from agent.local.stored import Changes, KeptEntry, KeptState
from raftstore.records import CRITICAL, Check, CheckId

log = logging.getLogger("lictor.agent.local")

#: Kinds whose status somebody else decides at every start.
_DERIVED = frozenset({"alias", "maintenance"})


class Kept:
    """Keeps ``state`` on disk."""

    __slots__ = ("_files", "_state")

    def __init__(self, files: Files, state: LocalState) -> None:
        self._files = files
        self._state = state

    async def registration(
        self, registration: Registration, gone: tuple[CheckId, ...], unix_now: float
    ) -> None:
        """Keep what is to be registered, without checks that it replaces. Raises RequestError."""
        await self.apply(
            Changes(services=registration.services, checks=registration.checks, gone_checks=gone)
        )
        for check in registration.checks:
            if check.record.status != CRITICAL:  # which is what counts without a state
                ttl_s = check.definition.ttl_s
                self.status(check.record, expires_at=unix_now + ttl_s if ttl_s else 0.0)

    async def apply(self, changes: Changes) -> None:
        """Bring the files up to date; on an error, try to put the old ones back."""
        try:
            await self._files.apply(changes)
        except OSError as error:
            await self._put_back(changes)
            raise RequestError(500, f"the registration cannot be kept on disk: {error}") from None

    def status(self, check: Check, expires_at: float = 0.0) -> None:
        """Keep the state of a check, soon. ``expires_at`` is when a TTL runs out, in Unix time."""
        if check.type not in _DERIVED:
            self._files.keep_state(
                KeptState(
                    check_id=check.id,
                    status=check.status,
                    output=check.output,
                    expires_at=expires_at,
                )
            )

    def entry(self, entry: KeptEntry) -> None:
        """Keep what a server said of a config entry, soon."""
        self._files.keep_entry(entry)

    async def _put_back(self, changes: Changes) -> None:
        services = {s.record.id for s in changes.services} | set(changes.gone_services)
        checks = {c.record.id for c in changes.checks} | set(changes.gone_checks)
        old_services = [
            service
            for key in services
            if (service := self._state.services.get(key)) and service.source == "remote"
        ]
        old_checks = [
            check
            for key in checks
            if (check := self._state.checks.get(key)) and check.source == "remote"
        ]
        try:
            await self._files.apply(
                Changes(
                    services=tuple(old_services),
                    checks=tuple(old_checks),
                    gone_services=tuple(services - {s.record.id for s in old_services}),
                    gone_checks=tuple(checks - {c.record.id for c in old_checks}),
                )
            )
        except OSError:
            log.exception("files may not agree with what is registered")
