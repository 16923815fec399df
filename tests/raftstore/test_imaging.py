"""A state frozen into chunks of bytes and filled from them again, beside the one in force."""

import pytest

from raftstore.commands import KVSet
from raftstore.config import StateLimits
from raftstore.errors import DecodeError
from raftstore.imaging import StateImages
from raftstore.state import StateMachine


def filled(count, value=b"v" * 10):
    state = StateMachine()
    for number in range(count):
        state.apply(number + 2, 1.0, KVSet(key=f"k{number}", value=value))
    return state


def images(state, replaced):
    return StateImages(StateLimits(), current=lambda: state, replace=replaced.append)


def frozen(source):
    steps = source.freeze()
    count = 0
    while True:
        try:
            next(steps)
            count += 1
        except StopIteration as end:
            return end.value, count


def test_a_state_goes_through_chunks_and_replaces_the_other_only_when_told():
    state, replaced = filled(3000), []
    source = images(state, replaced)
    chunks, _ = frozen(source)
    first = next(chunks)
    state.apply(9999, 2.0, KVSet(key="later", value=b""))
    rest = list(chunks)
    loader = source.loader()
    for chunk in (first, *rest):
        loader.feed(chunk)
    loader.finish()
    assert replaced == []
    loader.swap()
    (found,) = replaced
    found.check()
    assert list(found.snapshot()) == list(filled(3000).snapshot())


def test_chunks_are_bounded_by_bytes_as_well_as_by_rows():
    small, _ = frozen(images(filled(1000), []))
    large, _ = frozen(images(filled(64, b"v" * 40_000), []))
    assert max(len(chunk) for chunk in small) < 40_000
    assert max(len(chunk) for chunk in large) < 200_000


def test_damage_is_a_decode_error():
    source = images(filled(1), [])
    for chunk in (b"", b"\xc1", b"\x92\xa2kv\xdc\x00\x01\x01", b"\x92\xa4what\x90"):
        with pytest.raises(DecodeError):
            source.loader().feed(chunk)
    with pytest.raises(DecodeError):
        source.loader().finish()


def test_a_replaced_state_is_let_go_in_steps():
    state = filled(3000)
    assert sum(1 for _ in state.dissolve()) >= 6
    assert len(state.kv) == 0
