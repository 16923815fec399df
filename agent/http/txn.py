"""`/v1/txn`: several operations, all or none (http-api contract 4)."""

from __future__ import annotations

from dataclasses import replace

from agent.errors import RequestError
from agent.http import parse_txn, render
from agent.http.call import Call
from agent.http.reply import Reply
from raftstore import answers
from raftstore.commands import Rejected, Transaction
from raftstore.queries import ReadTransaction
from raftstore.records import Json, TxnAnswer, TxnOperation, TxnResult
from raftstore.slices import in_slices


async def run(call: Call) -> Reply:
    """Carry out a transaction: through the log if it writes, else as a read."""
    config = call.context.config
    bounds = parse_txn.Bounds(config.limits.txn_operations_max, config.limits.kv_max_value_size)
    parsed = parse_txn.transaction(call.body, bounds, datacenter=config.datacenter)
    if parsed.read_only:
        return await _read(call, parsed.operations)
    call.check_datacenter()
    if parsed.errors:
        return _reply(call, TxnAnswer(errors=parsed.errors), {})
    command = Transaction(parsed.operations)
    outcome = await call.propose(command)
    if isinstance(outcome, Rejected):
        raise RequestError(413, outcome.reason)  # the only reasons are sizes
    return _reply(call, await in_slices(answers.decode_txn_answer(outcome.value)), {})


async def _read(call: Call, operations: tuple[TxnOperation, ...]) -> Reply:
    """Nothing is waited for, whatever index was given; `?at` looks back as in any read."""
    options = replace(call.options(), min_index=0, wait_s=0.0)
    found = await call.ask(ReadTransaction(operations), options)
    more: dict[str, Json] = {
        "Index": 1,  # clients know no other
        "LastContact": int(found.last_contact_s * 1e9),
        "KnownLeader": found.known_leader,
        "ConsistencyLevel": "",
        "NotModified": False,
        "Backend": 0,
    }
    _, leader, contact, *_ = call.read_headers(found, effective=False)
    return _reply(call, found.value, more, headers=(leader, contact))


def _reply(
    call: Call, answer: TxnAnswer, more: dict[str, Json], *, headers: tuple[str, ...] = ()
) -> Reply:
    shown: dict[str, Json] = {"Results": None, "Errors": None}
    if answer.errors:
        shown["Errors"] = [{"OpIndex": error.index, "What": error.what} for error in answer.errors]
        return call.json(shown | more, status=409, headers=headers)
    within = (shown | more, "Results")
    return call.listing(answer.results, _result, headers=headers, within=within)


def _result(result: TxnResult) -> Json:
    if result.kv is not None:
        return {"KV": render.kv_pair(result.kv)}
    if result.node is not None:
        return {"Node": render.node(result.node)}
    if result.service is not None:
        shown = render.node_service(result.service)
        return {"Service": shown | {"Tags": shown["Tags"] or None}}
    assert result.check is not None, "a result is one of four"
    shown = render.check(result.check)
    return {"Check": shown | {"ServiceTags": shown["ServiceTags"] or None}}
