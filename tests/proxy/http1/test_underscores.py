"""Headers that some applications take for others."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import HttpViolation
from proxy.http1.head import Request
from proxy.http1.underscores import ALLOW, DROP, REJECT, action, screened, some


def mesh(wanted: object) -> object:
    return {
        "HTTP": {"Incoming": {"RequestNormalization": {"HeadersWithUnderscoresAction": wanted}}}
    }


@pytest.mark.parametrize("given_", [None, {}, {"HTTP": None}, mesh(""), mesh("odd"), mesh(7)])
def test_without_a_word_of_the_mesh_they_are_refused(given_: object) -> None:
    assert action(given_) == REJECT
    assert action(mesh(DROP)) == DROP and action(mesh(ALLOW)) == ALLOW


@given(st.lists(st.sampled_from(["Host", "X_A", "x-a", "_", "Content_Length"]), max_size=6))
def test_none_is_left_and_nothing_else_is_lost(names: list[str]) -> None:
    headers = tuple((name, str(number)) for number, name in enumerate(names))
    request = Request("GET", "/x", 1, headers)
    assert screened(request, ALLOW) is request
    left = screened(request, DROP)
    assert not some(left)
    assert left.headers == tuple(each for each in headers if "_" not in each[0])
    if some(request):
        with pytest.raises(HttpViolation):
            screened(request, REJECT)
    else:
        assert screened(request, REJECT) is request
