"""Writes of unique values to some keys, consistent reads beside them, a final read of each key."""

from __future__ import annotations

from jepsen_lite.checkers import Checker, linearizable, lost_writes, monotonic
from jepsen_lite.generator import READ, WRITE

KEYS = 20
SHARES = {WRITE: 3, READ: 1}
CHECKERS: dict[str, Checker] = {
    lost_writes.NAME: lost_writes.check,
    monotonic.NAME: monotonic.check,
    linearizable.NAME: linearizable.check,
}
