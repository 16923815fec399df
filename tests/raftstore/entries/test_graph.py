"""No accepted write makes a chain fail, however entries meet."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.commands import Applied, Rejected
from raftstore.definition_queries import ListConfigEntries
from raftstore.entries import kinds
from raftstore.entries.intentions import providers
from raftstore.mesh_queries import GatewayServices
from tests.raftstore.entries.book import NAMES, PROVIDERS, Book, around, bodies, deletions
from tests.strategies import long_examples

HTTP = {"Kind": "proxy-defaults", "Config": {"protocol": "http"}}


def sources(book: Book, name: str) -> list[dict[str, Any]]:
    entry = book.get("service-intentions", name)
    return [] if entry is None else entry.content["Sources"]


def mismatched_listeners(book: Book) -> list[tuple[str, str]]:
    """Listeners of ingress gateways that look at requests, and services that speak otherwise."""
    found = []
    for gateway in NAMES:
        entry = book.get("ingress-gateway", gateway)
        for listener in () if entry is None else entry.content["Listeners"]:
            spoken = listener.get("Protocol", "tcp")
            for exposed in listener["Services"]:
                protocol = book.chain(exposed["Name"]).chain["Protocol"]
                if spoken != "tcp" and protocol != spoken:
                    found.append((gateway, exposed["Name"]))
    return found


def check_around(book: Book) -> None:
    """What holds between entries that no chain is made of."""
    there = {each for each in PROVIDERS if book.get("jwt-provider", each) is not None}
    for entry in book.state.answer(ListConfigEntries("")).value:
        kinds.check(entry)
        assert kinds.is_canonical(entry)
    for name in NAMES:
        entry = book.get("service-intentions", name)
        wanted = set(providers(entry.content)) if entry is not None else set()
        assert wanted <= there, "an intention asks for tokens of nobody"
        if wanted:
            assert book.chain(name).chain["Protocol"] in {"http", "http2", "grpc"}
        gateways = [book.get(kind, name) for kind in ("ingress-gateway", "terminating-gateway")]
        assert None in gateways, "a gateway is of one kind"
        behind = book.state.answer(GatewayServices(name)).value
        assert bool(behind) <= (gateways != [None, None])


@long_examples(150)
@given(
    http=st.booleans(),
    steps=st.lists(st.one_of(bodies, bodies, around, deletions), min_size=1, max_size=14),
)
def test_every_chain_compiles_after_every_write(http, steps):
    book = Book()
    if http:
        assert isinstance(book.write(HTTP), Applied)
    for step in steps:
        before = {name: (book.chain(name), book.chain_index(name)) for name in NAMES}
        plan = book.plan(step)
        outcome = book.write(step) if isinstance(step, dict) else book.delete(*step)
        assert bool(plan.refused) == isinstance(outcome, Rejected)
        book.state.check()
        for name in NAMES:
            compiled, index = book.chain(name), book.chain_index(name)
            assert not compiled.problem
            assert index >= before[name][1]
            if isinstance(outcome, Rejected):
                assert (compiled, index) == before[name]
            elif compiled != before[name][0]:
                assert index > before[name][1], "a blocking query would sleep through this"
            changed = compiled != before[name][0]
            kind = step["Kind"] if isinstance(step, dict) else step[0]
            if kind == "proxy-defaults":  # it knows only services that have entries
                assert changed or name not in plan.chains
            else:
                assert changed == (name in plan.chains), "what was planned is what happened"
            chain = compiled.chain
            if chain["Protocol"] not in {"http", "http2", "grpc"}:
                assert chain["StartNode"].startswith("resolver:")
                assert not any(source.get("Permissions") for source in sources(book, name))
        assert mismatched_listeners(book) == []
        check_around(book)


@long_examples(60)
@given(steps=st.lists(bodies | around, min_size=2, max_size=8), data=st.data())
def test_the_order_of_an_accepted_set_does_not_matter(steps, data):
    book = Book()
    book.write(HTTP)
    last: dict[tuple[str, str], dict[str, Any]] = {("proxy-defaults", ""): HTTP}
    for step in steps:
        if isinstance(book.write(step), Applied):
            last[step["Kind"], step.get("Name", "")] = step
    again = Book()
    waiting = data.draw(st.permutations(list(last.values())))
    # Some can only be written after others; what can be is, until nothing is left.
    while waiting:
        left = [body for body in waiting if isinstance(again.write(body), Rejected)]
        if len(left) == len(waiting):
            return  # only reachable through entries that were replaced meanwhile
        waiting = left
    for name in NAMES:
        assert again.chain(name) == book.chain(name)


def test_a_change_two_links_away_is_refused():
    """The reference looks one link far."""
    book = Book()
    book.write(HTTP)
    book.write({"Kind": "service-resolver", "Name": "c", "Subsets": {"v1": {}}})
    book.write(
        {
            "Kind": "service-resolver",
            "Name": "b",
            "Redirect": {"Service": "c", "ServiceSubset": "v1"},
        }
    )
    book.write(
        {"Kind": "service-splitter", "Name": "a", "Splits": [{"Weight": 100, "Service": "b"}]}
    )
    outcome = book.delete("service-resolver", "c")
    assert isinstance(outcome, Rejected)
    assert outcome.reason == 'service "c" does not have a subset named "v1"'


def test_two_writers_who_are_right_alone_are_not_both_let_through():
    book = Book()
    book.write({"Kind": "service-defaults", "Name": "a", "Protocol": "http"})
    split = {"Kind": "service-splitter", "Name": "a", "Splits": [{"Weight": 100}]}
    tcp = {"Kind": "service-defaults", "Name": "a", "Protocol": "tcp"}
    assert isinstance(book.write(split), Applied)
    outcome = book.write(tcp)
    assert isinstance(outcome, Rejected) and "does not permit advanced routing" in outcome.reason


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {"Kind": "terminating-gateway", "Name": "gw"},
            'cannot create a terminating-gateway with name "gw"',
        ),
        (
            {"Kind": "service-defaults", "Name": "a", "MutualTLSMode": "permissive"},
            "cannot set MutualTLSMode=permissive",
        ),
        (
            {
                "Kind": "service-intentions",
                "Name": "a",
                "Sources": [{"Name": "x", "Action": "allow"}],
                "JWT": {"Providers": [{"Name": "nobody"}]},
            },
            "referenced JWT provider does not exist. Provider Name: nobody",
        ),
    ],
    ids=["gateway", "permissive", "provider"],
)
def test_what_other_entries_forbid(body, reason):
    book = Book()
    book.write({"Kind": "ingress-gateway", "Name": "gw"})
    outcome = book.write(body)
    assert isinstance(outcome, Rejected) and outcome.reason.startswith(reason)


def test_an_ingress_holds_the_protocol_of_what_it_exposes():
    book = Book()
    book.write(HTTP)
    exposed = {"Port": 80, "Protocol": "http", "Services": [{"Name": "a"}]}
    assert isinstance(
        book.write({"Kind": "ingress-gateway", "Name": "gw", "Listeners": [exposed]}), Applied
    )
    for body in (
        {"Kind": "service-defaults", "Name": "a", "Protocol": "tcp"},
        {"Kind": "proxy-defaults", "Config": {"protocol": "grpc"}},
    ):
        outcome = book.write(body)
        assert isinstance(outcome, Rejected)
        assert "does not match defined listener protocol" in outcome.reason
    assert isinstance(book.delete("proxy-defaults", "global"), Rejected)
    assert isinstance(book.delete("ingress-gateway", "gw"), Applied)
    assert isinstance(book.delete("proxy-defaults", "global"), Applied)


def test_a_plan_names_what_would_be_done():
    book = Book()
    book.write(HTTP)
    body = {"Kind": "service-resolver", "Name": "c", "Subsets": {"v1": {}}}
    assert book.plan(body).action == "create"
    book.write(body)
    assert (book.plan(body).action, book.plan(body).chains) == ("nothing", ())
    book.write(
        {"Kind": "service-splitter", "Name": "a", "Splits": [{"Weight": 100, "Service": "c"}]}
    )
    changed = book.plan({**body, "ConnectTimeout": "9s"})
    assert (changed.action, changed.chains) == ("update", ("a", "c"))
    assert book.plan(("service-resolver", "c")).action == "delete"
    assert book.plan(("service-resolver", "zz")).action == "nothing"


def test_a_provider_in_use_stays():
    book = Book()
    book.write(HTTP)
    keys = {"Local": {"Filename": "/keys"}}
    book.write({"Kind": "jwt-provider", "Name": "okta", "JSONWebKeySet": keys})
    wants = {"JWT": {"Providers": [{"Name": "okta"}]}}
    allow = {"Sources": [{"Name": "x", "Action": "allow"}]}
    done = book.write({"Kind": "service-intentions", "Name": "a", **allow, **wants})
    assert isinstance(done, Applied)
    outcome = book.delete("jwt-provider", "okta")
    assert isinstance(outcome, Rejected) and "intention name: a" in outcome.reason
    book.delete("service-intentions", "a")
    assert isinstance(book.delete("jwt-provider", "okta"), Applied)
