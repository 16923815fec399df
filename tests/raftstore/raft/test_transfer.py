"""The phases of handing leadership over."""

from types import SimpleNamespace

from raftstore.raft.transfer import AWAITING, CATCHING_UP, ORDERED, Transfer, Yielding


def transfer():
    return Transfer(ticket="t", target="b", term=3, due=11.0, phase_max_s=1.0)


def test_the_order_is_given_once_and_only_when_the_target_has_everything():
    t = transfer()
    assert not t.caught_up(4, 5, 10.2)
    assert t.caught_up(5, 5, 10.4)
    assert t.phase == ORDERED and t.due == 11.4
    assert not t.caught_up(5, 5, 10.5)


def test_each_phase_has_its_time_and_says_what_failed():
    t = transfer()
    assert t.phase == CATCHING_UP and t.failure(10.9) == ""
    assert "catch up" in t.failure(11.0)
    t.caught_up(5, 5, 10.9)
    assert t.failure(11.5) == "" and "take over" in t.failure(11.9)
    t.stepped_down(11.8)
    t.stepped_down(12.7)  # said at every step: the time runs from the first
    assert t.phase == AWAITING and t.failure(12.7) == "" and "no leader" in t.failure(12.8)


def test_a_full_leader_gives_way_once_and_again_only_after_it_had_room():
    yielding = Yielding()

    def room(*, pressed, full):
        return yielding.due(SimpleNamespace(pressed=pressed, full=full))

    assert not room(pressed=False, full=False)
    assert not room(pressed=True, full=False)
    assert room(pressed=True, full=True)
    assert room(pressed=True, full=True)  # nobody to give way to: asked again
    yielding.done()
    assert not room(pressed=True, full=True)
    assert not room(pressed=True, full=False)  # not enough room to try it again
    assert not room(pressed=True, full=True)
    assert not room(pressed=False, full=False)
    assert room(pressed=True, full=True)
    assert yielding.count == 1
