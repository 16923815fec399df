"""What operators define: uniqueness, what goes with what, secrets, and the bytes of commands."""

from __future__ import annotations

import logging

import msgpack
import pytest

from raftstore import commands, queries, wire
from raftstore import definition_commands as c
from raftstore import definition_queries as q
from raftstore import definitions as d
from raftstore.commands import Applied, Command, Deregister, Register, Rejected
from raftstore.definitions import secret_hash
from raftstore.queries import History, Query
from raftstore.records import Node, Session
from raftstore.state import StateMachine

SECRET = "4a3c9d0e-secret"
SESSION = "5e551000-0000-4000-8000-00000000000a"

#: Each command and its fields on the wire: in logs on disk, so for ever.
GOLDEN: list[tuple[Command, list[object]]] = [
    (c.SetConfigEntry(d.ConfigEntry(kind="k", name="n", content={"b": 1}), 7),
     [[["k", "n", {"b": 1}], 7]]),
    (c.DeleteConfigEntry("k", "n"), [["k", "n"]]),
    (c.SetACLToken(d.ACLToken(accessor="a", secret="s", policies=("p",), expires_at=2.5)),
     [[["a", "s", "", ["p"], [], "", 2.5]]]),
    (c.DeleteACLTokens(("a", "b")), [[["a", "b"]]]),
    (c.SetACLPolicy(d.ACLPolicy(id="1", name="p")), [[["1", "p"]]]),
    (c.DeleteACLPolicy("1"), [["1"]]),
    (c.SetACLRole(d.ACLRole(id="1", name="r", policies=("2",))),
     [[["1", "r", ["2"]]]]),
    (c.DeleteACLRole("1"), [["1"]]),
    (c.SetACLAuthMethod(d.ACLAuthMethod(name="m", type="jwt")),
     [[["m", "jwt"]]]),
    (c.DeleteACLAuthMethod("m"), [["m"]]),
    (c.SetACLBindingRule(d.ACLBindingRule(id="1", auth_method="m")),
     [[["1", "m"]]]),
    (c.DeleteACLBindingRule("1"), [["1"]]),
    (c.SetPreparedQuery(d.PreparedQuery(id="1", name="q", session="s", template=True)),
     [[["1", "q", "s", True]]]),
    (c.DeletePreparedQuery("1"), [["1"]]),
    (c.UpdateCoordinates((d.Coordinate(node="n", content={"Vec": [0.5]}),)),
     [[[["n", "", {"Vec": [0.5]}]]]]),
]  # fmt: skip
NUMBERED = dict(enumerate(GOLDEN, start=25)) | {
    75: (c.BootstrapACL(d.ACLToken(accessor="a", secret="s"), 7), [[["a", "s"], 7]]),
    76: (c.SetACLFact(d.ACLFact(name="server", secret="s"), 0), [[["server", "s"], 0]]),
}


@pytest.mark.parametrize(
    ("number", "command", "fields"), [(n, *item) for n, item in NUMBERED.items()]
)
def test_the_bytes_of_a_command_never_change(number, command, fields):
    payload = msgpack.packb([1, number, None, *fields])
    assert wire.encode_command(command) == payload
    assert wire.decode_command(payload).command == command
    assert commands.REGISTRY[number] is type(command)


#: Each query by its number, with its fields on the wire and its footprint.
ASKED: dict[int, tuple[Query[object], list[object], list[tuple[str, str]]]] = {
    32: (q.GetConfigEntry("k", "n"), ["k", "n"], [("config-entries", "k/n")]),
    33: (q.ListConfigEntries("k"), ["k"], [("config-entries:kind", "k")]),
    34: (q.GetACLToken("a"), ["a"], [("acl-tokens", "a")]),
    35: (q.ACLTokenBySecret("h"), ["h"], [("acl-tokens:secret", "h")]),
    36: (q.ListACLTokens(), [], [("acl-tokens", "")]),
    37: (q.ExpiringACLTokens(2.5, 7), [2.5, 7], [("acl-tokens", "")]),
    38: (q.GetACLPolicy("1"), ["1"], [("acl-policies", "1")]),
    39: (q.ListACLPolicies(), [], [("acl-policies", "")]),
    40: (q.GetACLRole("", "r"), ["", "r"], [("acl-roles:name", "r")]),
    41: (q.ListACLRoles(), [], [("acl-roles", "")]),
    42: (q.GetACLAuthMethod("m"), ["m"], [("acl-auth-methods", "m")]),
    43: (q.ListACLAuthMethods(), [], [("acl-auth-methods", "")]),
    44: (q.GetACLBindingRule("1"), ["1"], [("acl-binding-rules", "1")]),
    45: (q.ListACLBindingRules("m"), ["m"], [("acl-binding-rules:auth-method", "m")]),
    46: (q.GetPreparedQuery("1"), ["1"], [("prepared-queries", "1")]),
    47: (q.FindPreparedQuery("n"), ["n"],
         [("prepared-queries:name", "n"), ("prepared-queries:template", "yes")]),
    48: (q.ListPreparedQueries(), [], [("prepared-queries", "")]),
    49: (q.ListCoordinates("N"), ["N"], [("coordinates:node", "n")]),
    70: (q.CoordinatesOf(("N", "m")), [["N", "m"]],
         [("coordinates:node", "n"), ("coordinates:node", "m")]),
    110: (q.GetACLFact("server"), ["server"], [("acl-facts", "server")]),
}  # fmt: skip


