"""What is asked of the leader, as bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.backend.logins import (
    CALL_BYTES_MAX,
    Login,
    Logout,
    decode_login,
    decode_logout,
)
from raftstore.errors import DecodeError

_text = st.text(max_size=20)


@given(_text, _text, st.dictionaries(_text, _text, max_size=4), _text, _text)
def test_a_login_comes_back_as_it_was(
    method: str, bearer: str, meta: dict[str, str], address: str, node: str
) -> None:
    asked = Login(method=method, bearer=bearer, meta=meta, address=address, node=node)
    assert decode_login(asked.encode()) == asked
    out = Logout(secret=bearer, address=address, node=node)
    assert decode_logout(out.encode()) == out
    assert "bearer=" not in repr(asked) and "secret=" not in repr(out)


@pytest.mark.parametrize(
    "raw", [b"", b"[]", b"{}", b'{"method": 1}', b"[" * 100_000, b" " * (CALL_BYTES_MAX + 1),
            b'{"method":"m","bearer":"b","meta":{"a":1},"address":"","node":""}'],
)  # fmt: skip
def test_other_bytes_are_refused(raw: bytes) -> None:
    for decode in (decode_login, decode_logout):
        with pytest.raises(DecodeError):
            decode(raw)


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    for decode in (decode_login, decode_logout):
        try:
            decode(raw)
        except DecodeError:
            pass
