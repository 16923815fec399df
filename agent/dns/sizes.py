"""Shuffles an outline, cuts it to what the transport allows, and writes it (DNS contract 8)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from dns.rdatatype import RdataType

from agent.dns import records
from agent.dns.composing import Composer, composer_of
from agent.dns.outline import INSTANCES_MAX, SRV_INSTANCES_MAX, Item, Outline, SoaAt
from agent.dns.rules import Rules
from agent.dns.steps import Steps, at_once
from agent.dns.wire import Question, Record, Reply, full_bytes, write_reply

PLAIN_UDP_BYTES = 512
#: The reference leaves this many bytes of every limit unused (measured).
SLACK_BYTES = 7
#: What fits into one UDP datagram over IPv4, less the slack.
UDP_BYTES_MAX = 65507 - SLACK_BYTES
TCP_BYTES_MAX = 65523
TCP_ANSWERS_MAX = INSTANCES_MAX
TCP_SRV_ANSWERS_MAX = SRV_INSTANCES_MAX


#: So often the length is guessed from the lengths that are known, before it is searched for.
GUESSES_MAX = 6
#: A pointer, type, class, TTL and the length of no data.
_RECORD_BYTES_MIN = 12


@dataclass(frozen=True, slots=True)
class Budget:
    """How much one reply may hold. With ``uncompressed_after_cut`` bytes count as if nothing were
    compressed once the number of answers has been cut (measured reference)."""

    answers_max: int
    bytes_max: int
    uncompressed_after_cut: bool = False


def budget_of(question: Question, rules: Rules, *, tcp: bool) -> Budget:
    """The budget of a transport and a question."""
    if tcp:
        srv = question.qtype == RdataType.SRV
        return Budget(TCP_SRV_ANSWERS_MAX if srv else TCP_ANSWERS_MAX, TCP_BYTES_MAX)
    payload = question.edns.payload_bytes if question.edns else PLAIN_UDP_BYTES
    if payload > PLAIN_UDP_BYTES:
        return Budget(INSTANCES_MAX, min(payload - SLACK_BYTES, UDP_BYTES_MAX))
    return Budget(rules.udp_answer_limit, PLAIN_UDP_BYTES - SLACK_BYTES, True)


def write(
    outline: Outline, question: Question, rules: Rules, *, tcp: bool, rng: random.Random, now_s: int
) -> bytes:
    """The packet with id 0. ``now_s`` is the SOA's serial. Every call draws a new order."""
    orders = Orders(outline, question, rules, tcp=tcp, rng=rng)
    orders.draw()
    return orders.write(0, now_s)


class Orders:
    """The packets of one outline in the orders that are drawn for it (``ready.Turns``)."""

    __slots__ = (
        "_budget", "_composer", "_looked", "_order", "_outline", "_question", "_rng", "_rules",
        "_weighted", "again", "count",
    )  # fmt: skip

    def __init__(
        self,
        outline: Outline,
        question: Question,
        rules: Rules,
        *,
        tcp: bool,
        rng: random.Random,
    ) -> None:
        self._outline = outline
        self._question = question
        self._rules = rules
        self._rng = rng
        self._budget = budget_of(question, rules, tcp=tcp)
        self._order: list[Item] = list(outline.items)
        self._composer: Composer | None = None
        self._looked = False
        moves = outline.shuffled and len(self._order) > 1
        self._weighted = moves and rules.weighted_order and question.qtype != RdataType.SRV
        # An order by weight cannot begin elsewhere: each is drawn for itself.
        self.again = not self._weighted
        self.count = len(self._order) if moves and not self._weighted else 1

    def draw(self) -> None:
        """Draw another order."""
        if self._weighted:
            self._order.sort(key=lambda item: _turn(item.weight, self._rng))
        elif self.count > 1:
            self._rng.shuffle(self._order)

    def write(self, turn: int, now_s: int) -> bytes:
        """The packet that begins with the ``turn``-th item of the order."""
        return at_once(self.writing(turn, now_s))

    def writing(self, turn: int, now_s: int) -> Steps[bytes]:
        """The same in steps: the first one takes long where items are many."""
        outline, rules = self._outline, self._rules
        items = self._order[turn:] + self._order[:turn]
        if self._composer is not None:
            return self._composer.compose(items)
        order = list(items)
        if outline.one_of:
            del items[1:]
        elif outline.address_limit and rules.a_record_limit:
            del items[rules.a_record_limit :]
        cutter = _Cutter(outline, self._question, rules, now_s)
        packet = yield from cutter.fit(items, self._budget)
        if not self._looked:
            self._looked = True
            if len(order) > 1 and outline.soa_at is SoaAt.NOWHERE:
                self._composer = yield from composer_of(packet, self._question, order)
        return packet


