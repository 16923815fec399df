"""The replicated state: one machine that applies commands and answers queries."""

from raftstore.state.machine import StateMachine

__all__ = ["StateMachine"]
