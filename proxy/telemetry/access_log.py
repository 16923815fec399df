"""Lines of an access log, made of entries (contract D.15). Pure.

A request is always one line: whatever came from outside is escaped. Formats of proxy-defaults use
Envoy's words; a word that is not known here stays as it is, so that nothing seems to be told.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from proxy.telemetry.entry import IN, Entry

_WORD = re.compile(r"%([A-Z0-9_]+)(?:\(([^)%]*)\))?%")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\\]")
FIELD_MAX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessLogs:
    """``AccessLogs`` of proxy-defaults: ``kind`` is stdout, stderr or file; "" is off."""

    kind: str = ""
    path: str = ""
    text_format: str = ""
    json_format: str = ""


OFF = AccessLogs()


def read(given: Mapping[str, Any] | None) -> AccessLogs:
    """As the feed tells it; what is not switched on is off."""
    given = given or {}
    if not given.get("Enabled"):
        return OFF
    return AccessLogs(
        kind=str(given.get("Type") or "stdout"),
        path=str(given.get("Path") or ""),
        text_format=str(given.get("TextFormat") or ""),
        json_format=str(given.get("JSONFormat") or ""),
    )


def formatter(logs: AccessLogs) -> Callable[[Entry], str]:
    """What makes lines."""
    if logs.text_format:
        text = logs.text_format.rstrip("\r\n")
        return lambda entry: escaped(filled(text, entry))
    if logs.json_format:
        try:
            shape = json.loads(logs.json_format)
        except ValueError:
            shape = None
        if isinstance(shape, dict):
            return lambda entry: json.dumps(_shaped(shape, entry))
    return standard


def standard(entry: Entry) -> str:
    """The line without a format of somebody's own."""
    return json.dumps(shown(entry), separators=(",", ":"))


def shown(entry: Entry) -> dict[str, Any]:
    """An entry with the keys of the contract, in their order."""
    notes = entry.notes
    return {
        "ts": _time(entry.at),
        "dir": "in" if entry.direction == IN else "out",
        "service": entry.service,
        "peer": entry.peer,
        "peer_addr": entry.peer_address,
        "upstream": notes.upstream,
        "subset": notes.subset,
        "target": notes.target,
        "endpoint": notes.endpoint,
        "proto": entry.protocol,
        "method": entry.method[:FIELD_MAX],
        "host": entry.host[:FIELD_MAX],
        "path": entry.path[:FIELD_MAX],
        "route": notes.route if notes.route >= 0 else None,
        "code": entry.code,
        "grpc": entry.grpc_status,
        "flags": ",".join(notes.flags),
        "rx": notes.rx_bytes,
        "tx": notes.tx_bytes,
        "dur_ms": round(entry.duration_s * 1000, 3),
        "ttfb_ms": round(entry.first_byte_s * 1000, 3),
        "tries": notes.tries,
        "tls": notes.tls or entry.tls,
        "decision": notes.decision,
        "rule": notes.rule,
        "ref": notes.reference,
        "req_id": entry.request_id[:FIELD_MAX],
        "trace": entry.trace_id,
        "ua": entry.user_agent[:FIELD_MAX],
    }


_WORDS: Mapping[str, Callable[[Entry], object]] = {
    "START_TIME": lambda e: _time(e.at),
    "REQ": lambda e: "-",
    "PROTOCOL": lambda e: e.protocol,
    "RESPONSE_CODE": lambda e: e.code,
    "RESPONSE_FLAGS": lambda e: ",".join(e.notes.flags) or "-",
    "GRPC_STATUS": lambda e: e.grpc_status or "-",
    "BYTES_RECEIVED": lambda e: e.notes.rx_bytes,
    "BYTES_SENT": lambda e: e.notes.tx_bytes,
    "DURATION": lambda e: round(e.duration_s * 1000),
    "UPSTREAM_HOST": lambda e: e.notes.endpoint or "-",
    "UPSTREAM_CLUSTER": lambda e: e.notes.target or "-",
    "DOWNSTREAM_REMOTE_ADDRESS": lambda e: e.peer_address or "-",
    "DOWNSTREAM_PEER_URI_SAN": lambda e: e.peer or "-",
    "DOWNSTREAM_TLS_VERSION": lambda e: e.tls or "-",
    "ROUTE_NAME": lambda e: e.notes.route if e.notes.route >= 0 else "-",
    "TRACE_ID": lambda e: e.trace_id or "-",
    "UPSTREAM_REQUEST_ATTEMPT_COUNT": lambda e: e.notes.tries,
}
_REQUEST: Mapping[str, Callable[[Entry], str]] = {
    ":METHOD": lambda e: e.method,
    ":PATH": lambda e: e.path,
    ":AUTHORITY": lambda e: e.host,
    "HOST": lambda e: e.host,
    "USER-AGENT": lambda e: e.user_agent,
    "X-REQUEST-ID": lambda e: e.request_id,
}


def filled(text: str, entry: Entry) -> str:
    """A format with its words replaced."""

    def fact(found: re.Match[str]) -> str:
        if found[1] == "REQ":
            names = (found[2] or "").split(":")[0] if not (found[2] or "").startswith(":") else ""
            name = found[2].split("?")[0].upper() if found[2] else names
            make = _REQUEST.get(name)
            return found[0] if make is None else (make(entry) or "-")[:FIELD_MAX]
        known = _WORDS.get(found[1])
        return found[0] if known is None else str(known(entry))

    return _WORD.sub(fact, text)


def _shaped(shape: Any, entry: Entry) -> Any:
    if isinstance(shape, dict):
        return {str(key): _shaped(value, entry) for key, value in shape.items()}
    return filled(shape, entry) if isinstance(shape, str) else shape


def escaped(text: str) -> str:
    """One line, whatever is in it."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
