"""Paths with more than one reading are refused; all others have one form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import AmbiguousPath
from proxy.paths import canonical

pieces = st.lists(
    st.sampled_from(
        ["/", "//", ".", "..", "a", "admin", "%61", "%2e", "%2F", "\\", "%C3", "?q=/../x"]
    ),
    max_size=10,
)


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/", "/"),
        ("/a/../admin", "/admin"),
        ("//admin", "/admin"),
        ("/%61dmin", "/admin"),
        ("\\admin", "/admin"),
        ("/a/%2e%2e/admin/", "/admin/"),
        ("/../../admin", "/admin"),
        ("/admin/.", "/admin/"),
        ("/a%c3%a4?x=/../y", "/a%C3%A4"),
        ("*", "*"),
    ],
)
def test_the_one_form(target, path):
    assert canonical(target) == path


@pytest.mark.parametrize(
    "target",
    ["admin", "", "/admin%2fx", "/admin%5Cx", "/x%00", "/x%", "/x%zz", "/a b", "/a\n", "/a#b"],
)
def test_more_than_one_reading(target):
    with pytest.raises(AmbiguousPath):
        canonical(target)


@given(parts=pieces)
def test_the_form_is_kept_once_it_is_reached(parts):
    try:
        path = canonical("/" + "".join(parts))
    except AmbiguousPath:
        return
    assert canonical(path) == path
    assert "//" not in path and "\\" not in path
    assert not {".", ".."} & set(path.split("/"))


@pytest.mark.parametrize(
    "path", ["/a/..;/admin", "/..;x=1/admin", "/a/.;/b", "/%2e%2e;/admin", "/..;"]
)
def test_a_dot_segment_with_parameters_has_two_readings(path: str) -> None:
    with pytest.raises(AmbiguousPath):
        canonical(path)


def test_parameters_elsewhere_stay() -> None:
    assert canonical("/a;x=1/b;y") == "/a;x=1/b;y"


@given(st.lists(st.text("ab.~_-1", max_size=3), max_size=4), st.booleans())
def test_paths_that_are_in_their_form_stay_as_they_are(segments: list[str], ends: bool) -> None:
    path = "/" + "/".join(segments) + "/" * ends
    one_form = canonical(path)
    # An escape takes the long way to the same form.
    assert canonical(path.replace("a", "%61")) == one_form == canonical(one_form)
