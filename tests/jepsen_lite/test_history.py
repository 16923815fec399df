"""A history is read back as it was written, and pairs operations by process."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jepsen_lite.history import INFO, INVOKE, NEMESIS, OK, History, Op, pair, read_history


def test_a_history_survives_the_disk(tmp_path: Path) -> None:
    history = History(tmp_path / "h.jsonl")
    history.append(Op(process="p0", type=INVOKE, f="write", key="k", value="v", at=0.5))
    history.append(Op(process=NEMESIS, type=INFO, f="inject", value="killed n1"))
    history.append(Op(process="p0", type=OK, f="write", key="k", value="v", modify_index=3))
    history.close()
    assert read_history(tmp_path / "h.jsonl") == list(history)
    (operation,) = pair(history)
    assert operation.outcome == OK
    assert (operation.start, operation.end) == (0, 2)


def test_open_and_unknown_operations_never_end() -> None:
    ops = [
        Op(index=0, process="a", type=INVOKE, f="write"),
        Op(index=1, process="b", type=INVOKE, f="write"),
        Op(index=2, process="b", type=INFO, f="write"),
    ]
    assert [operation.end for operation in pair(ops)] == [float("inf")] * 2


@pytest.mark.parametrize("types", [[OK], [INVOKE, INVOKE], [INVOKE, OK, OK]])
def test_impossible_histories_are_refused(types: list[str]) -> None:
    ops = [Op(index=i, process="a", type=t, f="read") for i, t in enumerate(types)]
    with pytest.raises(ValueError, match="process a"):
        pair(ops)


def test_a_foreign_line_is_refused_with_its_number(tmp_path: Path) -> None:
    path = tmp_path / "h.jsonl"
    path.write_text('{"process": "a", "type": "invoke", "f": "read", "colour": 1}\n')
    with pytest.raises(ValueError, match=":1:"):
        read_history(path)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.text(max_size=10), max_size=20))
def test_any_value_survives_the_disk(
    tmp_path_factory: pytest.TempPathFactory, values: list[str]
) -> None:
    path = tmp_path_factory.mktemp("history") / "h.jsonl"
    history = History(path)
    for value in values:
        history.append(Op(process="p", type=INVOKE, f="write", value=value or None))
    history.close()
    assert read_history(path) == list(history)
