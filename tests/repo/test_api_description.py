"""Whatever the HTTP API takes is in its description: agent/http/openapi_tables.py."""

from __future__ import annotations

import re
from typing import Any

import pytest

from agent.http import openapi_tables as tables
from agent.http.openapi import key_of
from agent.http.routes import ROUTES, Body
from tests.repo.sources import ROOT

SOURCES = sorted((ROOT / "agent" / "http").glob("*.py"))
#: Parameters that are read and described by no endpoint: Consul's clients may send them.
ENTERPRISE = {"ns", "partition"}
LOOKED_AT = re.compile(
    r"""params\.(?:get|flag|all)\("([\w-]+)"|"([\w-]+)" (?:not )?in (?:\w+\.)?params\b"""
    r"""|_required\(call, "([\w-]+)"|_service\(call, "([\w-]+)"|_pattern\(call, "([\w-]+)\""""
)
KEYS = {key_of(route, endpoint) for route in ROUTES for endpoint in route.endpoints}


def test_every_parameter_that_a_handler_looks_at_is_described() -> None:
    found = {
        name
        for source in SOURCES
        for match in LOOKED_AT.findall(source.read_text())
        for name in match
        if name
    }
    missing = sorted(found - ENTERPRISE - tables.PARAMETERS.keys())
    assert not missing, f"describe these in agent/http/openapi_tables.py: {missing}"
    used = " ".join([*tables.OF_CLASS.values(), *tables.OF_ENDPOINT.values()]).split()
    assert set(used) == tables.PARAMETERS.keys()


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.name)
def test_every_json_body_is_described(route: Any) -> None:
    for endpoint in route.endpoints:
        if endpoint.body in {Body.JSON, Body.TXN}:
            key = key_of(route, endpoint)
            assert key in tables.BODIES, f"openapi_tables.py: add the body of {key} to BODIES"


def test_the_tables_name_no_endpoint_that_is_not_there() -> None:
    for table in (tables.OF_ENDPOINT, tables.BODIES, tables.LISTS, tables.TEXT):
        assert set(table) <= KEYS, set(table) - KEYS