@pytest.mark.parametrize(("number", "asked"), ASKED.items())
def test_the_bytes_and_the_footprint_of_a_query_never_change(number, asked):
    query, fields, footprint = asked
    payload = msgpack.packb([1, number, fields])
    assert wire.encode_query(query) == payload
    assert wire.decode_query(payload) == query
    assert queries.REGISTRY[number] is type(query)
    assert list(query.footprint()) == footprint


def test_the_tables_keep_their_names_and_order():
    """Both are in snapshots."""
    assert tuple(d.KINDS) == (
        "config-entries", "acl-tokens", "acl-policies", "acl-roles", "acl-auth-methods",
        "acl-binding-rules", "prepared-queries", "coordinates",
        "acl-facts", "virtual-addresses", "ca-revocations",
    )  # fmt: skip
    assert tuple(d.KINDS) == tuple(StateMachine().definitions.tables)


class Book:
    """A state, written line by line."""

    def __init__(self) -> None:
        self.state = StateMachine()

    def write(self, command: Command) -> commands.Outcome:
        outcome = self.state.apply(self.state.index + 1, 1.0, command)
        self.state.check()
        return outcome


@pytest.fixture
def book() -> Book:
    return Book()


def token(accessor: str = "a", **fields: object) -> d.ACLToken:
    return d.ACLToken(accessor=accessor, secret=SECRET, **fields)  # type: ignore[arg-type]


def test_a_token_is_found_by_its_secret_and_keeps_it(book):
    book.write(c.SetACLToken(token()))
    book.write(c.SetACLToken(d.ACLToken(accessor="a", policies=("p",))))
    found = book.state.answer(q.ACLTokenBySecret(secret_hash(SECRET))).value
    assert (found.accessor, found.secret, found.policies) == ("a", SECRET, ("p",))
    again = book.write(c.SetACLToken(token("b")))
    assert again == Rejected(3, "Invalid Token: SecretID is already in use")
    assert isinstance(book.write(c.SetACLToken(d.ACLToken(accessor="b"))), Rejected)


def test_a_secret_is_in_no_history_log_or_repr(book, caplog):
    caplog.set_level(logging.DEBUG)
    book.write(c.SetACLToken(token()))
    book.write(c.DeleteACLTokens(("a",)))
    told = book.state.answer(History())
    assert SECRET not in repr((told, c.SetACLToken(token()), token()))
    parts = [chunk for chunk in book.state.snapshot() if "history" in chunk[0]]
    assert SECRET.encode() not in msgpack.packb(parts)
    assert len(told.value.changes) == 2
    assert SECRET not in caplog.text


def test_tokens_that_expire_come_soonest_first(book):
    for number, expires_at in enumerate([30.0, None, 10.0, 20.0]):
        fields = {"secret": f"s{number}", "expires_at": expires_at}
        book.write(c.SetACLToken(d.ACLToken(accessor=str(number), **fields)))
    due = book.state.answer(q.ExpiringACLTokens(20.0)).value
    assert [t.accessor for t in due] == ["2", "3"]


def test_an_auth_method_takes_its_rules_and_tokens_along(book):
    assert isinstance(
        book.write(c.SetACLBindingRule(d.ACLBindingRule(id="1", auth_method="m"))), Rejected
    )
    book.write(c.SetACLAuthMethod(d.ACLAuthMethod(name="m")))
    book.write(c.SetACLBindingRule(d.ACLBindingRule(id="1", auth_method="m")))
    book.write(c.SetACLToken(token(auth_method="m")))
    book.write(c.DeleteACLAuthMethod("m"))
    for query in (q.ListACLAuthMethods(), q.ListACLBindingRules(), q.ListACLTokens()):
        assert book.state.answer(query).value == ()


