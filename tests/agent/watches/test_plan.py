"""Which parameters make a watch, and the texts for those that do not."""

from __future__ import annotations

from typing import Any

import pytest

from agent.watches.plan import (
    KINDS,
    HttpHandler,
    ScriptHandler,
    WatchError,
    parse_plan,
    parse_watch,
)

ASKED = {
    "key": ({"key": "/a/b"}, "/v1/kv/a/b", ()),
    "keyprefix": ({"prefix": "a/"}, "/v1/kv/a/", (("recurse", ""),)),
    "services": ({"filter": "x"}, "/v1/catalog/services", (("filter", "x"),)),
    "nodes": ({}, "/v1/catalog/nodes", ()),
    "service": (
        {"service": "web", "tag": ["a", "b"], "passingonly": True},
        "/v1/health/service/web",
        (("tag", "a"), ("tag", "b"), ("passing", "1")),
    ),
    "checks": ({"service": "web"}, "/v1/health/checks/web", ()),
    "event": ({"name": "deploy"}, "/v1/event/list", (("name", "deploy"),)),
    "connect_roots": ({}, "/v1/agent/connect/ca/roots", ()),
    "connect_leaf": ({"service": "web"}, "/v1/agent/connect/ca/leaf/web", ()),
    "agent_service": ({"service_id": "web-1"}, "/v1/agent/service/web-1", ()),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_type_asks_for_what_it_means(kind: str) -> None:
    given, path, query = ASKED[kind]
    plan = parse_plan({"type": kind, "datacenter": "dc2", "token": "t", **given})
    assert (plan.kind, plan.path, plan.query) == (kind, path, query)
    assert (plan.datacenter, plan.token) == ("dc2", "t")


def test_checks_without_service_are_those_of_a_state() -> None:
    assert parse_plan({"type": "checks"}).path == "/v1/health/state/any"
    assert parse_plan({"type": "checks", "state": "warning"}).path == "/v1/health/state/warning"


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "Watch type must be defined"),
        ({"type": 3}, "Expecting type to be a string"),
        ({"type": "bad"}, "Unsupported watch type: bad"),
        ({"type": "key"}, "Must specify a single key to watch"),
        ({"type": "keyprefix"}, "Must specify a single prefix to watch"),
        ({"type": "service"}, "Must specify a single service to watch"),
        ({"type": "agent_service"}, "Must specify a single service ID to watch"),
        ({"type": "checks", "service": "a", "state": "b"}, "Cannot specify service and state"),
        ({"type": "nodes", "stale": "yes"}, "Expecting stale to be a boolean"),
        ({"type": "service", "service": "a", "tag": 1}, "Expecting tag to be a string or list"),
        ({"type": "nodes", "key": "a", "b": 1}, "Invalid parameters: [b key]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_plan_is_told(given: dict[str, Any], text: str) -> None:
    with pytest.raises(WatchError) as caught:
        parse_plan(given)
    assert str(caught.value).startswith(text)


def test_a_script_is_named_by_its_words_or_by_a_line() -> None:
    by_words = parse_watch({"type": "nodes", "args": ["/bin/a", "b"]})
    assert by_words.handler == ScriptHandler(args=("/bin/a", "b"))
    by_line = parse_watch({"type": "nodes", "handler": "a | b"})
    assert by_line.handler == ScriptHandler(args=("/bin/sh", "-c", "a | b"))
    assert (by_words.deprecated, by_line.deprecated) == (False, True)


def test_an_http_handler_has_its_defaults() -> None:
    config: dict[str, Any] = {"path": "http://127.0.0.1/x"}
    watch = {"type": "nodes", "handler_type": "http", "http_handler_config": config}
    assert parse_watch(watch).handler == HttpHandler(path="http://127.0.0.1/x")
    config |= {
        "method": "put",
        "timeout": "500ms",
        "header": {"x-a": ["1", "2"]},
        "tls_skip_verify": True,
    }
    assert parse_watch(watch).handler == HttpHandler(
        path="http://127.0.0.1/x",
        method="PUT",
        timeout_s=0.5,
        header={"x-a": ("1", "2")},
        tls_skip_verify=True,
    )


HTTP = {"type": "nodes", "handler_type": "http"}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"type": "connect_roots", "args": ["a"]}, "Watch type connect_roots is not allowed"),
        ({"type": "nodes"}, "Must define a watch handler"),
        ({"type": "nodes", "args": []}, "Must define a watch handler"),
        ({"type": "nodes", "handler": ["a"]}, "Watch handler must be a string"),
        ({"type": "nodes", "args": "a"}, "Watch args must be a list of strings"),
        ({"type": "nodes", "args": ["a"], "handler": "b"}, "Only one watch handler allowed"),
        ({**HTTP, "args": ["a"]}, "Only one watch handler allowed"),
        ({"type": "nodes", "handler_type": "x"}, "Handler type 'x' not recognized"),
        (HTTP, "Handler type 'http' requires 'http_handler_config' to be set"),
        ({**HTTP, "http_handler_config": {}}, "Requires 'path' to be set"),
        ({**HTTP, "http_handler_config": {"path": "ftp://x"}}, "unsupported protocol scheme"),
        (
            {**HTTP, "http_handler_config": {"path": "http://x", "timeout": "1"}},
            "Failed to parse timeout",
        ),
        ({**HTTP, "http_handler_config": {"path": "http://x", "a": 1}}, "Invalid parameters: [a]"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_makes_no_watch_of_a_file_is_told(given: dict[str, Any], text: str) -> None:
    with pytest.raises(WatchError, match="atch") as caught:
        parse_watch({**given, "token": "secret"})
    assert text in str(caught.value)
    assert "secret" not in str(caught.value)
