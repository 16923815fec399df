"""Bodies of `/v1/acl/` as fields by our names (http-api contract 19)."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from agent.errors import RequestError
from agent.http.decode import (
    DecodeFailure,
    Fields,
    Shape,
    any_object,
    boolean,
    duration_s,
    ignored,
    load,
    objects,
    string,
    strings,
)
from raftstore.records import Json


def _lower_names(name: str, value: Json) -> dict[str, str]:
    """Variables of a template; their names are compared without case."""
    return {key.lower(): string(key, item) for key, item in any_object(name, value).items()}


def _time(name: str, value: Json) -> float:
    """A time as Unix seconds."""
    text = string(name, value)
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        when = None
    if when is None or when.tzinfo is None:
        raise DecodeFailure(f'parsing time "{text}" as "2006-01-02T15:04:05Z07:00": cannot parse')
    return when.timestamp()


_LINK = Shape("ACLLink", {"ID": ("id", string), "Name": ("name", string)})
_SERVICE = Shape(
    "ACLServiceIdentity", {"ServiceName": ("name", string), "Datacenters": ("datacenters", strings)}
)
_NODE = Shape(
    "ACLNodeIdentity", {"NodeName": ("name", string), "Datacenter": ("datacenter", string)}
)
_TEMPLATED = Shape(
    "ACLTemplatedPolicy",
    {
        "TemplateID": ("id", ignored),
        "TemplateName": ("name", string),
        "TemplateVariables": ("variables", _lower_names),
        "Datacenters": ("datacenters", strings),
    },
)
#: What every object has and no request sets.
_SHOWN: Fields = {
    "Hash": ("hash", ignored),
    "CreateIndex": ("create_index", ignored),
    "ModifyIndex": ("modify_index", ignored),
    "Namespace": ("namespace", ignored),
    "Partition": ("partition", ignored),
}
_LINKED: Fields = {
    "Policies": ("policies", objects(_LINK.read)),
    "ServiceIdentities": ("service_identities", objects(_SERVICE.read)),
    "NodeIdentities": ("node_identities", objects(_NODE.read)),
    "TemplatedPolicies": ("templated_policies", objects(_TEMPLATED.read)),
}
TOKEN = Shape(
    "ACLToken",
    {
        "AccessorID": ("accessor", string),
        "SecretID": ("secret", string),
        "Description": ("description", string),
        "Roles": ("roles", objects(_LINK.read)),
        **_LINKED,
        "Local": ("local", boolean),
        "AuthMethod": ("auth_method", string),
        "AuthMethodNamespace": ("auth_method_namespace", ignored),
        "ExpirationTime": ("expires_at", _time),
        "ExpirationTTL": ("ttl_s", duration_s),
        "CreateTime": ("create_time", ignored),
        "Rules": ("rules", ignored),
        "Type": ("type", ignored),
        **_SHOWN,
    },
)
POLICY = Shape(
    "ACLPolicy",
    {
        "ID": ("id", string),
        "Name": ("name", string),
        "Description": ("description", string),
        "Rules": ("rules", string),
        "Datacenters": ("datacenters", strings),
        **_SHOWN,
    },
)
ROLE = Shape(
    "ACLRole",
    {
        "ID": ("id", string),
        "Name": ("name", string),
        "Description": ("description", string),
        **_LINKED,
        **_SHOWN,
    },
)
BOOTSTRAP = Shape("ACLInitialTokenBootstrapRequest", {"BootstrapSecret": ("secret", string)})
AUTHORIZATION = Shape(
    "ACLAuthorizationRequest",
    {
        "Resource": ("resource", string),
        "Access": ("access", string),
        "Segment": ("segment", string),
        "Namespace": ("namespace", ignored),
        "Partition": ("partition", ignored),
        "Peer": ("peer", ignored),
    },
)
_REQUESTS = objects(AUTHORIZATION.read)


def _read(shape: Shape, body: bytes, what: str) -> dict[str, Any]:
    try:
        return shape.read("", load(body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: {what}: {error}") from None


def token(body: bytes) -> dict[str, Any]:
    """A token. Raises RequestError."""
    return _read(TOKEN, body, "Token decoding failed")


def policy(body: bytes) -> dict[str, Any]:
    """A policy. Raises RequestError."""
    return _read(POLICY, body, "Policy decoding failed")


def role(body: bytes) -> dict[str, Any]:
    """A role. Raises RequestError."""
    return _read(ROLE, body, "Role decoding failed")


def bootstrap(body: bytes) -> str:
    """The secret that the first token is to have, "" for any. Raises RequestError."""
    if not body.strip():
        return ""
    secret = _read(BOOTSTRAP, body, "Request decoding failed").get("secret", "")
    return str(secret)


def variable(body: bytes) -> str:
    """The name for a template's preview. Raises RequestError."""
    if not body.strip():
        return ""
    try:
        return _lower_names("", load(body)).get("name", "")
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Failed to decode request body: {error}") from None


def authorizations(body: bytes) -> tuple[dict[str, Any], ...]:
    """What a caller wants to know of its permissions. Raises RequestError."""
    try:
        found: tuple[dict[str, Any], ...] = _REQUESTS("", load(body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: Failed to decode request body: {error}") from None
    return found
