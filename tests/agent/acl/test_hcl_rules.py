"""HCL 1 as the reference's parser reads it, and its error texts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.acl.hcl_rules import HclError, Item, parse


def shape(items: tuple[Item, ...]) -> list[object]:
    return [
        (item.keys, shape(item.value) if isinstance(item.value, tuple) else item.value)
        for item in items
    ]


def test_blocks_assignments_lists_and_comments() -> None:
    text = """
    # lead
    key "a b" { policy = "read", other = 5 } // tail
    acl = "write"
    list = [ "x", 1.5, true, { y = -3 } ]  /* between */
    text = <<EOT
line
EOT
    """
    assert shape(parse(text)) == [
        (("key", "a b"), [(("policy",), "read"), (("other",), 5)]),
        (("acl",), "write"),
        (("list",), ["x", 1.5, True, (Item(("y",), -3, 5),)]),
        (("text",), "line\n"),
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "At 1:10: key 'nonsense' expected start of object ('{') or assignment ('=')"),
        ('key "a"', "At 1:8: key 'key \"a\"' expected start of object ('{') or assignment ('=')"),
        ("a {", "At 1:4: object expected closing RBRACE got: EOF"),
        ("= 1", "At 1:1: no object keys found!"),
        ("{}", "At 1:1: expected: IDENT | STRING got: LBRACE"),
        ("a b = 1", "At 1:5: nested object expected: LBRACE got: ASSIGN"),
        ("a 5", "At 1:3: expected: IDENT | STRING | ASSIGN | LBRACE got: NUMBER"),
        ("a = b", "At 1:5: Unknown token: 1:5 IDENT b"),
        ("a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: NUMBER"),
        ('a = "b', "At 1:5: literal not terminated"),
        ("/* a", "At 1:1: comment not terminated"),
        ("a = <<EOT\nx", "At 1:5: heredoc not terminated"),
        ("a \\", "At 1:3: illegal character"),
        ("\n}", "At 2:1: expected: IDENT | STRING | ASSIGN | LBRACE got: RBRACE"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_an_error_names_its_place(text: str, words: str) -> None:
    with pytest.raises(HclError) as caught:
        parse(text)
    assert str(caught.value) == words


def test_escapes_mean_characters() -> None:
    items = parse(r'a = "q\"\n\u00e9\x41\ud800"')
    assert items[0].value == 'q"\né' + "A\ufffd"


@pytest.mark.parametrize("deep", ["a {" * 100, "a = " + "[" * 100], ids=["objects", "lists"])
def test_nesting_has_a_bound(deep: str) -> None:
    with pytest.raises(HclError, match="nested too deeply"):
        parse(deep)


@given(st.text('abc_"{}[]=,\n 01.#/*<\\-') | st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse(text)
    except HclError:
        return
