"""Archives that are restored through the log, in the cluster in which everything else happens too.

Every server has a real state machine beside its list of payloads. Operators save the state of any
server, send it part by part, lose answers, send parts twice or leave them out, give up, and come in
each other's way; the archive is then put in force on all servers at one entry, or on none. Large
deletions are applied in slices. What is checked in addition:

* keys and values are what a model makes of the committed entries, on every server at every step;
* servers that have applied equally far have the same state byte for byte, staged parts included,
  whether it came by the log, from a snapshot of their own, or from a leader's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from raftstore import commands as c
from raftstore import queries as q
from raftstore import wire
from raftstore.config import StateLimits
from raftstore.errors import StoreError
from raftstore.raft.log import PAYLOAD_HEAD, Entry
from raftstore.raft.requests import Outcome
from raftstore.state import StateMachine, staging
from raftstore.state.snapshots import Loading
from tests.raftstore.state.archives import frozen, restore_commands
from tests.sim.raft_cluster import Cluster, InvariantError, Node, is_payload
from tests.sim.raft_whole import WholeCluster

LIMITS = StateLimits(history_entries_max=40, staged_idle_s=3.0)
PART_BYTES = 100
KEYS = 24
TRIES_MAX = 12
#: Servers compare all of their state at each so-manieth entry; keys and values always.
WHOLE_EVERY = 3


def command_of(payload: bytes) -> tuple[c.Command, c.RequestId | None]:
    """What a client's or an operator's payload means here."""
    if payload[:1] not in (b"p", b"l"):
        command, request_id, _ = wire.decode_command(payload)
        return command, request_id
    number = int(payload[1:]) if payload[:1] == b"p" else 1
    if number % 67 == 0:
        return c.KVDeleteTree(prefix=f"k/{number % 3}"), None
    if number % 11 == 0:
        return c.KVDelete(key=f"k/{number % KEYS}"), None
    return c.KVSet(key=f"k/{number % KEYS}", value=payload), None


def pairs_of(machine: StateMachine) -> dict[str, bytes]:
    return {pair.key: pair.value for pair in machine.answer(q.KVList("")).value}


class Model:
    """Keys and values as the committed entries make them, by the rules in the fewest words."""

    def __init__(self) -> None:
        self.pairs: dict[str, bytes] = {}
        self.staged: tuple[str, int, float] | None = None
        self.archives: dict[str, tuple[dict[str, bytes], int]] = {}
        self.stamp = 0.0
        self.swaps = 0

    def apply(self, stamp: float, command: c.Command) -> None:
        self.stamp = max(self.stamp, stamp)
        if self.staged is not None and self.stamp - self.staged[2] > LIMITS.staged_idle_s:
            self.staged = None
        match command:
            case c.KVSet():
                self.pairs[command.key] = command.value
            case c.KVDelete():
                self.pairs.pop(command.key, None)
            case c.KVDeleteTree():
                self.pairs = {
                    k: v for k, v in self.pairs.items() if not k.startswith(command.prefix)
                }
            case c.BeginRestore():
                if self.staged is None:
                    self.staged = (command.id, 0, self.stamp)
            case c.StageRestore():
                if self.staged is not None and self.staged[:2] == (command.id, command.part):
                    self.staged = (command.id, command.part + 1, self.stamp)
            case c.EndRestore():
                self.end(command)

    def end(self, command: c.EndRestore) -> None:
        if self.staged is None or self.staged[0] != command.id:
            return
        pairs, parts = self.archives[command.id]
        if not command.abandon and command.parts == self.staged[1] == parts:
            self.pairs = dict(pairs)
            self.swaps += 1
        self.staged = None


@dataclass
class Restore:
    """One operator who restores one archive."""

    id: str
    commands: list[c.Command]
    position: int = 0
    attempt: int = 0


class ArchiveCluster(WholeCluster):
    """Everything at once, and archives."""

    def __init__(self, seed: int, **world: Any) -> None:
        super().__init__(seed, **world)
        self.machines: dict[str, StateMachine] = {}
        self.model = Model()
        self.pairs_at: list[dict[str, bytes]] = [{}]
        self.whole_at: dict[int, bytes] = {}
        self.checked: dict[str, tuple[int, int]] = {}
        self.wholes_compared = self.restores_begun = self.parts_lost = 0

    def run(self, seconds: float = 4.0, *, settle_s: float = 30.0) -> Cluster:
        with patch.object(staging, "PART_BYTES", PART_BYTES):
            return super().run(seconds, settle_s=settle_s)

    # -- servers with a state machine

    def make_replica(self, node: Node) -> Any:
        replica = super().make_replica(node)
        self.machines[node.name] = StateMachine(LIMITS)
        replica.engine.apply_unfinished = lambda: self.machines[node.name].unfinished
        return replica

    def applied(self, node: Node, index: int, stamp: float, payload: bytes) -> Any:
        super().applied(node, index, stamp, payload)
        command, request_id = command_of(payload)
        outcome = self.machines[node.name].begin(index, stamp, command, request_id)
        return payload if payload[:1] in (b"p", b"l") else outcome

    def step(self, node: Node) -> None:
        super().step(node)
        machine, life = self.machines[node.name], node.life
        if machine.unfinished:
            self.after(self.rng.uniform(0.0, 0.05), lambda: self.finish_some(node, life))

    def finish_some(self, node: Node, life: int) -> None:
        if node.life == life:
            self.machines[node.name].finish_some()
            self.queue_step(node)

    def state_of(self, node: Node) -> Any:
        return [super().state_of(node), frozen(self.machines[node.name])]

    def put_state(self, node: Node, state: Any) -> None:
        payloads, chunks = state
        super().put_state(node, payloads)
        machine = StateMachine(LIMITS)
        loading = Loading(machine)
        for chunk in chunks:
            loading.feed_bytes(chunk)
        loading.finish()
        self.machines[node.name] = machine

    # -- operators

    def restore_archive(self) -> None:
        able = [
            n
            for n in self.nodes.values()
            if n.replica is not None and not self.machines[n.name].unfinished
        ]
        if not able:
            return
        source = self.machines[self.rng.choice(able).name]
        if source.index == 0:
            return
        self.restores_begun += 1
        name = f"r{self.restores_begun}"
        found = restore_commands(source, restore_id=name, rows_max=4)
        self.model.archives[name] = (pairs_of(source), len(found) - 2)
        self.ask(Restore(name, found))

    def ask(self, restore: Restore) -> None:
        """Send what comes next, to whoever leads; again if nothing is heard of it."""
        if self.calm or restore.attempt > TRIES_MAX + len(restore.commands):
            return
        restore.attempt += 1
        attempt, position = restore.attempt, restore.position
        command = restore.commands[position]
        dice = self.rng.random()
        if dice < 0.02:
            command = c.EndRestore(id=restore.id, abandon=True)
        elif dice < 0.10 and position + 1 < len(restore.commands):
            # It is taken for sent, or so is all that follows.
            restore.position = self.rng.choice((position + 1, len(restore.commands) - 1))
        request = c.RequestId(restore.id, attempt, attempt)
        payload = wire.encode_command(command, request_id=request)
        leader = self.some_leader()
        if leader is not None:
            ticket = ("restore", restore, position, attempt, payload)
            self.request(leader, ticket, lambda: leader.replica.propose(ticket, payload))
            self.queue_step(leader)
        self.after(self.rng.uniform(0.3, 0.8), lambda: self.miss(restore, attempt))

    def miss(self, restore: Restore, attempt: int) -> None:
        if restore.attempt == attempt:
            self.parts_lost += 1
            self.ask(restore)

    def finish_ticket(self, node: Node, ticket: Any, result: Outcome | StoreError) -> bool:
        if not isinstance(ticket, tuple) or ticket[0] != "restore":
            return super().finish_ticket(node, ticket, result)
        _, restore, position, attempt, payload = ticket
        if isinstance(result, Outcome):
            self.acked[payload] = result.index
            self.acked_index_max = max(self.acked_index_max, result.index)
        if restore.attempt != attempt:
            return True
        if isinstance(result, Outcome) and isinstance(result.value, c.Applied):
            restore.position = max(restore.position, position + 1)
            if restore.position < len(restore.commands):
                self.ask(restore)
            else:
                restore.attempt = -1
        return True

    # -- invariants

    def newly_committed(self, entry: Entry) -> None:
        super().newly_committed(entry)
        if is_payload(entry[0]):
            _, stamp = PAYLOAD_HEAD.unpack_from(entry[0])
            self.model.apply(stamp, command_of(entry[0][PAYLOAD_HEAD.size :])[0])
        self.pairs_at.append(dict(self.model.pairs))

    def check(self, node: Node) -> None:
        super().check(node)
        machine, applied = self.machines[node.name], node.replica.engine.applied_index()
        if self.checked.get(node.name) == (node.life, applied):
            return
        self.checked[node.name] = (node.life, applied)
        if pairs_of(machine) != self.pairs_at[applied]:
            raise InvariantError(f"{node.name} has other keys than the model at {applied}")
        if machine.unfinished or machine.index % WHOLE_EVERY:
            return
        whole = hashlib.sha256(b"".join(frozen(machine))).digest()
        self.wholes_compared += machine.index in self.whole_at
        if self.whole_at.setdefault(machine.index, whole) != whole:
            raise InvariantError(f"{node.name} has another state than others at {machine.index}")
