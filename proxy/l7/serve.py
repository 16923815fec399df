"""The server's side of one HTTP/1.1 connection: a request at a time, in order, or an end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from proxy.errors import HttpViolation, PipeClosed
from proxy.http1 import body as framing
from proxy.http1 import head
from proxy.http1.head import Request
from proxy.l7.limits import HttpLimits
from proxy.l7.messages import Answer, Body, PipeAnswer, PipeBody, own_answer
from proxy.l7.pace import Pace
from proxy.l7.pipe import Pipe

log = logging.getLogger("lictor.proxy.l7")

#: Carries out one request. It may leave the body unread, but must answer.
Handler = Callable[[Request, Body, Answer], Awaitable[None]]


async def serve(
    pipe: Pipe,
    handle: Handler,
    limits: HttpLimits,
    *,
    on_violation: Callable[[str], None],
    on_refused: Callable[[int], None] = lambda _: None,
    leaving: Callable[[], bool] = lambda: False,
) -> None:
    """Serve until the peer ends, breaks the rules, or is too slow. Never raises for what it did.

    ``on_refused`` hears the status of what was no request. Once ``leaving`` is true, answers say
    that the connection ends.
    """
    try:
        while await _one(pipe, handle, limits, on_violation, on_refused, leaving):
            pass
    except (PipeClosed, TimeoutError) as error:
        log.debug("connection ends reason=%s", error or "timeout")
        pipe.abort()
        return
    pipe.finish()


async def _one(
    pipe: Pipe,
    handle: Handler,
    limits: HttpLimits,
    on_violation: Callable[[str], None],
    on_refused: Callable[[int], None],
    leaving: Callable[[], bool],
) -> bool:
    """One request; whether another may follow."""
    try:
        raw = await pipe.read_head(limits.downstream_idle_s, limits.head_timeout_s)
        if not raw:
            return False
        request = head.read_request(raw)
        frame = framing.of_request(request)
        expects = (request.get("expect") or "").lower() == "100-continue"
        waits, pace = expects and not frame.empty, None if frame.empty else Pace(limits)
        now = asyncio.get_running_loop().time
        body = PipeBody(pipe, frame, limits, continues=waits, pace=pace, now=now)
    except HttpViolation as error:
        on_violation(str(error))
        on_refused(error.status)
        await pipe.write(
            own_answer(error.status, str(error), close=True) + str(error).encode(),
            limits.write_stall_s,
        )
        return False
    answer = PipeAnswer(pipe, request, limits, keep=_keeps(request) and not leaving())
    try:
        await handle(request, body, answer)
        if not answer.keep:
            return False
        return await body.discard()
    except HttpViolation as error:
        on_violation(str(error))
        answer.keep = False
        if not answer.begun:
            await answer.whole(error.status, str(error))
        return False


def _keeps(request: Request) -> bool:
    """Whether the connection is to live on (RFC 9112, section 9.3)."""
    words = {each.strip().lower() for each in (request.get("connection") or "").split(",")}
    if "close" in words:
        return False
    return request.minor >= 1 or "keep-alive" in words
