"""Bodies of transactions into operations."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import RequestError
from agent.http.parse_txn import Bounds, Parsed, transaction
from raftstore import wire
from raftstore.commands import Transaction
from raftstore.records import TxnKV, TxnOperation, TxnSession, Weights

BOUNDS = Bounds(operations_max=64, value_bytes_max=100)
WRITES = {"set", "cas", "lock", "unlock", "delete", "delete-tree", "delete-cas"}
READS = {
    "get", "get-tree", "get-or-empty", "check-index", "check-session", "check-not-exists",
}  # fmt: skip


def parsed(*operations: Any) -> Parsed:
    return transaction(json.dumps(operations).encode(), BOUNDS, datacenter="dc1")


def refusal(body: bytes | list[Any]) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        transaction(
            body if isinstance(body, bytes) else json.dumps(body).encode(), BOUNDS, datacenter="dc1"
        )
    return caught.value.status, caught.value.text


def kv(**fields: Any) -> dict[str, Any]:
    return {"KV": fields}


def test_a_key_with_everything() -> None:
    found = parsed(
        kv(Verb="cas", Key="k", Value="djE=", Flags=2**64 - 1, Index=7, Session="s", Namespace="n")
    )
    expected = TxnKV(verb="cas", key="k", value=b"v1", flags=2**64 - 1, index=7, session="s")
    assert found == Parsed((TxnOperation(kv=expected),), read_only=False)


def test_nothing_is_an_operation_too_and_keeps_its_place() -> None:
    found = parsed({}, None, kv(Verb="get", Key="k"), {"KV": None})
    assert [operation.kv is None for operation in found.operations] == [True, True, False, True]
    assert found.read_only


@pytest.mark.parametrize("verb", sorted(WRITES | READS | {"nope", ""}))
def test_what_writes_to_a_key_goes_through_the_log(verb: str) -> None:
    found = parsed(kv(Verb="get", Key="a"), kv(Verb=verb, Key="k", Value="djE="))
    assert found.read_only is (verb not in WRITES)
    value = found.operations[1].kv.value  # type: ignore[union-attr]
    assert value == (b"v1" if verb in WRITES else b""), "a reader carries no value along"


@pytest.mark.parametrize("kind", ["Node", "Service", "Check", "Session"])
def test_of_other_things_only_get_is_a_read(kind: str) -> None:
    assert parsed({kind: {"Verb": "get"}}).read_only
    assert not parsed({kind: {"Verb": "nope"}}).read_only
    assert not parsed({kind: {"Verb": "delete"}}).read_only


def test_a_node_is_ours_and_its_id_is_lower_case() -> None:
    body = {"ID": "AB", "Node": "n", "Address": "a", "Meta": {"K": "v"}, "ModifyIndex": 4,
            "CreateIndex": 1, "PeerName": "", "TaggedAddresses": {"lan": "b"}}  # fmt: skip
    (operation,) = parsed({"Node": {"Verb": "cas", "Node": body}}).operations
    assert operation.node is not None
    node = operation.node.node
    assert (node.id, node.name, node.datacenter, node.modify_index) == ("ab", "n", "dc1", 4)
    assert (node.address, node.meta, node.tagged_addresses) == ("a", {"K": "v"}, {"lan": "b"})


def test_another_datacenter_is_out_of_reach() -> None:
    body = [{"Node": {"Verb": "get", "Node": {"Node": "n", "Datacenter": "dc2"}}}]
    assert refusal(body) == (500, "No path to datacenter")


def test_a_service_as_the_go_client_sends_it() -> None:
    body = {"Kind": "", "ID": "s1", "Service": "web", "Tags": None, "Meta": None, "Port": 80,
            "Address": "", "Weights": {"Passing": 0, "Warning": 0}, "EnableTagOverride": False,
            "ContentHash": "x", "Datacenter": "dc1", "ModifyIndex": 9}  # fmt: skip
    (operation,) = parsed({"Service": {"Verb": "set", "Node": "n", "Service": body}}).operations
    assert operation.service is not None
    found = operation.service.service
    assert (found.id, found.name, found.port, found.modify_index) == ("s1", "web", 80, 9)
    assert (found.weights, operation.service.node) == (Weights(1, 1), "n")


def test_a_service_to_remove_is_known_by_its_names_only() -> None:
    body = {"ID": "s1", "Service": "web", "Address": "0.0.0.0", "ModifyIndex": 3}
    found = parsed({"Service": {"Verb": "delete-cas", "Node": "n", "Service": body}})
    assert found.errors == ()
    assert found.operations[0].service is not None
    assert found.operations[0].service.service.modify_index == 3


def test_what_registering_refuses_is_told_by_operation() -> None:
    def put(**fields: Any) -> dict[str, Any]:
        return {"Service": {"Verb": "set", "Node": "n", "Service": {"Service": "web", **fields}}}

    found = parsed(put(), put(Address="0.0.0.0"), put(Kind="connect-proxy", Port=1), put(ID="i"))
    assert not found.read_only
    assert [error.index for error in found.errors] == [1, 2]
    assert found.errors[0].what == "Invalid service address"
    assert "Proxy.DestinationServiceName must be non-empty" in found.errors[1].what
    assert not parsed(put(Address="0.0.0.0")).read_only


def test_a_check_is_critical_unless_it_says_more() -> None:
    found = parsed(
        {"Check": {"Verb": "set", "Check": {"Node": "n", "CheckID": "c", "Status": "passing",
                                            "Definition": {"HTTP": "http://x"}}}},
        {"Check": {"Verb": "set", "Check": {"Node": "n", "Name": "c2"}}},
    )  # fmt: skip
    checks = [operation.check.check for operation in found.operations if operation.check]
    assert [(check.status, check.id, check.type) for check in checks] == [
        ("passing", "c", ""), ("critical", "", "")
    ]  # fmt: skip


def test_a_session_is_ended_by_its_id() -> None:
    found = parsed({"Session": {"Verb": "delete", "Session": {"ID": "x", "Node": "n"}}})
    assert found.operations == (TxnOperation(session=TxnSession("delete", "x")),)
    assert not found.read_only


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "EOF"),
        (b"{bad", "invalid character 'b' looking for beginning of object key string"),
        (b"[", "unexpected EOF"),
        (b"{}", "json: cannot unmarshal"),
        (b"[1]", "json: cannot unmarshal number into Go value of type TxnOp"),
        (b'[{"Foo":{}}]', 'json: unknown field "Foo"'),
        (b'[{"KV":{"Foo":1}}]', 'json: unknown field "Foo"'),
        (b'[{"KV":{"Value":"!!!"}}]', "illegal base64 data at input byte 0"),
        (b'[{"KV":{"Value":"eA=="}},{"KV":{"Value":"eA"}}]', "illegal base64 data at input byte 2"),
        (b'[{"KV":{"Value":1}}]', "cannot unmarshal number into Go struct field .Value"),
        (b'[{"KV":{"Index":-1}}]', "cannot unmarshal number -1 into Go struct field .Index"),
        (b'[{"KV":{"Flags":18446744073709551616}}]', "of type uint64"),
        (b'[{"KV":{"Flags":"1"}}]', "cannot unmarshal string into Go struct field .Flags"),
        (b'[{"KV":{"Flags":true}}]', "cannot unmarshal bool into Go struct field .Flags"),
        (b'[{"Service":{"Service":{"Port":"80"}}}]', "Go struct field .Port of type int"),
    ],
)  # fmt: skip
def test_what_is_no_transaction_is_refused(body: bytes, words: str) -> None:
    status, text = refusal(body)
    assert status == 400
    assert text.startswith("Failed to parse body: ")
    assert words in text


def test_too_many_operations_and_too_large_values_are_refused() -> None:
    assert not parsed(*[kv(Verb="get", Key="k")] * 64).errors
    many = [kv(Verb="get", Key="k")] * 65
    assert refusal(many) == (413, "Transaction contains too many operations (65 > 64)")
    fits = base64.b64encode(b"x" * 100).decode()
    assert parsed(kv(Verb="set", Key="k", Value=fits)).operations[0].kv is not None
    large = base64.b64encode(b"x" * 101).decode()
    assert refusal([kv(Verb="set", Key="k", Value=large)]) == (
        413, 'Value for key "k" is too large (101 > 100 bytes)'
    )  # fmt: skip


_any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["KV", "Node", "Service", "Check", "Session", "Verb", "ID", "Value"])
            | st.text(max_size=5),
            inner,
            max_size=3,
        )
    ),
    max_leaves=15,
)


@settings(max_examples=80, deadline=None)
@given(value=_any_json)
def test_any_body_is_a_transaction_or_refused(value: Any) -> None:
    body = json.dumps([value, value]).encode()
    try:
        found = transaction(body, BOUNDS, datacenter="dc1")
    except RequestError as error:
        answer: Any = (error.status in {400, 413, 500}, bool(error.text))
    else:
        answer = (len(found.operations) + len(found.errors) == 2, True)
    assert answer == (True, True)


_keys = st.fixed_dictionaries(
    {
        "Verb": st.sampled_from(sorted(WRITES | READS)),
        "Key": st.text(max_size=8),
        "Value": st.binary(max_size=100),
    },
    optional={
        "Flags": st.integers(0, 2**64 - 1),
        "Index": st.integers(0, 2**64 - 1),
        "Session": st.text(max_size=8),
    },
)


@settings(max_examples=80, deadline=None)
@given(wanted=st.lists(_keys, max_size=6), cut=st.integers(1, 76))
def test_what_was_given_arrives_and_can_be_sent_on(wanted: list[dict[str, Any]], cut: int) -> None:
    def encoded(value: bytes) -> str:
        text = base64.b64encode(value).decode()
        return "\r\n".join(text[at : at + cut] for at in range(0, len(text), cut))

    found = parsed(*[{"KV": {**each, "Value": encoded(each["Value"])}} for each in wanted])
    command = Transaction(found.operations)
    assert wire.decode_command(wire.encode_command(command)).command == command
    for each, operation in zip(wanted, found.operations, strict=True):
        assert operation.kv is not None
        kept = each["Value"] if each["Verb"] in WRITES else b""
        assert (operation.kv.verb, operation.kv.key, operation.kv.value) == (
            each["Verb"], each["Key"].encode("utf-8", "replace").decode(), kept
        )  # fmt: skip
        assert operation.kv.index == each.get("Index", 0)
    assert found.read_only is all(each["Verb"] not in WRITES for each in wanted)


@pytest.mark.parametrize(
    ("body", "kind"), [(b"{}", "object"), (b'"a"', "string"), (b"1", "number")]
)
def test_a_body_that_is_no_list(body: bytes, kind: str) -> None:
    status, text = refusal(body)
    assert status == 400 and f"cannot unmarshal {kind} into Go value of type" in text
