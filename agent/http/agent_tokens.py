"""`/v1/agent/token/KIND`: which tokens this agent uses itself (http-api contract, section 7)."""

from __future__ import annotations

import asyncio

from agent.acl.agent_tokens import NAMES
from agent.errors import RequestError
from agent.http.call import Call, done
from agent.http.decode import DecodeFailure, Shape, load, string
from agent.http.reply import Reply
from agent.local import token_file

BODY = Shape("AgentToken", {"Token": ("token", string)})


async def set_token(call: Call) -> Reply:
    """Use another secret from now on; "" uses none. Kept over a restart if so configured."""
    try:
        secret = BODY.read("", load(call.body)).get("token", "")
    except DecodeFailure as error:
        raise RequestError(400, f"Request decode failed: {error}") from None
    if len(secret) > token_file.SECRET_CHARS_MAX:
        raise RequestError(400, f"A token has {token_file.SECRET_CHARS_MAX} characters at most")
    name = NAMES.get(call.rest)
    if name is None:
        raise RequestError(404, f'Token "{call.rest}" is unknown')
    tokens, config = call.access.tokens, call.context.config
    tokens.set(name, secret)
    # What was refused to the former token may be allowed to this one.
    call.context.local.trigger_full_sync()
    if config.acl.enable_token_persistence and config.data_dir:
        try:
            await asyncio.to_thread(token_file.save, config.data_dir, tokens)
        except OSError as error:
            reason = error.strerror or str(error)
            raise RequestError(
                500, f"The token is used, but will not be after a restart: not kept: {reason}"
            ) from None
    return done()
