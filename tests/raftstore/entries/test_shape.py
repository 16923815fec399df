"""Bodies of config entries as Consul's decoder takes and refuses them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raftstore.entries import kinds
from raftstore.entries.errors import Invalid
from raftstore.entries.shape import Undecodable, snake
from tests.raftstore.entries.book import around, bodies

NAMED = {"Kind": "service-resolver", "Name": "web"}


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("ConnectTimeoutMs", "connect_timeout_ms"),
        ("ExternalSNI", "external_sni"),
        ("CAFile", "ca_file"),
        ("EnvoyListenerJSON", "envoy_listener_json"),
        ("EnforcingConsecutive5xx", "enforcing_consecutive_5xx"),
        ("TLSMinVersion", "tls_min_version"),
        ("SourceIP", "source_ip"),
    ],
)
def test_spellings(name, other):
    assert snake(name) == other


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"Name": "web"}, "Payload does not contain a kind/Kind key at the top level"),
        ({"Kind": 7}, "Kind value in payload is not a string"),
        ({"Kind": "nope"}, "invalid config entry kind: nope"),
        (
            {**NAMED, "Bogus": 1, "Redirect": {"Nope": 1}},
            '2 errors occurred:\n\t* invalid config key "Bogus"'
            '\n\t* invalid config key "Redirect.Nope"\n\n',
        ),
        (
            {**NAMED, "Namespace": "x"},
            '1 error occurred:\n\t* invalid config key "Namespace", namespaces are a consul '
            "enterprise feature\n\n",
        ),
        (
            {**NAMED, "ConnectTimeout": "soon"},
            "1 error(s) decoding:\n\n* error decoding 'ConnectTimeout': "
            'time: invalid duration "soon"',
        ),
        (
            {**NAMED, "LoadBalancer": "x"},
            "1 error(s) decoding:\n\n* 'LoadBalancer' expected a map, got 'string'",
        ),
        (
            {"Kind": "ingress-gateway", "Name": "g", "Listeners": [{"Port": "x"}]},
            "1 error(s) decoding:\n\n* cannot parse 'Listeners[0].Port' as int: "
            'strconv.ParseInt: parsing "x": invalid syntax',
        ),
    ],
    ids=["kind", "number", "unknown", "keys", "namespace", "duration", "map", "int"],
)
def test_refusals(body, reason):
    with pytest.raises(Undecodable) as refused:
        kinds.decode(body)
    assert str(refused.value) == reason


def test_loose_types_are_taken():
    body = {
        "kind": "service-resolver",
        "name": ["web"],
        "connect_timeout": 5,
        "load_balancer": [
            {"policy": "least_request", "least_request_config": {"choice_count": "3"}}
        ],
        "subsets": {"v1": [{"only_passing": "true"}]},
    }
    entry = kinds.decode(body)
    assert entry.name == "web"
    assert entry.content == {
        "ConnectTimeout": 5,
        "Subsets": {"v1": {"OnlyPassing": True}},
        "LoadBalancer": {"Policy": "least_request", "LeastRequestConfig": {"ChoiceCount": 3}},
    }


@given(body=bodies | around)
def test_what_is_shown_is_read_as_the_same(body):
    entry = kinds.decode(body)
    assert kinds.is_canonical(entry)
    shown = kinds.shown(entry)
    assert kinds.decode(shown) == entry
    assert kinds.normalised(entry) == entry


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Name", "Services", "Listeners", "Sources", "Splits", "Subsets", "x"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@given(
    kind=st.sampled_from(sorted(kinds.KINDS)), body=st.dictionaries(st.text(max_size=3), any_json)
)
def test_no_body_does_more_than_be_refused(kind, body):
    check(kind, body)


@given(kind=st.sampled_from(sorted(kinds.KINDS)), data=st.data())
def test_no_value_of_a_field_does_more_than_be_refused(kind, data):
    fields = [field.name for field in kinds.KINDS[kind].shape.fields]
    check(kind, data.draw(st.dictionaries(st.sampled_from(fields), any_json, max_size=3)))


def check(kind: str, body: dict[str, Any]) -> None:
    try:
        entry = kinds.decode(
            {**body, "Kind": kind, "Name": "a"} if kind != "mesh" else {**body, "Kind": kind}
        )
        assert kinds.is_canonical(entry)
        kinds.check(entry)
        kinds.shown(entry)
        kinds.names_of(entry)
    except (Undecodable, Invalid):
        pass


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            {
                "Kind": "service-defaults",
                "Name": "a",
                "UpstreamConfig": {"Defaults": {"Limits": {"MaxConnections": -1}}},
            },
            "1 error occurred:\n\t* error in upstream defaults: 1 error occurred:\n\t* max "
            "connections cannot be negative\n\n\n\n",
        ),
        (
            {"Kind": "service-defaults", "Name": "*"},
            "service-defaults name must be the name of a service, and not a wildcard",
        ),
        (
            {
                "Kind": "ingress-gateway",
                "Name": "g",
                "Listeners": [
                    {"Port": 80, "Services": [{"Name": "a"}]},
                    {"Port": 80, "Services": [{"Name": "b"}]},
                ],
            },
            "port 80 declared on two listeners",
        ),
        (
            {
                "Kind": "terminating-gateway",
                "Name": "g",
                "Services": [{"Name": "a", "KeyFile": "k"}],
            },
            'Service "a" must have a CertFile, CAFile, and KeyFile specified for TLS origination',
        ),
        (
            {"Kind": "mesh", "TLS": {"Incoming": {"TLSMinVersion": "TLSv1_0"}}},
            "error in incoming TLS configuration: TLS versions below TLSv1_2 are not safe: TLSv1_0",
        ),
        (
            {"Kind": "service-resolver", "Name": "a", "Meta": {"k" * 129: "v"}},
            f'1 error occurred:\n\t* Meta key "{"k" * 129}" exceeds maximum length 128\n\n',
        ),
        ({"Kind": "exported-services", "Name": "x"}, 'exported-services Name must be "default"'),
        ({"Kind": "jwt-provider", "Name": "x"}, "JSONWebKeySet is required"),
    ],
    ids=["limits", "wildcard", "ports", "tls-files", "old-tls", "meta", "exports", "jwt"],
)
def test_static_rules(body, reason):
    with pytest.raises(Invalid) as refused:
        kinds.check(kinds.decode(body))
    assert str(refused.value) == reason
