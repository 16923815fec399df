"""What is written to disk is read back, and nothing else is believed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.definitions import CheckDefinition
from agent.local.services import LocalCheck, LocalService
from agent.local.stored import (
    KeptState,
    StoredError,
    check_json,
    read_check,
    read_service,
    read_state,
    service_json,
    state_json,
)
from raftstore.records import Check, CheckId, ServiceId
from tests.agent.local.parts import HOST, own_service_ids, proxies, service_records, words
from tests.strategies import scaled

seconds = st.integers(0, 10**6).map(lambda ms: ms / 1000)
definitions = st.builds(
    CheckDefinition,
    interval_s=seconds,
    timeout_s=seconds,
    ttl_s=seconds,
    http=words,
    header=st.none() | st.just({"X-A": ("b", "c")}),
    args=st.lists(words, max_size=2).map(tuple),
    tls_skip_verify=st.booleans(),
    failures_before_critical=st.integers(0, 5),
    output_max_size=st.integers(0, 10),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
)
#: Nearly right: the keys the readers look for, with anything behind them.
keys = st.sampled_from(
    ["Service", "ID", "Check", "CheckID", "ChkType", "Tags", "Meta", "Proxy", "TTL", "Status"]
)
near_misses = st.dictionaries(keys, json_values | st.dictionaries(keys, json_values))


@given(service_records(own_service_ids), proxies, words, st.booleans())
def test_a_service_survives_the_disk(record, proxy, token, sidecar) -> None:
    record = replace(record, proxy=proxy, meta=dict(record.meta or {}))
    service = LocalService(record=record, token=token, sidecar=sidecar)
    assert read_service(json.loads(json.dumps(service_json(service))), HOST) == service


@given(definitions, words)
def test_a_check_survives_the_disk_but_for_its_status(definition, token) -> None:
    definition = replace(
        definition, id=CheckId("c"), name="n", service_id=ServiceId("web"), token=token
    )
    record = Check(node=HOST, id=CheckId("c"), name="n", service_id=ServiceId("web"), type="http")
    check = LocalCheck(
        record=replace(record, status="passing", output="o"), definition=definition, token=token
    )
    back = read_check(json.loads(json.dumps(check_json(check))), HOST)
    assert back == LocalCheck(record=record, definition=definition, token=token)


@given(st.sampled_from(["passing", "warning", "critical"]), st.text(), st.integers(0, 2**40))
def test_the_state_of_a_ttl_check_survives_the_disk(status, output, expires) -> None:
    state = KeptState(
        check_id=CheckId("c"), status=status, output=output, expires_at=float(expires)
    )
    assert read_state(json.loads(json.dumps(state_json(state)))) == state


@settings(max_examples=scaled(50))
@given(json_values | near_misses)
def test_anything_else_is_an_error_of_one_kind(data) -> None:
    for read in (lambda d: read_service(d, HOST), lambda d: read_check(d, HOST), read_state):
        try:
            read(data)
        except StoredError:
            continue


def test_the_references_own_file_is_understood() -> None:
    data = {
        "Token": "",
        "Service": {
            "Kind": "",
            "ID": "redis1",
            "Service": "redis",
            "Tags": None,
            "Address": "",
            "Meta": None,
            "Port": 6379,
            "Weights": {"Passing": 1, "Warning": 1},
            "EnableTagOverride": False,
            "Proxy": {"MeshGateway": {}, "Expose": {}},
            "Connect": {},
            "RaftIndex": {"CreateIndex": 0},
        },
        "Source": "remote",
    }
    service = read_service(data, HOST).record
    assert (service.id, service.name, service.port, service.tags) == ("redis1", "redis", 6379, ())
    with pytest.raises(StoredError, match="ID is missing"):
        read_service({"Service": {"Service": "redis"}}, HOST)
