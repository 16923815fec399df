"""The shape of a snapshot on disk: sections and rows, as another version must read them."""

from __future__ import annotations

from raftstore.commands import Applied, KVDelete, KVSet, Register, RequestId
from raftstore.records import Check, Node, Service
from raftstore.state import StateMachine


def example() -> StateMachine:
    state = StateMachine()
    web = Service(id="w", name="Web", connect_native=True)
    checks = (Check(id="c2", service_id="w"), Check(id="c1"))
    state.apply(2, 10.0, Register(node=Node(name="n", address="a"), service=web, checks=checks))
    state.apply(3, 11.0, KVSet(key="k", value=b"v"), RequestId("boot", 4, 3))
    state.apply(4, 12.0, KVSet(key="gone"))
    state.apply(5, 13.0, KVDelete(key="gone"))
    return state


def test_sections_come_in_a_fixed_order():
    sections = [section for section, _ in example().snapshot()]
    assert sections == [
        "head", "indexes", "nodes", "names", "connect", "kv", "tombstones", "ca", "outcomes",
        "history-floor", "history",
    ]  # fmt: skip


def test_rows_are_plain_data_in_a_fixed_shape():
    chunks = dict(example().snapshot())
    assert chunks["head"] == [[1, 5, 13.0, 0]]
    assert chunks["indexes"] == [
        ["checks", 2],
        ["kv-tree", 5],
        ["nodes", 2],
        ["service-names", 2],
        ["services", 2],
    ]
    assert chunks["names"] == chunks["connect"] == [["web", 2]]
    assert chunks["kv"] == [["k", b"v", 0, 0, "", 3, 3]]
    assert chunks["tombstones"] == [["gone", 5]]
    assert chunks["outcomes"] == [["boot", 3, 11.0, [[4, [True, 3, True]]]]]
    node, index, services, checks = chunks["nodes"][0]
    assert (node[0], index, services[0][1], [check[1] for check in checks]) == (
        "n", 2, "w", ["c1", "c2"],
    )  # fmt: skip


def test_a_record_of_an_older_version_is_read_with_defaults():
    chunks = list(example().snapshot())
    for section, rows in chunks:
        if section == "kv":
            rows[:] = [["k", b"v"]]
    state = StateMachine()
    state.restore(chunks)
    assert state.kv.get("k").value == b"v"


def test_a_restored_state_remembers_requests():
    state = StateMachine()
    state.restore(example().snapshot())
    assert state.apply(9, 20.0, KVSet(key="k", value=b"2"), RequestId("boot", 4)) == Applied(
        3, True
    )
    assert state.kv.get("k").value == b"v"


def test_what_loading_wrote_is_no_change_of_the_next_command():
    """Tombstones are buried anew: a server that was restored must not tell that as history."""
    original, restored = example(), StateMachine()
    restored.restore(original.snapshot())
    restored.check()
    for state in (original, restored):
        state.apply(6, 14.0, KVSet(key="k", value=b"v"))  # changes nothing
        state.apply(7, 15.0, KVSet(key="k", value=b"2"))
    assert list(restored.snapshot()) == list(original.snapshot())
