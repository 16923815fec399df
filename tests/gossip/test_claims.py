"""What becomes of claims: whom to believe, what is checked instead, and what a refutation costs."""

from __future__ import annotations

from gossip.effects import Quarantined
from gossip.wire.messages import Dead, State, Suspect
from tests.gossip.test_swim import Bench, address, alive

OTHERS = 9


def quarantine(bench: Bench, accuser: str = "n0") -> list[Quarantined]:
    """Let three members refute what one of them alone said."""
    for index in (3, 4, 5):
        bench.receive(Suspect(1, f"n{index}", accuser))
        bench.receive(alive(f"n{index}", index + 2, 2))
    assert bench.swim.claims.accusers.quarantined(accuser, bench.now)
    return [effect for effect in bench.take() if isinstance(effect, Quarantined)]


def test_who_was_wrong_about_three_is_checked_instead_of_believed() -> None:
    bench = Bench(OTHERS)
    assert quarantine(bench) == [Quarantined("n0", ("n3", "n4", "n5"))]
    bench.receive(Suspect(1, "n7", "n0"))
    bench.receive(Dead(1, "n6", "n0"))
    assert bench.state("n7") is State.ALIVE
    assert bench.state("n6") is State.ALIVE
    assert bench.swim._stats.accusations_doubted == 2
    # Both are probed out of turn, with the round going on between them, and hear who accuses them.
    bench.swim._probe = None
    first, ping = bench.until_ping()
    assert (first, ping.node) == (address(9), "n7")


def test_what_is_checked_and_found_true_ends_the_quarantine() -> None:
    bench = Bench(OTHERS, tcp_pings=False)
    quarantine(bench)
    bench.receive(Suspect(1, "n7", "n0"))
    bench.swim._probe = None
    _, ping = bench.until_ping()
    assert ping.node == "n7"
    bench.after(1.01)  # it does not answer us either
    assert bench.state("n7") is State.SUSPECT
    running = bench.swim.suspicions.get("n7")
    assert running is not None
    assert running.accusers == ["me"]
    assert not bench.swim.claims.accusers.quarantined("n0", bench.now)


def test_a_stale_accusation_of_one_in_quarantine_is_not_even_checked() -> None:
    bench = Bench(OTHERS)
    quarantine(bench)
    bench.receive(Suspect(1, "n3", "n0"))  # it refuted that
    bench.receive(Suspect(1, "nobody", "n0"))
    assert bench.swim._stats.accusations_doubted == 0


def test_a_member_that_says_it_leaves_is_believed_in_quarantine_too() -> None:
    bench = Bench(OTHERS)
    quarantine(bench)
    bench.receive(Dead(1, "n0", "n0"))
    assert bench.state("n0") is State.LEFT


def test_we_refute_whoever_accuses_us_but_one_in_quarantine_costs_no_health() -> None:
    bench = Bench(OTHERS)
    quarantine(bench)
    bench.receive(Suspect(bench.swim.table.local.incarnation, "me", "n0"))
    assert (bench.swim.table.local.incarnation, bench.swim.awareness.score) == (2, 0)
    bench.receive(Suspect(2, "me", "n1"))
    assert (bench.swim.table.local.incarnation, bench.swim.awareness.score) == (3, 1)


def test_accusers_that_agree_are_not_held_to_be_wrong() -> None:
    bench = Bench(OTHERS)
    for index in (3, 4, 5, 6):
        bench.receive(Suspect(1, f"n{index}", "n0"))
        bench.receive(Suspect(1, f"n{index}", "n1"))
        bench.receive(alive(f"n{index}", index + 2, 2))
    assert bench.swim.claims.accusers.count_quarantined(bench.now) == 0


def test_a_death_that_nobody_else_saw_proves_nothing_for_its_only_accuser() -> None:
    bench = Bench(OTHERS)
    bench.receive(Suspect(1, "n3", "n0"))
    bench.receive(Dead(1, "n3", "n0"))
    assert bench.state("n3") is State.DEAD
    assert bench.swim.claims.accusers.get("n0") is None
    bench.receive(Suspect(1, "n4", "n0"))
    bench.receive(Dead(1, "n4", "n1"))
    account = bench.swim.claims.accusers.get("n0")
    assert account is not None
    assert [(e.subject, e.outcome.value) for e in account.evidence] == [("n4", "proved")]