def _turn(weight: int, rng: random.Random) -> tuple[bool, float]:
    """Sorted by this, items stand in an order drawn by weight without putting back: waiting times
    at rates that are the weights (Efraimidis and Spirakis). Those without a weight come last."""
    return (weight <= 0, rng.expovariate(weight) if weight > 0 else rng.random())


class _Cutter:
    """Builds replies from the first so many answer records and measures them."""

    __slots__ = ("_authority", "_outline", "_own", "_question", "_rules")

    def __init__(self, outline: Outline, question: Question, rules: Rules, now_s: int) -> None:
        self._outline = outline
        self._question = question
        self._rules = rules
        self._own: tuple[Record, ...] = ()
        self._authority = outline.authority
        if outline.soa_at is not SoaAt.NOWHERE:
            zone = outline.zone
            home = rules.zones.primary if zone.labels[-1] == "arpa" else zone
            soa = records.soa(zone.wire, now_s, rules.soa, home=home.wire)
            if outline.soa_at is SoaAt.ANSWER:
                self._own = (soa,)
            else:
                self._authority = (soa, *outline.authority)

    def fit(self, items: list[Item], budget: Budget) -> Steps[bytes]:
        total = len(self._own) + sum(len(item.records) for item in items)
        count = min(total, max(1, budget.answers_max))
        uncompressed = budget.uncompressed_after_cut and count < total
        # More cannot fit, however well names are compressed.
        count = min(count, budget.bytes_max // _RECORD_BYTES_MIN + 1)
        cut = count < total
        reply, packet = self._build(items, count, cut)
        if self._fits(reply, packet, budget, uncompressed) or count <= 1:
            return packet
        if self._authority:
            self._authority = ()
            reply, packet = self._build(items, count, cut)
            if self._fits(reply, packet, budget, uncompressed):
                return packet
        size = self._size(reply, packet, uncompressed)
        yield
        return (yield from self._shrink(items, count, size, budget, uncompressed))

    def _shrink(
        self, items: list[Item], count: int, size: int, budget: Budget, uncompressed: bool
    ) -> Steps[bytes]:
        """The longest beginning that fits, at least one record; ``count``, of ``size`` bytes, are
        too many. Size grows with every record: where records are of one length two guesses hit it,
        otherwise bisection finds it."""
        low, high = 1, count
        reply, best = self._build(items, low, True)
        low_size, high_size = self._size(reply, best, uncompressed), size
        for tries in range(count):
            if high - low <= 1:
                break
            middle = (low + high) // 2
            if tries < GUESSES_MAX and high_size > low_size:
                room = (budget.bytes_max - low_size) * (high - low) // (high_size - low_size)
                # The second one is to show that one more does not fit.
                middle = max(low + 1, min(high - 1, low + max(1, room)))
            reply, packet = self._build(items, middle, True)
            made = self._size(reply, packet, uncompressed)
            if made <= budget.bytes_max:
                low, low_size, best = middle, made, packet
            else:
                high, high_size = middle, made
            yield
        return best

    @staticmethod
    def _size(reply: Reply, packet: bytes, uncompressed: bool) -> int:
        return full_bytes(reply) if uncompressed else len(packet)

    def _fits(self, reply: Reply, packet: bytes, budget: Budget, uncompressed: bool) -> bool:
        return self._size(reply, packet, uncompressed) <= budget.bytes_max

    def _build(self, items: Sequence[Item], count: int, cut: bool) -> tuple[Reply, bytes]:
        answers = list(self._own[:count])
        additional: list[Record] = []
        for item in items:
            room = count - len(answers)
            if room <= 0:
                break
            answers += item.records[:room]
            additional += item.needs
            if not cut:
                additional += item.notes
        additional += self._outline.additional
        outline = self._outline
        reply = Reply(
            question=self._question,
            rcode=outline.rcode,
            authoritative=outline.authoritative,
            recursion_available=outline.recursion_available,
            truncated=(cut or outline.partial) and self._rules.enable_truncate,
            answers=answers,
            authority=self._authority,
            additional=additional,
            opt=outline.opt,
            scoped=outline.scoped,
        )
        return reply, write_reply(reply, compress=self._rules.compress)
