"""Bodies of agent writes into definitions."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import RequestError
from agent.http import parse
from raftstore.records import TaggedAddress, Weights


def service(**fields: Any) -> Any:
    return parse.service_definition(json.dumps(fields).encode())


def check(**fields: Any) -> Any:
    return parse.check_definition(json.dumps(fields).encode())


def refusal(read: Any, body: bytes) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        read(body)
    return caught.value.status, caught.value.text


def test_a_service_with_everything() -> None:
    found = service(
        ID="web1",
        Name="web",
        Tags=["a"],
        Address="10.0.0.1",
        TaggedAddresses={
            "lan": {"Address": "10.0.0.1", "Port": 8000},
            "wan": {"address": "1.2.3.4"},
        },
        Port=8000,
        Meta={"Key": "v"},
        Weights={"Passing": 10, "Warning": 2},
        EnableTagOverride=True,
        Check={"TTL": "10s"},
        Checks=[{"HTTP": "http://x", "Interval": "5s", "Header": {"X": ["a", "b"]}}],
    )
    assert (found.id, found.name, found.tags, found.port) == ("web1", "web", ("a",), 8000)
    assert found.tagged_addresses["lan"] == TaggedAddress("10.0.0.1", 8000)
    assert found.tagged_addresses["wan"] == TaggedAddress("1.2.3.4", 0)
    assert found.meta == {"Key": "v"}
    assert found.weights == Weights(10, 2)
    assert found.enable_tag_override
    assert [each.kind for each in found.checks] == ["ttl", "http"]
    assert found.checks[0].ttl_s == 10.0
    assert found.checks[1].header == {"X": ("a", "b")}


def test_what_is_not_given_is_absent_and_left_to_the_agent() -> None:
    found = service(Name="web")
    assert found.weights is None and found.proxy is None and found.sidecar is None
    assert found.id == "" and found.checks == () and found.meta is None
    assert service().name == ""


def test_snake_case_spellings_of_configuration_files_are_accepted() -> None:
    found = service(
        name="web",
        enable_tag_override=True,
        tagged_addresses={"lan": {"address": "x", "port": 1}},
        connect={"sidecar_service": {"port": 21000, "proxy": {"upstreams": [
            {"destination_name": "db", "local_bind_port": 5000}]}}},
        check={"http": "http://x", "interval": "1s", "deregister_critical_service_after": "90s",
               "tls_skip_verify": True, "success_before_passing": 2},
    )  # fmt: skip
    assert found.enable_tag_override
    assert found.sidecar.port == 21000
    upstream = found.sidecar.proxy.upstreams[0]
    assert (upstream.destination_name, upstream.local_bind_port) == ("db", 5000)
    assert upstream.destination_type == "service"
    assert found.checks[0].deregister_critical_service_after_s == 90.0
    assert found.checks[0].success_before_passing == 2


def test_an_empty_sidecar_is_a_sidecar() -> None:
    found = service(Name="web", Port=1, Connect={"SidecarService": {}})
    assert found.sidecar is not None and found.sidecar.name == ""
    assert service(Name="web", Connect={"Native": True}).connect_native


def test_a_sidecar_keeps_the_id_it_must_not_have() -> None:
    assert service(Name="x", Connect={"SidecarService": {"ID": "q"}}).sidecar.id == "q"


@pytest.mark.parametrize("key", ["Args", "ScriptArgs", "args", "script_args"])
def test_script_arguments_have_two_names(key: str) -> None:
    assert check(Name="x", **{key: ["true"]}).args == ("true",)


def test_numbers_of_a_ttl_are_nanoseconds() -> None:
    assert check(Name="x", TTL=10).ttl_s == 1e-08


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "EOF"),
        (b'{"Name": "x", "Bogus": 1}', 'json: unknown field "Bogus"'),
        (b'{"Name": "x", "Check": {"TTL": "abc"}}', 'time: invalid duration "abc"'),
        (b'{"Name": "x", "Check": {"Script": "true"}}', 'json: unknown field "Script"'),
    ],
)
def test_decode_failures_are_400_with_the_prefix(body: bytes, text: str) -> None:
    assert refusal(parse.service_definition, body) == (400, f"Request decode failed: {text}")


def test_an_update_is_a_status_and_an_output() -> None:
    assert parse.check_update(b'{"Status": "passing", "Output": "ok"}') == ("passing", "ok")
    assert parse.check_update(b"{}") == ("", "")


def test_connect_bodies_have_their_own_prefixes() -> None:
    assert refusal(parse.authorize, b"{nope") == (
        400,
        "Bad request: Request decode failed: invalid character 'n' looking for beginning of "
        "object key string",
    )
    assert refusal(parse.intention, b"{")[0] == 500
    assert refusal(parse.intention, b"{")[1].startswith("Failed to decode request body: ")
    assert refusal(parse.intention, b'{"Precedence":"9"}') == (
        500,
        "Failed to decode request body: "
        "json: cannot unmarshal string into Go struct field .Precedence of type int",
    )
    assert parse.intention(b'{"Precedence":9}') == {"precedence": 9}
    assert refusal(parse.ca_configuration, b"{")[1].startswith("Bad request: Request decode")


def test_collected_errors_are_counted() -> None:
    assert parse.several(["a"]) == "1 error occurred:\n\t* a\n\n"
    assert parse.several(["a", "b"]) == "2 errors occurred:\n\t* a\n\t* b\n\n"


_json = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.floats(allow_nan=False) | st.text("ab1s"),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from(["Name", "Port", "Check", "Checks", "Connect", "SidecarService", "Proxy",
                         "Upstreams", "TTL", "Weights", "Passing", "Meta", "Expose", "Paths"]),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


@settings(max_examples=120)
@given(_json)
def test_any_json_is_a_definition_or_a_400(value: Any) -> None:
    body = json.dumps(value).encode()
    for read in (parse.service_definition, parse.check_definition):
        status = 200
        try:
            read(body)
        except RequestError as error:
            status = error.status
        assert status in {200, 400}
