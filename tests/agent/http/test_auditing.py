"""Requests as the audit log hears of them."""

from __future__ import annotations

import json
from typing import Any

from tests.agent.http.acl_rig import managed
from tests.agent.http.rig import Client, Rig, make_config

ANONYMOUS = "00000000-0000-0000-0000-000000000002"


async def test_each_request_is_told_at_its_start_and_its_end() -> None:
    lines: list[bytes] = []
    rig = await Rig(make_config(), audit=lines.append).start()
    try:
        lines.clear()
        async with Client(rig.port) as client:
            headers = {"User-Agent": "tester", "X-Consul-Token": "s3cret"}
            for method, target in (
                ("PUT", "/v1/kv/a?token=s3cret"),
                ("GET", "/v1/kv/a"),
                ("GET", "/v1/kv/a"),
                ("GET", "/v1/kv/none"),
                ("PUT", "/v1/catalog/register"),
                ("GET", "/v1/nope"),
            ):
                await client.ask(method, target, b"x" if method == "PUT" else None, headers)
            answered = rig.server.stats().prompt_answers
    finally:
        await rig.stop()
    assert answered == 0
    assert not [line for line in lines if b"s3cret" in line]
    told: list[dict[str, Any]] = [json.loads(line)["payload"] for line in lines]
    assert [each["stage"] for each in told] == ["OperationStart", "OperationComplete"] * 5
    ends = told[1::2]
    assert [each["response"]["status"] for each in ends] == ["200", "200", "200", "404", "400"]
    assert [each["id"] for each in told[::2]] == [each["id"] for each in ends]
    first = ends[0]
    assert first["auth"] == {"accessor_id": ANONYMOUS}
    assert first["request"]["endpoint"] == "/v1/kv/a?token=<hidden>"
    assert first["request"]["user_agent"] == "tester"
    assert first["request"]["remote_addr"].startswith("127.0.0.1:")


async def test_who_was_denied_and_why_is_told() -> None:
    lines: list[bytes] = []
    async with managed(audit=lines.append) as manager:
        made = await manager.make("PUT", "/v1/acl/token", {"Description": "few rights"})
        lines.clear()
        got = await manager.ask("PUT", "/v1/kv/a", b"x", token=made["SecretID"])
        assert got.status == 403
    told = json.loads(lines[-1])["payload"]
    assert told["auth"]["accessor_id"] == made["AccessorID"]
    assert told["response"]["status"] == "403"
    assert "key:write" in told["response"]["error"]
    assert made["SecretID"].encode() not in b"".join(lines)
