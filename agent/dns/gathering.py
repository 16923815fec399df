"""The reply about a service of more instances than are looked at in one step, part by part.

Parts are runs of instances in the order in which the catalog has them, of one length but for one
instance, taken in a drawn order until there are as many instances as a reply is made from: so each
instance is as likely as any other.
Decides which part is next, and what the outlines of the parts are together.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from dataclasses import replace

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from agent.dns.outline import STEP_INSTANCES, Item, Outline
from agent.dns.wire import Record
from raftstore.dns_queries import HealthSample, Sample
from raftstore.queries import HealthEntry


class Gathering:
    """What was found so far for one question."""

    __slots__ = (
        "_addresses", "_aliases", "_cut", "_first", "_found", "_most", "_parts", "_sample", "_seen",
        "_srv",
    )  # fmt: skip

    def __init__(
        self,
        sample: HealthSample,
        total: int,
        *,
        most: int,
        qtype: int,
        rng: random.Random,
        step: int = STEP_INSTANCES,
    ) -> None:
        """``total`` instances the service has, ``most`` are wanted, a part has at most ``step``."""
        self._sample = sample
        self._most = most
        self._srv = qtype == RdataType.SRV
        count = -(-total // step)
        bounds = [number * total // count for number in range(count + 1)] if count else []
        self._parts = list(itertools.pairwise(bounds))
        rng.shuffle(self._parts)
        self._found = 0
        self._cut = False
        self._seen: set[tuple[str, str, int]] = set()
        self._first: Outline | None = None
        self._addresses: dict[tuple[Record, ...] | int, Item] = {}
        self._aliases: list[Item] = []

    def next_part(self) -> HealthSample | None:
        """The question after the next part; None when nothing more is wanted."""
        if not self._parts or self._found >= self._most:
            return None
        start, stop = self._parts.pop()
        return replace(self._sample, start=start, stop=stop, most=stop - start)

    def wanted(self, part: Sample) -> Sample:
        """What of a part is to be answered with, as if it were all there is."""
        entries: Sequence[HealthEntry] = part.entries
        if self._srv:  # of one node, address and port there is one record (DNS contract 3.2)
            entries = [entry for entry in entries if self._is_new(entry)]
        # Drawn in no order: a beginning is a fair part.
        kept = tuple(entries[: self._most - self._found])
        self._cut = self._cut or len(kept) < len(entries)
        self._found += len(kept)
        return Sample(kept, partial=False)

    def _is_new(self, entry: HealthEntry) -> bool:
        key = (entry.node.name, entry.service.address, entry.service.port)
        known = key in self._seen
        self._seen.add(key)
        return not known

    def add(self, outline: Outline) -> None:
        """The outline that a part gives alone."""
        if self._first is None or (outline.items and not self._first.items):
            self._first = outline
        elif not self._first.items and outline.rcode == Rcode.NOERROR:
            self._first = outline  # there is such a service
        for item in outline.items:
            if outline.one_of:
                self._aliases.append(item)
                continue
            if not self._addresses:
                self._first = outline
            # Two nodes with one address have two SRV records, but one A record.
            key = len(self._addresses) if self._srv else item.records
            known = self._addresses.get(key)
            weight = item.weight + (known.weight if known is not None else 0)
            self._addresses[key] = replace(item, weight=weight)

    def outline(self) -> Outline:
        """All parts together: with addresses nobody is told of host names (DNS contract 3.2)."""
        assert self._first is not None, "a service of many instances has a part"
        items = tuple(self._addresses.values()) or tuple(self._aliases)
        return replace(self._first, items=items, partial=self._cut or bool(self._parts), wanting=0)
