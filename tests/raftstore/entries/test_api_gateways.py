"""Kinds that are kept for tools: what is written is read, and what cannot be is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.commands import Applied
from raftstore.entries import kinds
from raftstore.entries.api_gateways import patterns
from raftstore.entries.errors import Invalid
from tests.raftstore.entries.book import Book

PEM = "-----BEGIN {0}-----\nMAA=\n-----END {0}-----\n"
CERTIFICATE = {
    "Kind": "inline-certificate", "Name": "c",
    "Certificate": PEM.format("CERTIFICATE"), "PrivateKey": PEM.format("EC PRIVATE KEY"),
}  # fmt: skip
FILES = {
    "Kind": "file-system-certificate", "Name": "f", "Certificate": "/c", "PrivateKey": "/k",
}  # fmt: skip


def gateway(**listener: Any) -> dict[str, Any]:
    whole = {"Name": "l", "Port": 80, "Protocol": "http", **listener}
    return {"Kind": "api-gateway", "Name": "g", "Listeners": [whole]}


def route(**rule: Any) -> dict[str, Any]:
    parents = [{"Name": "g", "SectionName": "l"}]
    return {"Kind": "http-route", "Name": "r", "Parents": parents, "Rules": [rule]}


def tcp(*services: str, **parent: Any) -> dict[str, Any]:
    return {
        "Kind": "tcp-route", "Name": "t", "Parents": [{"Name": "g", **parent}],
        "Services": [{"Name": name} for name in services],
    }  # fmt: skip


words = st.text("abc", min_size=1, max_size=3)
paths = st.builds(
    lambda match, value: {"Match": match, "Value": f"/{value}"},
    st.sampled_from(["exact", "prefix", "regex"]), words,
)  # fmt: skip
named = st.builds(
    lambda match, name: {"Match": match, "Name": name, "Value": "v"},
    st.sampled_from(["exact", "present", "regex"]), words,
)  # fmt: skip
matches = st.fixed_dictionaries(
    {},
    optional={
        "Path": paths, "Method": st.sampled_from(["get", "POST"]),
        "Headers": st.lists(named, max_size=2), "Query": st.lists(named, max_size=2),
    },
)  # fmt: skip
services = st.lists(
    st.fixed_dictionaries({"Name": words}, optional={"Weight": st.integers(-1, 3)}), max_size=2
)
rules = st.fixed_dictionaries(
    {}, optional={"Matches": st.lists(matches, max_size=2), "Services": services}
)
entries: st.SearchStrategy[dict[str, Any]] = st.one_of(
    rules.map(lambda rule: route(**rule)),
    st.lists(words, max_size=1).map(lambda names: tcp(*names)),
    st.fixed_dictionaries(
        {"Protocol": st.sampled_from(["HTTP", "tcp"]), "Port": st.integers(1, 65535)},
        optional={"TLS": st.just({"Certificates": [{"Name": "c"}]})},
    ).map(lambda listener: gateway(**listener)),
    st.just(CERTIFICATE),
    st.just(FILES),
    st.just({"Kind": "sameness-group", "Name": "s", "Members": [{"Peer": "p"}]}),
    st.just({"Kind": "bound-api-gateway", "Name": "g", "Listeners": [{"Name": "l"}]}),
)  # fmt: skip


@given(entries)
def test_what_was_read_can_be_written_again(body: dict[str, Any]) -> None:
    book = Book()
    written = book.write(body)
    assert isinstance(written, Applied) and written.value is True, written
    stored = book.get(body["Kind"], body["Name"])
    assert stored is not None
    shown = kinds.shown(stored)
    assert kinds.decode(shown).content == stored.content
    assert kinds.is_canonical(stored)


def test_what_is_left_out_is_filled_in() -> None:
    found = kinds.decode(route(Matches=[{}], Services=[{"Name": "a"}])).content
    assert found["Parents"] == [{"Kind": "api-gateway", "Name": "g", "SectionName": "l"}]
    assert found["Rules"][0]["Matches"] == [{"Path": {"Match": "prefix", "Value": "/"}}]
    assert found["Rules"][0]["Services"] == [{"Name": "a", "Weight": 1}]
    listener = kinds.decode(gateway(Protocol="HTTP", TLS={"Certificates": [{"Name": "c"}]}))
    assert listener.content["Listeners"][0]["Protocol"] == "http"
    assert (
        listener.content["Listeners"][0]["TLS"]["Certificates"][0]["Kind"] == "inline-certificate"
    )


def test_patterns_of_a_route_are_found() -> None:
    body = route(
        Matches=[
            {"Path": {"Match": "regex", "Value": "/x+"}},
            {"Headers": [{"Match": "regex", "Name": "h", "Value": "y+"}]},
            {"Query": [{"Match": "exact", "Name": "q", "Value": "z+"}]},
        ]
    )
    assert sorted(patterns(kinds.decode(body).content)) == ["/x+", "y+"]


def match(**given: Any) -> dict[str, Any]:
    return route(Matches=[given])


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"Kind": "api-gateway"}, "Name is required"),
        (gateway(Protocol="udp"), 'unsupported listener protocol "udp"'),
        (gateway(Port=0), "listener port 0 not in the range 1-65535"),
        (gateway(Port=65536), "listener port 65536 not in the range"),
        (gateway(Protocol="tcp", Hostname="a.b"), "not supported when using TCP"),
        (gateway(Hostname="a b"), 'host "a b" must be a valid DNS hostname'),
        (gateway(Hostname="a.*"), "must be a valid DNS hostname"),
        (gateway(Name="Upper"), 'listener name "Upper" is invalid'),
        (gateway(TLS={"Certificates": [{"Kind": "x", "Name": "c"}]}), 'certificate kind: "x"'),
        (gateway(TLS={"Certificates": [{}]}), "certificate reference must have a name"),
        ({**gateway(), "Listeners": [*gateway()["Listeners"]] * 2}, "multiple listeners with"),
        (
            {**gateway(), "Listeners": [
                {"Name": "a", "Port": 1, "Protocol": "tcp"},
                {"Name": "b", "Port": 1, "Protocol": "http"},
            ]},
            "listeners on port 1 cannot be merged",
        ),
        (tcp("a", "b"), "only supports one service"),
        (tcp("a", Kind="ingress-gateway"), 'unsupported parent kind: "ingress-gateway"'),
        ({**tcp(), "Parents": [{}]}, "route parent must have a name"),
        ({**tcp(), "Parents": [{"Name": "g"}, {"Name": "g"}]}, "route parents must be unique"),
        (tcp(""), "service must have a name"),
        (match(Method="FETCH"), 'Rule[0].Match[0] contains an invalid method "FETCH"'),
        (match(Path={"Match": "suffix", "Value": "/"}), "Path type should be one of exact"),
        (match(Path={"Match": "exact", "Value": "x"}), "Path value must begin with '/'"),
        (match(Path={"Match": "regex", "Value": "x" * 2000}), "exceeds maximum length"),
        (match(Headers=[{"Match": "near", "Name": "h"}]), "Headers[0] type should be one of"),
        (match(Query=[{"Match": "exact"}]), "Query[0] missing required Name field"),
        ({**route(), "Hostnames": ["-"]}, "must be a valid DNS hostname"),
        ({**CERTIFICATE, "Certificate": "x"}, "failed to parse certificate PEM"),
        ({**CERTIFICATE, "PrivateKey": "x"}, "failed to parse private key PEM"),
        ({**CERTIFICATE, "PrivateKey": PEM.format("PUBLIC KEY")}, "failed to parse private key"),
        ({"Kind": "file-system-certificate", "Name": "f"}, "certificate path is required"),
        (
            {"Kind": "file-system-certificate", "Name": "f", "Certificate": "/c"},
            "private key path is required",
        ),
        ({"Kind": "sameness-group", "Name": "s", "Members": [{}]}, "exactly one of Partition or"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(body: dict[str, Any], words: str) -> None:
    with pytest.raises(Invalid) as refused:
        kinds.check(kinds.decode(body))
    assert words in str(refused.value)


def test_listeners_of_http_may_share_a_port() -> None:
    listeners = [
        {"Name": name, "Port": 80, "Protocol": "http", "Hostname": f"{name}.x"} for name in "ab"
    ]
    kinds.check(kinds.decode({**gateway(), "Listeners": listeners}))


def test_history_shows_no_private_key() -> None:
    entry = kinds.decode(CERTIFICATE)
    assert "PrivateKey" not in kinds.without_secrets(entry).content
    assert entry.content["PrivateKey"] == CERTIFICATE["PrivateKey"]
    other = kinds.decode(tcp("a"))
    assert kinds.without_secrets(other) is other