def test_names_are_given_once(book):
    book.write(c.SetACLPolicy(d.ACLPolicy(id="1", name="p")))
    clash = book.write(c.SetACLPolicy(d.ACLPolicy(id="2", name="p")))
    assert clash == Rejected(2, 'Invalid Policy: A Policy with Name "p" already exists')
    book.write(c.SetPreparedQuery(d.PreparedQuery(id="1", name="x")))
    alias = book.write(c.SetPreparedQuery(d.PreparedQuery(id="2", name="x")))
    assert alias == Rejected(4, "name 'x' aliases an existing query name")


def test_a_name_is_answered_by_itself_or_by_the_longest_template(book):
    for number, (name, template) in enumerate([("", True), ("Geo-", True), ("geo-X", False)]):
        query = d.PreparedQuery(id=str(number), name=name, template=template)
        book.write(c.SetPreparedQuery(query))
    found = {
        name: book.state.answer(q.FindPreparedQuery(name)).value.id
        for name in ("geo-x", "GEO-y", "geo-xy", "other")
    }
    assert found == {"geo-x": "2", "GEO-y": "1", "geo-xy": "1", "other": "0"}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (d.PreparedQuery(id="9", name="X"), "name 'X' aliases an existing query name"),
        (d.PreparedQuery(id="9", name="A1"), "name 'A1' aliases an existing query ID"),
        (
            d.PreparedQuery(id="9", template=True),
            "a query template with an empty name already exists",
        ),
        (d.PreparedQuery(id="9", session=SESSION), "invalid session"),
        (
            d.PreparedQuery(id="9", session="s"),
            "failed session lookup: index error: UUID must be 36 characters",
        ),
    ],
    ids=["name", "id", "for all names", "no session", "no uuid"],
)
def test_a_query_takes_nothing_from_another_and_needs_its_session(book, query, reason):
    book.write(c.SetPreparedQuery(d.PreparedQuery(id="a1", name="x")))
    book.write(c.SetPreparedQuery(d.PreparedQuery(id="b", template=True)))
    assert book.write(c.SetPreparedQuery(query)) == Rejected(3, reason)


def test_the_end_of_a_session_takes_its_prepared_queries(book):
    book.write(Register(node=Node(name="n1", address="a")))
    book.write(commands.SessionCreate(Session(id=SESSION, node="n1")))
    book.write(c.SetPreparedQuery(d.PreparedQuery(id="1", session=SESSION.upper())))
    book.write(c.SetPreparedQuery(d.PreparedQuery(id="2")))
    book.write(commands.SessionDestroy(SESSION))
    assert [found.id for found in book.state.answer(q.ListPreparedQueries()).value] == ["2"]


def test_coordinates_are_those_of_known_nodes_and_go_with_them(book):
    update = c.UpdateCoordinates((d.Coordinate(node="n1"), d.Coordinate(node="gone")))
    assert book.write(update) == Applied(1, 0)
    book.write(Register(node=Node(name="N1", address="a")))
    assert book.write(update) == Applied(3, 1)
    assert len(book.state.answer(q.ListCoordinates("N1")).value) == 1
    book.write(Deregister(node="n1"))
    assert book.state.answer(q.ListCoordinates()).value == ()


def test_the_first_management_token_is_made_once(book):
    first = book.write(c.BootstrapACL(token("a")))
    assert isinstance(first, Applied)
    refused = book.write(c.BootstrapACL(d.ACLToken(accessor="b", secret="other")))
    assert refused == Rejected(
        refused.index, f"ACL bootstrap no longer allowed (reset index: {first.index})"
    )


def test_a_reset_names_the_last_bootstrap_and_counts_once(book):
    first = book.write(c.BootstrapACL(token("a")))
    other = d.ACLToken(accessor="b", secret="other")
    again = book.write(c.BootstrapACL(other, reset_index=first.index))
    assert isinstance(again, Applied)
    third = d.ACLToken(accessor="c", secret="third")
    assert isinstance(book.write(c.BootstrapACL(third, reset_index=first.index)), Rejected)
    assert book.state.answer(q.GetACLToken("c")).value is None


def test_a_bootstrap_replaces_no_token(book):
    book.write(c.SetACLToken(token("a")))
    same = d.ACLToken(accessor="a", secret="other")
    assert isinstance(book.write(c.BootstrapACL(same)), Rejected)
    assert isinstance(book.write(c.BootstrapACL(token("b"))), Rejected)
    assert book.state.answer(q.GetACLFact("bootstrap")).value is None


def test_the_secret_of_a_fact_is_in_no_journal(book):
    book.write(c.SetACLFact(d.ACLFact(name="server", secret=SECRET)))
    told = book.state.answer(History()).value
    assert SECRET not in repr((told, book.state.answer(q.GetACLFact("server")).value))
    assert SECRET.encode() not in b"".join(change.after or b"" for change in told.changes)
