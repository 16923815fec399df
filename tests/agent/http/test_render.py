"""Records into JSON: null, empty and absent are different answers."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.http import render
from agent.http.reply import json_bytes
from raftstore.queries import CARootsAnswer, HealthEntry, ServiceNode
from raftstore.records import (
    CARoot,
    Check,
    CheckId,
    Intention,
    IntentionSource,
    KVPair,
    Node,
    NodeName,
    Proxy,
    Service,
    ServiceId,
    ServiceName,
    Upstream,
)

NODE = Node(
    name=NodeName("n"), address="10.0.0.1", datacenter="dc1", create_index=1, modify_index=2
)
SERVICE = Service(node=NodeName("n"), id=ServiceId("web"), name=ServiceName("web"))


def test_an_empty_value_of_a_key_is_null() -> None:
    shown = render.kv_pair(KVPair(key="a", create_index=1, modify_index=2))
    assert list(shown) == ["LockIndex", "Key", "Flags", "Value", "CreateIndex", "ModifyIndex"]
    assert shown["Value"] is None
    assert render.kv_pair(KVPair(key="a", value=b"hello"))["Value"] == "aGVsbG8="
    assert render.kv_pair(KVPair(key="a", session="s"))["Session"] == "s"


def test_maps_of_a_node_that_were_never_given_are_null() -> None:
    shown = render.node(NODE)
    assert shown["TaggedAddresses"] is None and shown["Meta"] is None and shown["ID"] == ""


def test_a_node_service_leaves_out_what_is_empty_but_not_its_proxy() -> None:
    assert render.node_service(SERVICE) == {
        "ID": "web",
        "Service": "web",
        "Tags": [],
        "Address": "",
        "Meta": None,
        "Weights": {"Passing": 1, "Warning": 1},
        "EnableTagOverride": False,
        "Proxy": {"Mode": "", "MeshGateway": {}, "Expose": {}},
        "Connect": {},
        "CreateIndex": 0,
        "ModifyIndex": 0,
    }


def test_the_flat_form_shows_empty_meta_as_an_object() -> None:
    shown = render.service_node(ServiceNode(NODE, SERVICE))
    assert shown["ServiceMeta"] == {} and shown["NodeMeta"] is None
    assert shown["ServicePort"] == 0 and shown["ServiceSocketPath"] == ""
    assert "ServiceTaggedAddresses" not in shown


def test_a_proxy_shows_its_upstreams() -> None:
    proxy = Proxy(
        destination_service_name="web",
        config={"a": 1},
        upstreams=(Upstream(destination_name="db", local_bind_port=1234),),
    )
    assert render.proxy(proxy) == {
        "DestinationServiceName": "web",
        "Mode": "",
        "Config": {"a": 1},
        "Upstreams": [
            {"DestinationType": "", "DestinationName": "db", "Datacenter": "",
             "LocalBindPort": 1234, "MeshGateway": {}}
        ],
        "MeshGateway": {},
        "Expose": {},
    }  # fmt: skip
    assert "Mode" not in render.proxy(proxy, full=False)


def test_an_agent_service_shows_no_indexes_and_no_proxy_of_its_own() -> None:
    assert render.agent_service(SERVICE, "dc1") == {
        "ID": "web",
        "Service": "web",
        "Tags": [],
        "Meta": {},
        "Port": 0,
        "Address": "",
        "Weights": {"Passing": 1, "Warning": 1},
        "EnableTagOverride": False,
        "Datacenter": "dc1",
    }


def test_lists_of_checks_are_never_null() -> None:
    assert render.health_entry(HealthEntry(NODE, SERVICE, ()))["Checks"] == []
    check = Check(id=CheckId("c"))
    assert render.check(check)["ServiceTags"] == []
    assert render.client_check(check, "n")["ServiceTags"] is None
    assert render.local_check(check, "n")["Node"] == "n"


def test_an_intention_shows_times_only_with_an_id() -> None:
    source = IntentionSource(name=ServiceName("a"), action="allow", precedence=9)
    shown = render.intention(Intention(destination=ServiceName("b"), source=source))
    kept = "SourceNS SourceName DestinationNS DestinationName SourceType Action Precedence"
    assert set(shown) == {*kept.split(), "CreateIndex", "ModifyIndex"}
    legacy = IntentionSource(
        name=ServiceName("a"), action="allow", legacy_id="x", legacy_create_time="t"
    )
    shown = render.intention(Intention(destination=ServiceName("b"), source=legacy))
    assert shown["ID"] == "x" and shown["CreatedAt"] == "t" and shown["Hash"]


def test_roots_name_the_active_one() -> None:
    root = CARoot(id="r", name="", serial_number=7, signing_key_id="", external_trust_domain="",
                  not_before="", not_after="", root_cert="")  # fmt: skip
    shown = render.ca_roots(CARootsAnswer("t.consul", (root,)))
    assert shown["ActiveRootID"] == "r"
    assert shown["Roots"][0]["IntermediateCerts"] is None
    assert "RotatedOutAt" not in shown["Roots"][0]


def test_a_hash_changes_with_the_content_and_not_with_the_order() -> None:
    assert render.content_hash({"a": 1, "b": 2}) == render.content_hash({"b": 2, "a": 1})
    assert render.content_hash({"a": 1}) != render.content_hash({"a": 2})


@given(st.text())
def test_html_is_escaped_and_decoders_do_not_notice(text: str) -> None:
    body = json_bytes({"k": text})
    assert not set(b"<>&") & set(body)
    assert json.loads(body) == {"k": text}


@pytest.mark.parametrize(
    ("pretty", "text"),
    [(False, b'{"a":[1]}'), (True, b'{\n    "a": [\n        1\n    ]\n}\n')],
)
def test_pretty_is_four_spaces_and_a_newline(pretty: bool, text: bytes) -> None:
    assert json_bytes({"a": [1]}, pretty=pretty) == text
