"""The key of a certificate that somebody outside of the cluster is asked to sign.

It waits in the replicated state, so that whoever leads when the certificate comes has it. Numbered
with commands.py and queries.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from raftstore import commands, queries
from raftstore.commands import Command
from raftstore.queries import Footprint, Query


@commands.numbered(85)
@dataclass(frozen=True, slots=True)
class OpenSigningRequest(Command):
    """Keep a key until it signs (`SetCA` with it) or another takes its place. Value: True.

    Rejection: without a key.
    """

    private_key: str


@queries.numbered(95, str)
@dataclass(frozen=True, slots=True)
class GetSigningRequest(Query[str]):
    """The key that waits, "" for none. Answered to the server's own process only."""

    server_only: ClassVar[bool] = True

    def footprint(self) -> tuple[Footprint, ...]:
        return (("ca-request", ""),)
