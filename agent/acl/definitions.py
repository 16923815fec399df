"""The content of policies, roles and tokens: what is kept beside what finds them. Pure."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from raftstore.records import Json


def stamp(unix_s: float) -> str:
    """A time as clients see it."""
    text = datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="microseconds")
    return text.replace("+00:00", "Z")


def content_hash(content: Mapping[str, Any], *more: Any) -> str:
    """What changes with the content, as clients see it."""
    text = json.dumps([content, *more], sort_keys=True, separators=(",", ":"))
    digest = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=32).digest()
    return base64.b64encode(digest).decode()


def policy_content(
    name: str, description: str, rules: str, datacenters: Iterable[str] = ()
) -> dict[str, Json]:
    """Of a policy; without datacenters it holds in all."""
    content: dict[str, Json] = {"Description": description, "Rules": rules}
    limited: list[Json] = list(datacenters)
    if limited:
        content["Datacenters"] = limited
    return content | {"Hash": content_hash(content, name)}


def role_content(
    name: str, description: str, *, policies: Sequence[str], identities: Mapping[str, Json]
) -> dict[str, Json]:
    """Of a role; ``identities`` as agent/acl/identities.py makes them."""
    content: dict[str, Json] = {"Description": description, **identities}
    return content | {"Hash": content_hash(content, name, policies)}


def token_content(
    description: str,
    created: float | str,
    *,
    local: bool = False,
    policies: Sequence[str] = (),
    roles: Sequence[str] = (),
    identities: Mapping[str, Json] | None = None,
) -> dict[str, Json]:
    """Of a token; ``created`` is Unix seconds, or the text that it was shown as."""
    content: dict[str, Json] = {
        "Description": description,
        **(identities or {}),
        "Local": local,
        "CreateTime": created if isinstance(created, str) else stamp(created),
    }
    return content | {"Hash": content_hash(content, policies, roles)}
