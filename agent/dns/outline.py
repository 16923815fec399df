"""A reply before it is bytes: what may stand in it, and what goes when something has to go."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from dns.rcode import Rcode

from agent.dns.names import Zone
from agent.dns.wire import Record

#: Instances that one reply is made from: no transport takes more answers (DNS contract 8). Of a
#: bigger service a random part is drawn, which also bounds the time a question takes.
INSTANCES_MAX = 4096
#: So many are looked at in one step of the loop: some five milliseconds.
STEP_INSTANCES = 512
#: The same over UDP: so often what a reply can hold, within these bounds.
UDP_ROUNDS = 2
UDP_INSTANCES_MIN, UDP_INSTANCES_MAX = 256, 2048
SRV_INSTANCES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Item:
    """One unit of the answer section that is kept or cut as a whole: its records (a CNAME with its
    chain), the additional records it needs, and others that go when anything is cut. ``weight`` is
    how often it stands in front of others where weights count."""

    records: tuple[Record, ...]
    needs: tuple[Record, ...] = ()
    notes: tuple[Record, ...] = ()
    weight: int = 1


class SoaAt(enum.Enum):
    """Where the SOA record goes; it holds the time and is made when bytes are."""

    NOWHERE = 0
    ANSWER = 1
    AUTHORITY = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """A reply before shuffling and cutting. ``one_of``: a single item is to be drawn.
    ``address_limit`` says that ``a_record_limit`` applies. ``forward``: the recursors are to be
    asked, and this is the reply if all of them fail. ``scoped``: it is one for the client's
    subnet; ``partial``: instances were left out before; ``wanting``: of so many instances it is to
    be made, and it is of fewer though there are others; ``personal``: for where this client is, so
    no other may get it."""

    rcode: Rcode = Rcode.NOERROR
    zone: Zone
    items: tuple[Item, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    soa_at: SoaAt = SoaAt.NOWHERE
    shuffled: bool = False
    one_of: bool = False
    address_limit: bool = False
    authoritative: bool = True
    recursion_available: bool = False
    opt: bool = True
    forward: bool = False
    partial: bool = False
    wanting: int = 0
    scoped: bool = False
    personal: bool = False
