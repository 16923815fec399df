"""Who walks the tables of a state does not know the machine that works on them."""

from __future__ import annotations

import ast
from pathlib import Path

import raftstore.state
from raftstore.state import StateMachine
from raftstore.state.whole import State

FOLDER = Path(raftstore.state.__file__).parent
MACHINE = "raftstore.state.machine"


def imported(source: Path) -> set[str]:
    """Every module that is named in an import, also where only a type checker looks."""
    return {
        node.module
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }


def test_no_module_of_the_state_imports_the_machine():
    users = {source.name for source in FOLDER.glob("*.py") if MACHINE in imported(source)}
    assert users == {"__init__.py"}


def test_a_machine_is_a_state_that_begins_with_nothing():
    state = StateMachine()
    assert isinstance(state, State)
    assert (state.index, len(state.kv), state.staged_rows(), state.restored) == (0, 0, [], None)
