"""What a terminating gateway makes of what it is told, and of names in handshakes."""

from __future__ import annotations

import pytest

from proxy.errors import SourceError
from proxy.source import AppAddress, AppTls
from proxy.spiffe import SpiffeId, server_name
from proxy.terminating import application, names, service_of, suffix

SUFFIX = suffix("dc1", "x.consul")


def test_a_handshake_names_the_service() -> None:
    asked = server_name([SpiffeId.service("x.consul", "dc1", "DB")])
    assert asked is not None
    assert service_of(asked, ("api", "DB"), SUFFIX) == "DB"
    assert service_of(asked.lower(), ("api", "DB"), SUFFIX) == "DB"
    assert service_of(asked, ("api",), SUFFIX) == ""
    assert service_of("db", ("db",), SUFFIX) == ""


def test_a_handshake_names_the_subset() -> None:
    who = [SpiffeId.service("x.consul", "dc1", "DB")]
    asked = server_name(who, "v1")
    assert asked is not None and asked.startswith("v1.DB.default.")
    parts = names({"Services": ["DB", "api"], "Subsets": {"DB": ["v1", "v2"], "other": ["v1"]}})
    assert parts == ("DB", "api", "DB;v1", "DB;v2")
    assert service_of(asked, parts, SUFFIX) == "DB;v1"
    assert service_of(server_name(who) or "", parts, SUFFIX) == "DB"
    assert service_of(asked, ("DB",), SUFFIX) == ""  # not told (yet): nobody else instead
    assert service_of("", ("DB", "DB;v1"), SUFFIX) == "DB"
    assert server_name(who, "v/1") is None
    with pytest.raises(SourceError):
        names({"Services": [], "Subsets": ["v1"]})


def test_without_a_name_there_must_be_no_doubt() -> None:
    assert service_of("", ("db",), SUFFIX) == "db"
    assert service_of("", ("db", "api"), SUFFIX) == "" == service_of("", (), SUFFIX)


@pytest.mark.parametrize("name", ["x" * 64, "a/b", "ä", ""])
def test_what_is_no_name_of_a_host_is_not_asked_for(name: str) -> None:
    assert server_name([SpiffeId.service("x.consul", "dc1", name)]) is None
    assert server_name([]) is None


def test_how_a_service_is_talked_to() -> None:
    told = {
        "Addresses": [{"Address": "a.example", "Port": 443}, {"Address": "10.0.0.1", "Port": 8443}],
        "CAFile": "/ca.pem", "CertFile": "", "KeyFile": "", "SNI": "api.example",
        "HostRewrite": True,
    }  # fmt: skip
    tls = AppTls("/ca.pem", server_name="api.example")
    others = (("10.0.0.1", 8443),)
    assert application(told, requests=False) == AppAddress("a.example", 443, others=others, tls=tls)
    assert application(told, requests=True).host == "a.example"
    assert application(told | {"HostRewrite": False}, requests=True).host == ""
    assert application(told | {"CAFile": ""}, requests=False).tls is None
    assert application(told | {"Addresses": []}, requests=True) == AppAddress("", 0)
    heavy = [each | {"Weight": 3 * at} for at, each in enumerate(told["Addresses"], 1)]
    assert application(told | {"Addresses": heavy}, requests=False).weights == (3, 6)
    drained = [told["Addresses"][0] | {"Weight": 0}, *told["Addresses"][1:]]
    assert application(told | {"Addresses": drained}, requests=False).address == "10.0.0.1"
    by_number = told | {"Addresses": told["Addresses"][1:]}  # type: ignore[index]
    assert application(by_number, requests=True).host == ""


@pytest.mark.parametrize("told", [None, [], {"Addresses": [{"Port": 1}]}, {"Addresses": [1]}])
def test_what_cannot_be_read_is_refused(told: object) -> None:
    with pytest.raises(SourceError):
        application(told, requests=True)
    with pytest.raises(SourceError):
        names(told)


def test_the_services_by_name() -> None:
    assert names({"Services": ["a", "b"]}) == ("a", "b")
