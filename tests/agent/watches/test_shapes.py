"""Handlers see the fields that Consul's Go client knows, as the recordings show them."""

from __future__ import annotations

from agent.watches import shapes


def test_unknown_fields_are_left_out_and_missing_ones_are_zero() -> None:
    assert shapes.KEYS([{"Key": "a", "New": 1}]) == [
        {
            "Key": "a", "CreateIndex": 0, "ModifyIndex": 0, "LockIndex": 0, "Flags": 0,
            "Value": None, "Session": "",
        }
    ]  # fmt: skip


def test_a_service_shows_its_structs_and_no_empty_options() -> None:
    answer = {
        "Node": {"Node": "n"},
        "Service": {
            "ID": "a",
            "Service": "a",
            "Kind": "",
            "TaggedAddresses": {},
            "Proxy": {"MeshGateway": {"Mode": ""}, "Expose": {}, "Upstreams": None},
            "Connect": {},
        },
        "Checks": None,
    }
    (entry,) = shapes.ENTRIES([answer])
    service = entry["Service"]
    assert service["Proxy"] == {"MeshGateway": {}, "Expose": {}}
    assert service["Connect"] == {}
    assert not {"Kind", "TaggedAddresses", "SocketPath", "CreateIndex"} & set(service)
    assert (service["Tags"], service["Weights"]) == (None, {"Passing": 0, "Warning": 0})
    assert entry["Checks"] is None


def test_json_is_escaped_as_go_does() -> None:
    assert shapes.encoded({"a": "<&>ä\u2028"}) == '{"a":"\\u003c\\u0026\\u003eä\\u2028"}'
    assert shapes.encoded([1], indent="    ") == "[\n    1\n]"
