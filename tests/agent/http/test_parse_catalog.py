"""Bodies of catalog writes into commands."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agent.errors import RequestError
from agent.http import parse_catalog
from raftstore.records import Weights

UUID = "9f2c6f6a-2222-4a4a-8b8b-000000000002"


def register(**fields: Any) -> Any:
    return parse_catalog.register(json.dumps(fields).encode(), datacenter="dc1")[0]


def refusal(**fields: Any) -> tuple[int, str]:
    with pytest.raises(RequestError) as caught:
        register(**fields)
    return caught.value.status, caught.value.text


def test_a_bare_node() -> None:
    command = register(Node="n", Address="10.0.0.1")
    assert command.node.name == "n" and command.node.datacenter == "dc1"
    assert command.node.meta is None and command.node.tagged_addresses is None
    assert command.service is None and command.checks == ()


def test_a_service_is_named_after_itself_without_an_id() -> None:
    service = register(Node="n", Address="a", Service={"Service": "web"}).service
    assert (service.id, service.name, service.weights) == ("web", "web", Weights(1, 1))
    assert service.meta is None


def test_a_check_takes_its_id_from_its_name_and_is_critical() -> None:
    check = register(Node="n", Address="a", Checks=[{"Name": "c"}]).checks[0]
    assert (check.id, check.name, check.status, check.node) == ("c", "c", "critical", "n")
    assert check.definition == {} and check.type == ""


def test_check_and_checks_are_one_list() -> None:
    command = register(Node="n", Address="a", Check={"Name": "a"}, Checks=[{"Name": "b"}])
    assert [check.id for check in command.checks] == ["a", "b"]


def test_a_definition_is_kept_as_it_is_shown() -> None:
    check = register(
        Node="n",
        Address="a",
        Check={
            "Name": "c",
            "Definition": {
                "TCP": "10.0.2.1:80",
                "Interval": "5s",
                "Timeout": 1_000_000_000,
                "DeregisterCriticalServiceAfter": "30s",
                "HTTP": "",
            },
        },
    ).checks[0]
    assert check.type == "tcp"
    assert check.definition == {
        "TCP": "10.0.2.1:80",
        "Interval": "5s",
        "Timeout": "1s",
        "DeregisterCriticalServiceAfter": "30s",
    }


def test_what_go_clients_send_with_every_check_is_known() -> None:
    """Consul's client writes all of a definition, also what nobody set."""
    unset = {
        "HTTP": "", "Header": None, "Method": "", "Body": "", "TLSServerName": "",
        "TLSSkipVerify": False, "TCP": "", "TCPUseTLS": False, "UDP": "", "GRPC": "",
        "OSService": "", "GRPCUseTLS": False, "Interval": "0s", "Timeout": "0s",
        "DeregisterCriticalServiceAfter": "0s",
    }  # fmt: skip
    check = {"Name": "c", "Definition": unset, "Partition": "", "PeerName": ""}
    assert register(Node="n", Address="a", Check=check).checks[0].definition == {}
    check["Definition"] = unset | {"TCP": "10.0.0.1:1", "TCPUseTLS": True}
    found = register(Node="n", Address="a", Check=check).checks[0].definition
    assert found == {"TCP": "10.0.0.1:1", "TCPUseTLS": True}


@pytest.mark.parametrize(
    ("given", "kept"),
    [((0, 0), (1, 1)), ((5, 0), (5, 0)), ((-1, 2), (1, 1)), ((70000, 1), (1, 1))],
)
def test_weights_that_cannot_be_count_as_none(
    given: tuple[int, int], kept: tuple[int, int]
) -> None:
    weights = {"Passing": given[0], "Warning": given[1]}
    service = register(Node="n", Address="a", Service={"Service": "x", "Weights": weights}).service
    assert service is not None
    assert (service.weights.passing, service.weights.warning) == kept


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({}, "Must provide node"),
        ({"Node": "n"}, "Must provide address if SkipNodeUpdate is not set"),
        ({"Node": "n", "Address": "a", "ID": "x"}, "Bad node ID: uuid string is wrong length"),
        (
            {"Node": "n", "Address": "a", "ID": "z" * 36},
            "Bad node ID: uuid is improperly formatted",
        ),
        (
            {"Node": "n", "Address": "a", "Service": {"ID": "x"}},
            "Must provide service name with ID",
        ),
        (
            {"Node": "n", "Address": "a", "Service": {"Service": "x", "Address": "0.0.0.0"}},
            "Invalid service address",
        ),
        (
            {"Node": "n", "Address": "a", "Check": {"Node": "other", "Name": "c"}},
            'check node "other" does not match node "n"',
        ),
        (
            {"Node": "n", "Address": "a", "Service": {"Service": "x", "Kind": "connect-proxy"}},
            "2 errors occurred:\n\t* Proxy.DestinationServiceName must be non-empty for Connect "
            "proxy services\n\t* Port or SocketPath must be set for a Connect proxy\n\n",
        ),
        (
            {
                "Node": "n",
                "Address": "a",
                "Service": {"Service": "x", "TaggedAddresses": {"lan_ipv4": {"Address": "::1"}}},
            },
            'Service tagged address "lan_ipv4" must be a valid ipv4 address',
        ),
    ],
)
def test_what_no_state_could_take_is_500(fields: dict[str, Any], text: str) -> None:
    assert refusal(**fields) == (500, text)


def test_the_address_may_be_missing_when_the_node_stays() -> None:
    assert register(Node="n", SkipNodeUpdate=True).skip_node_update


def test_node_ids_are_lower_case() -> None:
    assert register(Node="n", Address="a", ID=UUID.upper()).node.id == UUID


def test_a_wrong_type_is_a_400() -> None:
    assert refusal(Node="n", Address="a", Service={"Service": "x", "Port": "80"})[0] == 400
    assert refusal(Node="n", Bogus=1) == (
        400,
        'Request decode failed: json: unknown field "Bogus"',
    )


def test_deregistration_names_what_goes() -> None:
    body = json.dumps({"Node": "n", "ServiceID": "s", "CheckID": "c", "Datacenter": "dc2"}).encode()
    command, datacenter = parse_catalog.deregister(body)
    assert (command.node, command.service_id, command.check_id) == ("n", "s", "c")
    assert datacenter == "dc2"
    with pytest.raises(RequestError, match="Must provide node"):
        parse_catalog.deregister(b"{}")
