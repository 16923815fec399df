"""Several ports of a service: what is allowed, and how they come and go through the API."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.http import parse
from agent.local.expand import service_record
from agent.local.services import LocalService
from agent.local.stored import read_service, service_json
from agent.local.validate import validate_service
from agent.named_ports import PORTS_MAX, completed, problem
from raftstore.places import Locality, ServicePort
from raftstore.records import NodeName
from tests.agent.http.rig import Client, Rig, make_config

PORTS = st.lists(
    st.builds(ServicePort, st.sampled_from(["http", "admin", "x", ""]), st.integers(-1, 3),
              st.booleans()),
    max_size=4,
).map(tuple)  # fmt: skip


@given(st.integers(0, 3), PORTS)
def test_what_is_allowed_has_one_default_that_is_the_services_port(
    port: int, ports: tuple[ServicePort, ...]
) -> None:
    if problem(port, ports):
        return
    made_port, made = completed(port, ports)
    assert [(each.name, each.port) for each in made] == [(each.name, each.port) for each in ports]
    assert completed(made_port, made) == (made_port, made)
    if ports:
        (default,) = [each for each in made if each.default]
        assert made_port == (port or default.port)


@pytest.mark.parametrize(
    ("port", "ports", "words"),
    [
        (0, [("", 1, False)], '"" is no name of a port'),
        (0, [("a b", 1, False)], '"a b" is no name of a port'),
        (0, [("a", 0, False)], 'port "a" must be between 1 and 65535'),
        (0, [("a", 1, False), ("a", 2, False)], "two have the same name"),
        (0, [("a", 1, False), ("b", 1, False)], "two have the same number"),
        (0, [("a", 1, True), ("b", 2, True)], "more than one is the default"),
        (2, [("a", 1, True), ("b", 2, False)], "Port is another one than the default"),
        (0, [(f"p{n}", n + 1, False) for n in range(PORTS_MAX + 1)], "there are more than 64"),
        (2, [("a", 1, False), ("b", 2, False)], ""),
    ],
    ids=["no name", "bad name", "number", "names", "numbers", "defaults", "other", "many", "good"],
)
def test_what_cannot_be_is_said(port: int, ports: list[Any], words: str) -> None:
    assert problem(port, tuple(ServicePort(*each) for each in ports)) == words


SERVICE = {
    "Ports": [{"Name": "http", "Port": 8080}, {"Name": "admin", "Port": 9090}],
    "Locality": {"Region": "eu", "Zone": "a"},
}
SHOWN = [
    {"Name": "http", "Port": 8080, "Default": True},
    {"Name": "admin", "Port": 9090, "Default": False},
]


async def test_ports_and_places_are_shown_in_each_form() -> None:
    rig = await Rig(make_config()).start()
    try:
        async with Client(rig.port) as client:
            body = {
                "Node": "a",
                "Address": "10.0.0.1",
                "Locality": {"Region": "eu"},
                "Service": {"Service": "web"} | SERVICE,
            }
            got = await client.put("/v1/catalog/register", body)
            assert got.json is True, got.text
            (entry,) = (await client.get("/v1/health/service/web")).json
            service = entry["Service"]
            assert (service["Port"], service["Ports"]) == (8080, SHOWN)
            assert (service["Locality"], entry["Node"]["Locality"]) == (
                {"Region": "eu", "Zone": "a"},
                {"Region": "eu", "Zone": ""},
            )
            path = '/v1/catalog/service/web?filter=ServicePorts.Name=="admin"'
            (flat,) = (await client.get(path)).json
            assert (flat["ServicePort"], flat["ServicePorts"]) == (8080, SHOWN)
            assert flat["ServiceLocality"]["Zone"] == "a"
            body["Service"] = {"Service": "web", "Ports": [{"Name": "x", "Port": 70000}]}
            refused = await client.put("/v1/catalog/register", body)
            assert (refused.status, refused.text) == (
                500,
                'Invalid service ports: port "x" must be between 1 and 65535',
            )
            plain = {"Node": "b", "Address": "a", "Service": {"Service": "db", "Port": 1}}
            await client.put("/v1/catalog/register", plain)
            (entry,) = (await client.get("/v1/health/service/db")).json
            assert not {"Ports", "Locality"} & (entry["Service"].keys() | entry["Node"].keys())
    finally:
        await rig.stop()


def test_an_agents_service_keeps_its_ports_in_its_file() -> None:
    definition = parse.service_definition(
        b'{"name":"web","ports":[{"name":"http","port":80},{"name":"m","port":81,"default":true}],'
        b'"locality":{"region":"eu"}}'
    )
    validate_service(definition)
    record = service_record(definition, NodeName("n1"))
    assert (record.port, [each.default for each in record.ports]) == (81, [False, True])
    assert record.locality == Locality("eu")
    kept = read_service(service_json(LocalService(record=record)), NodeName("n1"))
    assert kept.record == record
