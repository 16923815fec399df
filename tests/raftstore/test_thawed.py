"""Records made at the price of mutable ones are the same as others, and as frozen."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.records import KVPair, Service, ServiceId, ServiceName
from raftstore.thawed import compiled, copier_of, maker_of, twin_of


@dataclass(frozen=True)
class Unslotted:
    name: str


@dataclass(frozen=True, slots=True)
class Checked:
    name: str

    def __post_init__(self) -> None:
        assert self.name, "a name is never empty"


@given(st.text(), st.binary(), st.integers(0, 2**64 - 1))
def test_a_made_value_equals_a_constructed_one(key: str, value: bytes, index: int):
    made = maker_of(KVPair)(key, value, 1, 0, "", index, index)
    wanted = KVPair(key=key, value=value, flags=1, create_index=index, modify_index=index)
    assert type(made) is KVPair
    assert made == wanted
    assert hash(made) == hash(wanted)
    assert repr(made) == repr(wanted)


def test_a_made_value_is_frozen():
    made = maker_of(KVPair)("k", b"", 0, 0, "", 1, 1)
    with pytest.raises(FrozenInstanceError):
        made.key = "other"
    copied = copier_of(KVPair)(made, {"flags": 2})
    with pytest.raises(FrozenInstanceError):
        copied.key = "other"


def test_a_copy_has_all_fields_and_leaves_the_first_alone():
    service = Service(id=ServiceId("web1"), name=ServiceName("web"), port=80, tags=("a",))
    copied = copier_of(Service)(service, {"port": 81})
    differing = [f.name for f in fields(Service)
                 if getattr(copied, f.name) != getattr(service, f.name)]  # fmt: skip
    assert differing == ["port"]
    assert service.port == 80


@pytest.mark.parametrize("kind", [Unslotted, Checked])
def test_what_init_must_make_is_made_by_it(kind):
    assert twin_of(kind) is None
    assert copier_of(kind)(kind("a"), {"name": "b"}) == kind("b")


def test_a_copy_cannot_get_around_a_check():
    with pytest.raises(AssertionError, match="never empty"):
        copier_of(Checked)(Checked("a"), {"name": ""})


def test_only_names_go_into_source():
    with pytest.raises(AssertionError, match="only names"):
        compiled(["def f(): return 1"], "f", {"a b": 1})
