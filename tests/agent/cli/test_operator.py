"""The table of Raft's servers."""

from __future__ import annotations

from agent.cli.operator import peers_table

SERVERS = [
    {"Node": node, "ID": f"id-{node}", "Address": "10.0.0.1:8300", "Leader": leads, "Voter": True,
     "ProtocolVersion": "3"}
    for node, leads in (("s1", True), ("s2", False), ("s3", False), ("s4", False))
]  # fmt: skip


def rows(indexes: dict[str, int] | None) -> list[list[str]]:
    return [
        line.split(maxsplit=6) for line in peers_table({"Servers": SERVERS}, indexes).split("\n")
    ]


def test_in_detail_it_says_how_far_each_log_has_come() -> None:
    title, *found = rows({"id-s1": 41, "id-s2": 41, "id-s3": 40})
    assert title[5:] == ["RaftProtocol", "Commit Index  Trails Leader By"]
    assert [line[6].split(maxsplit=1) for line in found] == [
        ["41", "-"],
        ["41", "0 commits"],
        ["40", "1 commit"],
        ["-", "-"],
    ]


def test_otherwise_it_does_not() -> None:
    assert all(len(line) == 6 for line in rows(None))
    assert peers_table({}, {}) == f"{peers_table({})}  Commit Index  Trails Leader By"
