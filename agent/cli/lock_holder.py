"""Holds a lock: a session that is renewed, entries that are written and watched.

Two threads look after a lock that is held: one renews the session, one watches the entries. The
session counts as lost when it is: when the servers say so, or when it was not renewed for its TTL,
after which they may end it at any time.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from agent.cli.client import Client, ClientError, expect
from agent.cli.lock_rules import Entry, Held, Put, Remove, Rules, Wait, entry_of

#: As in Consul's clients.
TTL_S = 15
RENEW_S = TTL_S / 2
WAIT_MAX_S = 15.0
#: Between two attempts that failed: a lock-delay runs, or the agent does not answer.
PAUSE_S = 1.0
#: Attempts to give back what others write to at the same time.
LEAVE_ATTEMPTS_MAX = 20


class LockTimeoutError(Exception):
    """It was not free in time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How to take and keep it. ``rules`` are made for the session; ``timeout_s`` None: forever."""

    name: str
    rules: Callable[[str], Rules]
    #: What becomes of keys that the session holds when it ends.
    behavior: str
    monitor_retries: int
    timeout_s: float | None = None


class LockHolder:
    """One attempt at one lock. ``lost`` is called from a thread, with the reason."""

    def __init__(self, client: Client, plan: Plan, lost: Callable[[str], None]) -> None:
        self._client = client
        self._plan = plan
        self._lost = lost
        self._session = ""
        self._renewed_at = 0.0
        self._stopped = threading.Event()
        self._rules: Rules

    def open(self) -> None:
        """Begin the session and keep it alive. Raises ClientError."""
        body = {"Name": self._plan.name, "TTL": f"{TTL_S}s", "Behavior": self._plan.behavior}
        self._renewed_at = time.monotonic()
        made = expect(self._client.put("/v1/session/create", (), json.dumps(body).encode()))
        self._session = str(made.json()["ID"])
        self._rules = self._plan.rules(self._session)
        threading.Thread(target=self._renew, name="renew", daemon=True).start()

    def acquire(self) -> None:
        """Wait until it is ours. Raises LockTimeoutError, ConflictError or ClientError."""
        timeout_s = self._plan.timeout_s
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        index, failed = 0, False
        while True:
            left_s = WAIT_MAX_S if deadline is None else deadline - time.monotonic()
            if left_s <= 0 and index:
                raise LockTimeoutError
            entries, seen = self._read(index, min(WAIT_MAX_S, max(left_s, 0.001)))
            step = self._rules.next(entries)
            if isinstance(step, Held):
                return
            if isinstance(step, Wait):
                index, failed = seen, False
                continue
            if self._write(step):
                index, failed = 0, False
                continue
            if failed:
                if deadline is not None and time.monotonic() + PAUSE_S > deadline:
                    raise LockTimeoutError
                time.sleep(PAUSE_S)
            index, failed = 0, True

    def watch(self) -> None:
        """From now on tell when the lock is lost."""
        threading.Thread(target=self._watch, name="watch", daemon=True).start()

    def close(self) -> None:
        """Give back what is held, tidy up and end the session. Raises ClientError."""
        self._stopped.set()
        if not self._session:
            return
        try:
            for _ in range(LEAVE_ATTEMPTS_MAX):
                step = self._rules.leave(self._read(0, 0)[0])
                if step is None:
                    break
                self._write(step)
        finally:
            expect(self._client.put(f"/v1/session/destroy/{self._session}"))

    @property
    def expires_in_s(self) -> float:
        """Seconds until the session may end if it is not renewed."""
        return self._renewed_at + TTL_S - time.monotonic()

    # -- requests --------------------------------------------------------------------------------

    def _read(self, index: int, wait_s: float) -> tuple[tuple[Entry, ...], int]:
        """The entries now, or once they differ from those at ``index``; and their index."""
        query = [("consistent", "")]
        if self._rules.recurse:
            query.append(("recurse", ""))
        if index:
            query += [("index", str(index)), ("wait", f"{wait_s:.3f}s")]
        answer = self._client.get(f"/v1/kv/{self._rules.path}", query)
        seen = int(answer.headers.get("x-consul-index", "0"))
        if answer.status == 404:
            return (), seen
        return tuple(map(entry_of, expect(answer).json())), seen

    def _write(self, step: Put | Remove) -> bool:
        """Whether it was done."""
        if isinstance(step, Remove):
            query = [] if step.cas is None else [("cas", str(step.cas))]
            return expect(self._client.delete(f"/v1/kv/{step.key}", query)).json() is True
        query = [("flags", str(step.flags))]
        if step.acquire:
            query.append(("acquire", step.acquire))
        elif step.release:
            query.append(("release", step.release))
        else:
            query.append(("cas", str(step.cas)))
        return expect(self._client.put(f"/v1/kv/{step.key}", query, step.value)).json() is True

    # -- threads ---------------------------------------------------------------------------------

    def _renew(self) -> None:
        pause_s = RENEW_S
        while not self._stopped.wait(pause_s):
            asked_at = time.monotonic()
            try:
                answer = self._client.put(f"/v1/session/renew/{self._session}")
            except ClientError:
                pause_s = PAUSE_S
                continue
            if answer.status == 200:
                self._renewed_at, pause_s = asked_at, RENEW_S
            elif answer.status == 404:
                self._tell("the session has ended")
                return
            else:
                pause_s = PAUSE_S

    def _watch(self) -> None:
        index, retries = 0, self._plan.monitor_retries
        while not self._stopped.is_set():
            try:
                entries, index = self._read(index, WAIT_MAX_S)
            except ClientError as error:
                if not retries:
                    self._tell(str(error))
                    return
                index, retries = 0, retries - 1
                self._stopped.wait(PAUSE_S)
                continue
            retries = self._plan.monitor_retries
            if not self._rules.is_held(entries):
                self._tell("it is not ours any more")
                return

    def _tell(self, reason: str) -> None:
        if not self._stopped.is_set():
            self._lost(reason)
