"""The replicated state: one machine that applies commands and answers queries."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raftstore.state.machine import StateMachine

__all__ = ["StateMachine"]


def __getattr__(name: str) -> object:
    # An agent that is no server needs a few names out of this package, and never the machine.
    if name == "StateMachine":
        from raftstore.state.machine import StateMachine

        return StateMachine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
