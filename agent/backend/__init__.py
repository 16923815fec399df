"""The one way from any face (HTTP, DNS, a planner, a sidecar's feed) to the replicated state.

A caller never knows whether this agent is a server or forwards to one. ``change`` carries commands,
``ask`` carries queries, ``sign_leaf`` is the one request that needs a server's secret. Errors say
whether a failed change may still happen (``StoreError.definite``, ``ForwardError.definite``).
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from raftstore.commands import Command, Outcome
from raftstore.queries import At, Query
from raftstore.records import Actor

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Consistency(enum.Enum):
    """How fresh an answer must be (http-api contract 1.5)."""

    DEFAULT = "leader"
    CONSISTENT = "consistent"
    STALE = "stale"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """How to ask. With ``min_index`` > 0 the answer is held until its index is greater than that
    or ``wait_s`` has passed. ``max_stale_s`` bounds the age of a stale answer (None: any age)."""

    consistency: Consistency = Consistency.DEFAULT
    min_index: int = 0
    wait_s: float = 0.0
    max_stale_s: float | None = None
    #: Answer as of this moment (raftstore NotInHistory if that is not known any more); then
    #: nothing is waited for.
    at: At | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply(Generic[T_co]):
    """An answer with what the client may want to know about it. ``index`` is at least 1.

    ``filtered``: there is more than the token that was shown may see. ``whole``: in this process
    nothing was taken from it, whoever is told.
    """

    value: T_co
    index: int
    known_leader: bool = True
    last_contact_s: float = 0.0
    consistency: Consistency = Consistency.DEFAULT
    filtered: bool = False
    whole: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedLeaf:
    """A leaf certificate: PEM chain (leaf first) and the modify index it was given.

    ``per_second`` is how many the cluster signs in a second, 0 for any number.
    """

    cert_pem: str
    serial_number: str
    index: int
    per_second: float = 50.0


@dataclass(frozen=True, slots=True)
class RaftServer:
    """A server of the Raft configuration; ``address`` is "ip:port" of its server port."""

    node_id: str
    address: str
    leader: bool
    voter: bool


@dataclass(frozen=True, slots=True)
class RaftConfiguration:
    """The servers, and the index of the log at which they became these."""

    servers: tuple[RaftServer, ...]
    index: int


class Backend(Protocol):
    """What a face may do. Raises StoreError or ForwardError (NoClusterLeader, NoServers)."""

    async def change(
        self, command: Command, *, actor: Actor | None = None, timeout_s: float | None = None
    ) -> Outcome:
        """Carry out a command; returns once it is durable on a quorum and applied.

        ``actor`` goes into the journal of changes; by default this agent acts for itself.

        Held and retried across an election up to the RPC hold timeout as long as the failure is
        definite. A ``Rejected`` outcome is an answer, not an error.
        """
        ...

    async def ask(self, query: Query[T], options: Ask = Ask()) -> Reply[T]:
        """Answer a query at the wanted consistency, blocking as ``options`` say."""
        ...

    def peek(self, query: Query[T]) -> Reply[T] | None:
        """The answer from what this process holds, possibly stale; None if it holds none."""
        ...

    def watch_once(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None] | None:
        """Call ``on_change`` once when the query's answer may have changed.

        Gives back a function that cancels, or None when this backend cannot promise the call.
        """
        ...

    async def sign_leaf(self, csr_pem: str) -> SignedLeaf:
        """Have the leader sign a certificate request. Raises RequestError when it is refused."""
        ...

    async def on_leader(self, method: str, payload: bytes) -> bytes:
        """Have the leader carry out a method of backend/operations.py, wherever that is.

        Held across an election while no attempt can have had an effect, or another does no harm.
        """
        ...

    async def leader(self) -> str:
        """The leader as "ip:port" of its server port, "" when there is none."""
        ...

    async def raft_configuration(self) -> RaftConfiguration:
        """The Raft configuration as the asked server has it."""
        ...

    async def peers(self) -> tuple[str, ...]:
        """The Raft voters as "ip:port"."""
        ...


class PromptChanges(Protocol):
    """What every agent offers beside ``Backend`` for changes that are not worth a task.

    The same promises, by callback. A callback runs on the loop, must be short and must not raise.
    """

    def change_soon(
        self,
        command: Command,
        done: Callable[[Outcome | Exception], None],
        actor: Actor | None = None,
    ) -> None:
        """``Backend.change``; calls back with the outcome or with what that would raise.

        Raises EncodeError for what no log can carry.
        """
        ...


class PromptQuestions(Protocol):
    """What an agent that is no server offers besides: questions to one, by callback as well."""

    def ask_soon(
        self, query: Query[T], options: Ask, done: Callable[[Reply[T] | Exception], None]
    ) -> bool:
        """``Backend.ask``; calls back with the reply or with what that would raise.

        False, and nothing done, for a question that may be held or that cannot leave at once.
        """
        ...


class Prompt(PromptChanges, Protocol):
    """What a server offers besides: reads of its own state, by callback as well."""

    @property
    def known_leader(self) -> bool:
        """Whether this server knows who leads."""
        ...

    @property
    def last_contact_s(self) -> float:
        """Seconds since the leader was heard."""
        ...

    def fresh_soon(self, done: Callable[[Exception | None], None]) -> None:
        """Call back once this server's state is no older than the call, or with what failed."""
        ...

    def watch_patiently(
        self, query: Query[Any], on_change: Callable[[], None]
    ) -> Callable[[], None]:
        """Call back once, a moment late where many wait, when the query's answer may have changed,
        or this state ends; gives what cancels. Raises QueueFull."""
        ...

    def is_long(self, query: Query[Any]) -> bool:
        """Whether the answer is too long to be made in one go; ``Backend.ask`` makes it then."""
        ...

    def index_of(self, query: Query[Any]) -> int:
        """The index of the query's answer now."""
        ...

    def answer(self, query: Query[T], mode: Consistency) -> Reply[T]:
        """The query's answer now, marked as of that mode."""
        ...
