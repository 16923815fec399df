"""`acl auth-method`: how foreign identities are proved."""

from __future__ import annotations

from typing import Any

from agent.cli import acl_forms as forms
from agent.cli.acl_calls import (
    DESCRIPTION,
    FORMAT,
    META,
    NO_MERGE,
    UsageError,
    data,
    doing,
    misused,
    part,
    put,
    read_or_none,
    show,
    told,
)
from agent.cli.acl_kinds import METHOD
from agent.cli.command import Call, Command
from agent.cli.flags import Flag, Kind
from agent.durations import format_ns, parse_ns
from agent.http.decode import DecodeFailure, load

_NAME = Flag("name", "Name of the method.")
_SHARED = (
    _NAME,
    Flag("display-name", "Name to show to people."),
    DESCRIPTION,
    Flag("max-token-ttl", "How long its tokens hold.", Kind.DURATION),
    Flag("token-locality", "Kind of its tokens: local or global."),
    Flag("config", "Configuration as JSON: text, @file, or - for standard input."),
    Flag("kubernetes-host", "Address of the Kubernetes API."),
    Flag("kubernetes-ca-cert", "Its authority: PEM text, @file, or - for standard input."),
    Flag("kubernetes-service-account-jwt", "Token to ask for reviews with."),
    FORMAT,
    META,
)
_KUBERNETES = {
    "kubernetes-host": "Host",
    "kubernetes-ca-cert": "CACert",
    "kubernetes-service-account-jwt": "ServiceAccountJWT",
}


def _config(call: Call) -> Any:
    """The configuration that -config gives, None without one. Raises UsageError."""
    text = call.flags.text("config")
    if not text:
        return None
    try:
        read = data(call, text)
    except UsageError as error:
        raise UsageError(f"Error loading configuration file: {error}") from None
    try:
        found = load(read.encode("utf-8", "surrogateescape"))
    except DecodeFailure as error:
        raise UsageError(f"Error parsing JSON configuration file: {error}") from None
    if not isinstance(found, dict):
        raise UsageError("Error parsing JSON configuration file: it is no JSON object")
    return found


def _kubernetes(call: Call) -> dict[str, str]:
    """What the flags of Kubernetes say. Raises UsageError."""
    found = {}
    for flag, name in _KUBERNETES.items():
        text = call.flags.text(flag)
        if text:
            try:
                found[name] = data(call, text) if name == "CACert" else text
            except UsageError as error:
                raise UsageError(f"Error loading '-{flag}' value: {error}") from None
    return found


def _some(call: Call) -> dict[str, Any]:
    """What is given beside the configuration."""
    flags = call.flags
    given: dict[str, Any] = {
        "DisplayName": flags.text("display-name"),
        "Description": flags.text("description"),
        "TokenLocality": flags.text("token-locality"),
    }
    if flags.was_given("max-token-ttl") and parse_ns(flags.text("max-token-ttl")):
        given["MaxTokenTTL"] = format_ns(parse_ns(flags.text("max-token-ttl")))
    return {name: value for name, value in given.items() if value}


@told
def _create(call: Call) -> int:
    flags, command = call.flags, COMMANDS["acl", "auth-method", "create"]
    for name in ("type", "name"):
        if not flags.text(name):
            return misused(call, f"Missing required '-{name}' flag", command)
    config, cluster = _config(call), _kubernetes(call)
    if flags.text("type") == "kubernetes" and config is None:
        missing = next((f for f, name in _KUBERNETES.items() if name not in cluster), "")
        if missing:
            return misused(call, f"Missing required '-{missing}' flag", command)
        config = cluster
    method = {"Name": flags.text("name"), "Type": flags.text("type"), **_some(call)}
    if config is not None:
        method["Config"] = config
    client = call.client()
    with doing("Failed to create new auth method"):
        found = put(client, "/v1/acl/auth-method", method)
    return show(call, found, forms.method)


@told
def _read(call: Call) -> int:
    if not METHOD.given(call):
        return call.fail(METHOD.missing)
    client = call.client()
    name = METHOD.wanted(call, client)
    with doing(f'Error reading auth method "{name}"'):
        found = read_or_none(client, f"/v1/acl/auth-method/{part(name)}")
    if found is None:
        return call.fail(f'Auth method not found with name "{name}"')
    return show(call, found, forms.method)


@told
def _update(call: Call) -> int:
    if not METHOD.given(call):
        return call.fail("Cannot update an auth method without specifying the -name parameter")
    client = call.client()
    name = METHOD.wanted(call, client)
    path = f"/v1/acl/auth-method/{part(name)}"
    with doing("Error when retrieving current auth method"):
        held = read_or_none(client, path)
    if held is None:
        return call.fail(f'Auth method not found with name "{name}"')
    config, cluster = _config(call), _kubernetes(call)
    method = {"Name": name, "Type": held["Type"]} if call.flags["no-merge"] else held
    method = method | _some(call)
    if config is not None:
        method["Config"] = config
    if held["Type"] == "kubernetes" and cluster:
        method["Config"] = (method.get("Config") or {}) | cluster
    with doing(f'Error updating auth method "{name}"'):
        found = put(client, path, method)
    return show(call, found, forms.method)


COMMANDS: dict[tuple[str, ...], Command] = {
    ("acl", "auth-method", "create"): Command(
        usage="acl auth-method create -type TYPE -name NAME [options]",
        help="Makes an auth method. TYPE is jwt, kubernetes or oidc.",
        run=_create,
        server=True,
        namespace=True,
        flags=(Flag("type", "Type of the method: jwt, kubernetes or oidc."), *_SHARED),
    ),
    ("acl", "auth-method", "read"): Command(
        usage="acl auth-method read -name NAME [options]",
        help="Shows an auth method.",
        run=_read,
        server=True,
        namespace=True,
        flags=(_NAME, FORMAT, META),
    ),
    ("acl", "auth-method", "update"): Command(
        usage="acl auth-method update -name NAME [options]",
        help="Changes an auth method. What is not given stays as it is, unless -no-merge is.",
        run=_update,
        server=True,
        namespace=True,
        flags=(*_SHARED, NO_MERGE),
    ),
    ("acl", "auth-method", "delete"): Command(
        usage="acl auth-method delete -name NAME",
        help="Deletes an auth method with its binding rules and the tokens that it gave out.",
        run=METHOD.delete,
        server=True,
        namespace=True,
        flags=(_NAME,),
    ),
    ("acl", "auth-method", "list"): Command(
        usage="acl auth-method list [options]",
        help="Lists the auth methods.",
        run=METHOD.list_all,
        server=True,
        namespace=True,
        flags=(FORMAT, META),
    ),
}
