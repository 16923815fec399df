"""Bodies of config entries: decoded, normalised, and checked as far as one entry goes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from agent.errors import RequestError
from agent.filters import compile_filter
from agent.full_match import full_match
from agent.http import filter_fields, render
from agent.http.decode import DecodeFailure, load
from proxy.errors import UnreadablePattern
from raftstore.definitions import ConfigEntry
from raftstore.entries import api_gateways, kinds
from raftstore.entries.errors import Invalid
from raftstore.entries.shape import Undecodable
from raftstore.queries import HealthEntry
from raftstore.records import Json

#: Keys of inline certificates.
RSA_BITS_MIN = 2048
_GO_KINDS = {bool: "bool", int: "number", float: "number", str: "string", list: "array"}
#: What RE2 has not: looking around, references back.
_NOT_RE2 = re.compile(r"(?<!\\)(?:\\\\)*(?:\(\?(?:[=!]|<[=!]|P=)|\\[1-9])")
#: What RE2 has and Python's parser does not know.
_ONLY_RE2 = re.compile(r"\\[zpPQECA]|\[\[:")


def body(data: bytes) -> Json:
    """The object in a body. Raises Undecodable."""
    try:
        found = load(data)
    except DecodeFailure as error:
        raise Undecodable(str(error)) from None
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise Undecodable(
            f"json: cannot unmarshal {_GO_KINDS[type(found)]} into Go value of type "
            "map[string]interface {}"
        )
    return found


def checked(given: Json) -> ConfigEntry:
    """An entry that may be proposed. Raises Undecodable, Invalid."""
    entry = kinds.decode(given)
    kinds.check(entry)
    if entry.kind == kinds.RESOLVER:
        for name, subset in sorted(entry.content.get("Subsets", {}).items()):
            _check_filter(name, subset.get("Filter", ""))
    check = _check_own if entry.kind == kinds.SERVICE_INTENTIONS else _check_pattern
    for pattern in _patterns(entry.content):
        check(pattern)
    if entry.kind == api_gateways.HTTP_ROUTE:
        for pattern in api_gateways.patterns(entry.content):
            _check_pattern(pattern)
    if entry.kind == kinds.INLINE_CERTIFICATE:
        _check_pair(entry.content["Certificate"], entry.content[api_gateways.PRIVATE_KEY])
    return entry


def _check_pair(certificate: str, key: str) -> None:
    """Refuse a certificate whose key this is not, and keys that are too short to be safe."""
    # Loaded when wanted: few agents are told of certificates.
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        public = x509.load_pem_x509_certificates(certificate.encode())[0].public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Invalid(f"failed to parse certificate: {error}") from None
    try:
        private = load_pem_private_key(key.encode(), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Invalid("failed to parse private key") from None
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < RSA_BITS_MIN:
        raise Invalid(f"key length must be at least {RSA_BITS_MIN} bits")
    if private.public_key() != public:
        raise Invalid("private key does not match the certificate")


def _check_filter(name: str, expression: str) -> None:
    if not expression:
        return
    try:
        compile_filter(expression, filter_fields.HEALTH_ENTRY)
    except RequestError as error:
        reason = error.text.removeprefix("Failed to create boolean expression evaluator: ")
        raise Invalid(f'Subset "{name}" has an invalid filter: {reason}') from None


def subset_filter(expression: str) -> Callable[[HealthEntry], bool]:
    """What says of an instance whether a subset's filter keeps it. Raises RequestError."""
    keep = compile_filter(expression, filter_fields.HEALTH_ENTRY)
    return lambda entry: keep(render.health_entry(entry))


def _patterns(value: Any) -> Iterator[str]:
    """Every regular expression in an entry."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in {"PathRegex", "Regex"} and isinstance(item, str):
                yield item
            elif key != "Config":
                yield from _patterns(item)
    elif isinstance(value, list):
        for item in value:
            yield from _patterns(item)


def _check_own(pattern: str) -> None:
    """Refuse what our own proxies could not match: who may do what must not hang on it."""
    try:
        full_match(pattern, "")
    except UnreadablePattern as error:
        raise Invalid(f"invalid regular expression {pattern!r}: {error}") from None


def _check_pattern(pattern: str) -> None:
    """Refuse what RE2 would. Whoever matches it must do so in time linear in the text."""
    if _NOT_RE2.search(pattern):
        raise Invalid(f"invalid regular expression {pattern!r}: this is not in RE2's syntax")
    if _ONLY_RE2.search(pattern):
        return
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise Invalid(f"invalid regular expression {pattern!r}: {error}") from None
