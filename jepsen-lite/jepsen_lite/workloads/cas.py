"""Compare-and-set on few keys: each is a read of the modify index and a write bound to it."""

from __future__ import annotations

from jepsen_lite.checkers import Checker, linearizable, lost_writes, monotonic
from jepsen_lite.generator import CAS, READ

KEYS = 5
SHARES = {CAS: 2, READ: 1}
CHECKERS: dict[str, Checker] = {
    lost_writes.NAME: lost_writes.check,
    monotonic.NAME: monotonic.check,
    linearizable.NAME: linearizable.check,
}
