"""Lines of the access log: one for each request, whatever is in it."""

from __future__ import annotations

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from proxy.telemetry import access_log
from proxy.telemetry.access_log import AccessLogs
from proxy.telemetry.entry import DENIED, IN, Entry, Notes

NOTES = Notes(decision="deny", rule="r", reference="ref", tries=2, rx_bytes=3, tx_bytes=4)
NOTES.flag(DENIED)
ENTRY = Entry(
    at=1_700_000_000.5, direction=IN, service="db", peer="spiffe://t/svc/web", method="GET",
    host="db", path="/a?b=c", code=403, duration_s=0.0123, request_id="rid", notes=NOTES,
)  # fmt: skip


def test_the_standard_line_has_its_keys_in_order() -> None:
    line = access_log.standard(ENTRY)
    told = json.loads(line)
    assert list(told)[:4] == ["ts", "dir", "service", "peer"]
    assert told["ts"] == "2023-11-14T22:13:20.500000Z"
    assert (told["dir"], told["code"], told["flags"], told["ref"]) == ("in", 403, "RBAC", "ref")
    assert (told["rx"], told["tx"], told["dur_ms"], told["tries"]) == (3, 4, 12.3, 2)


def test_formats_of_somebodys_own() -> None:
    text = access_log.formatter(
        AccessLogs(
            kind="stdout",
            text_format="%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %REQ(X-OTHER)% %NOPE% "
            "%PROTOCOL%\n",
        )
    )
    assert text(ENTRY) == "GET /a?b=c 403 %REQ(X-OTHER)% %NOPE% http"
    shaped = access_log.formatter(
        AccessLogs(kind="stdout", json_format='{"m": "%REQ(:METHOD)%", "d": {"c": "%DURATION%"}}')
    )
    assert json.loads(shaped(ENTRY)) == {"m": "GET", "d": {"c": "12"}}
    broken = access_log.formatter(AccessLogs(kind="stdout", json_format="{"))
    assert json.loads(broken(ENTRY))["code"] == 403


def test_only_what_is_switched_on() -> None:
    assert access_log.read(None) == AccessLogs() == access_log.read({"Type": "file", "Path": "/x"})
    found = access_log.read({"Enabled": True, "Type": "file", "Path": "/x"})
    assert (found.kind, found.path) == ("file", "/x")
    assert access_log.read({"Enabled": True}).kind == "stdout"


@given(st.text(max_size=200), st.text(max_size=50))
def test_a_request_is_one_line(path: str, agent: str) -> None:
    entry = replace(ENTRY, path=path, user_agent=agent, host=path)
    text = access_log.formatter(AccessLogs(kind="x", text_format="%REQ(:PATH)% %REQ(USER-AGENT)%"))
    for line in (access_log.standard(entry), text(entry)):
        assert len(line.splitlines()) == 1 or not line
        assert "\n" not in line and "\r" not in line
