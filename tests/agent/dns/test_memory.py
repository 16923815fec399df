"""What is remembered: the last word, its age, and no more than the bounds allow."""

from hypothesis import given
from hypothesis import strategies as st

from agent.dns.memory import Memory
from raftstore.queries import HealthService
from raftstore.records import ServiceName


def query(name: str) -> HealthService:
    return HealthService(service=ServiceName(name))


def test_the_last_word_counts_and_has_an_age() -> None:
    memory = Memory(10)
    memory.keep(query("web"), ("a",), 10.0)
    memory.keep(query("web"), ("b",), 12.0)
    found = memory.get(query("web"), 15.0, age_max_s=5.0)
    assert found is not None
    assert (found.value, found.age_s) == (("b",), 3.0)
    assert memory.get(query("web"), 15.0, age_max_s=2.0) is None
    assert memory.get(query("db"), 15.0, age_max_s=1e9) is None


def test_an_answer_beyond_the_bound_is_not_kept_in_place_of_all_others() -> None:
    memory = Memory(10, rows_max=5)
    memory.keep(query("small"), ("a",), 0.0)
    memory.keep(query("large"), tuple(range(5)), 0.0)
    assert memory.get(query("large"), 0.0, age_max_s=1.0) is None
    assert memory.get(query("small"), 0.0, age_max_s=1.0) is not None


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 6), st.booleans()), max_size=40)
)
def test_the_longest_unused_goes_first(steps: list[tuple[str, int, bool]]) -> None:
    memory, order = Memory(3, rows_max=12), list[str]()
    for now, (name, rows, keeps) in enumerate(steps):
        if keeps:
            memory.keep(query(name), tuple(range(rows)), float(now))
            order = [*(n for n in order if n != name), name]
        elif memory.get(query(name), float(now), age_max_s=1e9) is not None:
            order = [*(n for n in order if n != name), name]
        memory.check()
        kept = [n for n in order if query(n) in memory._entries]
        assert [q.service for q in memory._entries] == kept == order[len(order) - len(kept) :]
        order = kept
