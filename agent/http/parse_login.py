"""Bodies of logins, auth methods and binding rules, by our names (http-api contract 19)."""

from __future__ import annotations

from typing import Any

from agent.errors import RequestError
from agent.http.decode import (
    DecodeFailure,
    Fields,
    Shape,
    any_object,
    duration_s,
    ignored,
    load,
    string,
    string_map,
)

#: Metadata of a login: as of services.
META_PAIRS_MAX, META_KEY_MAX, META_VALUE_MAX = 64, 128, 512


#: What every object has and no request sets.
_SHOWN: Fields = {
    "CreateIndex": ("create_index", ignored),
    "ModifyIndex": ("modify_index", ignored),
    "Namespace": ("namespace", ignored),
    "NamespaceRules": ("namespace_rules", ignored),
    "Partition": ("partition", ignored),
}
METHOD = Shape(
    "ACLAuthMethod",
    {
        "Name": ("name", string),
        "Type": ("type", string),
        "DisplayName": ("display_name", string),
        "Description": ("description", string),
        "MaxTokenTTL": ("max_token_ttl_s", duration_s),
        "TokenLocality": ("token_locality", string),
        "Config": ("config", any_object),
        **_SHOWN,
    },
)
RULE = Shape(
    "ACLBindingRule",
    {
        "ID": ("id", string),
        "Description": ("description", string),
        "AuthMethod": ("auth_method", string),
        "Selector": ("selector", string),
        "BindType": ("bind_type", string),
        "BindName": ("bind_name", string),
        "BindVars": ("bind_vars", string_map),
        **_SHOWN,
    },
)
LOGIN = Shape(
    "ACLLoginParams",
    {
        "AuthMethod": ("method", string),
        "BearerToken": ("bearer", string),
        "Meta": ("meta", string_map),
        "Namespace": ("namespace", ignored),
        "Partition": ("partition", ignored),
    },
)


AUTH_URL = Shape(
    "ACLOIDCAuthURLParams",
    {
        "AuthMethod": ("method", string),
        "RedirectURI": ("redirect", string),
        "ClientNonce": ("client_nonce", string),
        "Meta": ("meta", string_map),
        "Namespace": ("namespace", ignored),
        "Partition": ("partition", ignored),
    },
)
CALLBACK = Shape(
    "ACLOIDCCallbackParams",
    {
        "AuthMethod": ("method", string),
        "State": ("state", string),
        "Code": ("code", string),
        "ClientNonce": ("client_nonce", string),
        "Namespace": ("namespace", ignored),
        "Partition": ("partition", ignored),
    },
)


def _read(shape: Shape, body: bytes, what: str) -> dict[str, Any]:
    try:
        return shape.read("", load(body))
    except DecodeFailure as error:
        raise RequestError(400, f"Bad request: {what}: {error}") from None


def method(body: bytes) -> dict[str, Any]:
    """An auth method. Raises RequestError."""
    return _read(METHOD, body, "AuthMethod decoding failed")


def rule(body: bytes) -> dict[str, Any]:
    """A binding rule. Raises RequestError."""
    return _read(RULE, body, "BindingRule decoding failed")


def login(body: bytes) -> dict[str, Any]:
    """A login. Raises RequestError."""
    return _with_meta(_read(LOGIN, body, "Failed to decode request body"))


def auth_url(body: bytes) -> dict[str, Any]:
    """The beginning of a browser's login. Raises RequestError."""
    return _with_meta(_wanted(AUTH_URL, body, AuthMethod="method", RedirectURI="redirect"))


def callback(body: bytes) -> dict[str, Any]:
    """Its end. Raises RequestError."""
    return _wanted(CALLBACK, body, AuthMethod="method", State="state", Code="code")


def _wanted(shape: Shape, body: bytes, **names: str) -> dict[str, Any]:
    given = _read(shape, body, "Failed to decode request body")
    for name, ours in names.items():
        if not given.get(ours):
            raise RequestError(400, f"Bad request: {name} is required")
    given.pop("namespace", None)
    given.pop("partition", None)
    return given


def _with_meta(given: dict[str, Any]) -> dict[str, Any]:
    meta = given.get("meta", {})
    too_long = any(len(k) > META_KEY_MAX or len(v) > META_VALUE_MAX for k, v in meta.items())
    if len(meta) > META_PAIRS_MAX or too_long:
        raise RequestError(
            400,
            f"Bad request: Meta may have {META_PAIRS_MAX} pairs of at most {META_KEY_MAX} and "
            f"{META_VALUE_MAX} characters",
        )
    return given
