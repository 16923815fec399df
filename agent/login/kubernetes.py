"""What is asked of a Kubernetes API about a service account's token, and what its answers mean.

Pure: the requests themselves are made in `fetch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agent.login.claims import Identity

REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
#: An annotation of the service account that gives it another name here.
NAME_ANNOTATION = "consul.hashicorp.com/service-name"
_USER_PREFIX = "system:serviceaccount"


class ReviewError(ValueError):
    """The token proves nobody."""


def review(token: str) -> dict[str, Any]:
    """The body of a request for a review."""
    return {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token},
    }


def reviewed(answer: Any) -> tuple[str, str, str]:
    """Namespace, name and uid of the account that a review names. Raises ReviewError."""
    status = _object(answer, "status")
    error = status.get("error")
    if error:
        raise ReviewError(f"lookup failed: {str(error)[:256]}")
    if status.get("authenticated") is not True:
        raise ReviewError("lookup failed: service account jwt not valid")
    user = _object(status, "user")
    parts = str(user.get("username", "")).split(":")
    if len(parts) != 4 or ":".join(parts[:2]) != _USER_PREFIX or not all(parts):
        raise ReviewError("lookup failed: unexpected username format")
    uid = user.get("uid", "")
    return parts[2], parts[3], uid if isinstance(uid, str) else ""


def account_path(namespace: str, name: str) -> str:
    """Where the account itself is found."""
    return f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}"


def identity(namespace: str, name: str, uid: str, account: Any) -> Identity:
    """Whom the account is here: its annotation may give it another name."""
    annotations = _object(_object(account, "metadata"), "annotations")
    called = annotations.get(NAME_ANNOTATION)
    values = {
        "namespace": namespace,
        "name": called if isinstance(called, str) and called else name,
        "uid": uid,
    }
    return Identity(values, path="serviceaccount")


def _object(value: Any, name: str) -> Mapping[str, Any]:
    found = value.get(name) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}
