"""`/v1/watch`: many reads watched over one connection, as server-sent events (ours).

Every `watch` parameter is a read below `/v1`, with its parameters: what can be asked for once can
be watched, and means the same. Each is asked as a blocking query, again and again; a read that has
no index is looked at in intervals. An event tells the new answer; its id is where all watches are,
so that who comes back with `Last-Event-ID` misses nothing and hears nothing twice. No watch is
more than an answer ahead of the client: a slow one gets the newest answer, not all.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from urllib.parse import quote

from agent.errors import RequestError
from agent.http.call import Call
from agent.http.reply import JSON_TYPE, Reply
from agent.http.stream import StreamReply
from agent.tasks import TaskOwner

EVENTS_TYPE = "text/event-stream"
#: A sign of life after so many seconds without an event.
ALIVE_S = 20.0
#: How long one question is held, and how often is looked at what cannot be held.
HOLD_S = 300.0
LOOK_S = 10.0
#: After a failure it is tried again after so long, at first and at most.
RETRY_FIRST_S, RETRY_MAX_S = 1.0, 30.0

#: Where a watch is: behind an index, a content hash, or an answer that looked like this.
_INDEX, _HASH, _LOOK = "i", "h", "d"
_HEADERS = ((_INDEX, "X-Consul-Index: "), (_HASH, "X-Consul-Contenthash: "))
_PLACE = re.compile(r"[ihd][0-9a-f]{1,32}")
_NOWHERE = "-"
#: What of a read's own parameters has no meaning here.
_OURS = ("index=", "wait=", "hash=", "pretty")
#: Statuses below 500 that another attempt may change.
_PASSING = frozenset({404, 408, 429})


@dataclass(slots=True)
class _Watched:
    """One read. ``place`` is "" before the first answer; ``looked_at`` ones are never held."""

    text: str
    place: str = ""
    looked_at: bool = False

    def target(self) -> str:
        """What to ask for now."""
        path, _, query = self.text.lstrip("/").removeprefix("v1/").partition("?")
        parts = [part for part in query.split("&") if part and not part.startswith(_OURS)]
        if self.place[:1] in {_INDEX, _HASH} and not self.looked_at:
            name = "index" if self.place[0] == _INDEX else "hash"
            parts += [f"{name}={self.place[1:]}", f"wait={HOLD_S:.0f}s"]
        return f"/v1/{quote(path, safe=_KEPT)}?{quote('&'.join(parts), safe=_KEPT + '?')}"

    def place_of(self, reply: Reply) -> str:
        """Where this answer puts the watch."""
        for kind, name in () if self.looked_at else _HEADERS:
            for line in reply.headers:
                if line.startswith(name):
                    return kind + line.removeprefix(name)
        whole = b"".join([reply.body, *reply.more])
        return _LOOK + hashlib.blake2b(whole, digest_size=8).hexdigest()


#: Characters that stay as they are: the text may be escaped already.
_KEPT = "/%:@!$&()*+,;=~'"


async def watch(call: Call) -> Reply:
    """Tell every change of what is watched."""
    given = call.params.all("watch")
    most = call.context.config.limits.http_watched_max
    if not any(given):
        raise RequestError(400, "Missing watch: a read such as watch=health/service/web")
    if len(given) > most:
        raise RequestError(400, f"More than {most} reads in one watch")
    watched = [_Watched(text) for text in given]
    _resume(watched, call.headers.get("Last-Event-ID") or call.params.get("index"))
    headers = ("Cache-Control: no-store", "X-Accel-Buffering: no")
    return StreamReply(call.waiting, _events(call, watched), EVENTS_TYPE, headers)


def _resume(watched: list[_Watched], text: str) -> None:
    """Go on where an earlier connection ended, if this id is one of the same watches."""
    places = text.split(",")
    if len(places) == len(watched):
        for each, place in zip(watched, places, strict=True):
            each.place = place if _PLACE.fullmatch(place) else ""


async def _events(call: Call, watched: list[_Watched]) -> AsyncGenerator[bytes, None]:
    """The events, until nothing is left that can be watched."""
    owner = TaskOwner()
    #: No watch is more than one event ahead of the client.
    queue: asyncio.Queue[bytes | None] = asyncio.Queue(maxsize=1)
    live = len(watched)
    try:
        for each in watched:
            owner.spawn(_follow(call, watched, each, queue), name="watch")
        yield b"retry: 1000\n\n"
        while live:
            try:
                async with asyncio.timeout(ALIVE_S):
                    event = await queue.get()
            except TimeoutError:
                yield b": alive\n\n"
                continue
            if event is None:
                live -= 1
            else:
                yield event
    finally:
        await owner.close()


async def _follow(
    call: Call, watched: list[_Watched], each: _Watched, queue: asyncio.Queue[bytes | None]
) -> None:
    """Ask for one read again and again."""
    loop = asyncio.get_running_loop()
    pause_s, told = RETRY_FIRST_S, b""
    while True:
        asked_at, place = loop.time(), each.place
        reply = await call.inner(each.target())
        if call.waiting.stopping:
            return
        absent = reply.status == 404 and each.place_of(reply)[0] == _INDEX
        if reply.status >= 400 and not absent:
            if reply.body != told:
                told = reply.body
                await queue.put(_event("error", watched, each, reply))
            if reply.status < 500 and reply.status not in _PASSING:
                await queue.put(None)
                return
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, RETRY_MAX_S)
            continue
        pause_s, told = RETRY_FIRST_S, b""
        each.place = each.place_of(reply)
        if each.place != place:
            await queue.put(_event("change", watched, each, reply))
        elif loop.time() - asked_at < LOOK_S:
            # Answered though nothing has changed: this read cannot be held.
            each.looked_at = True
            each.place = each.place_of(reply)
        if each.place[0] == _LOOK:
            await asyncio.sleep(LOOK_S)


def _event(kind: str, watched: list[_Watched], each: _Watched, reply: Reply) -> bytes:
    where = ",".join(one.place or _NOWHERE for one in watched)
    head = json.dumps({"Watch": each.text, "Status": reply.status})
    data = head[:-1].encode() + b', "Body": ' + _body(reply) + b"}"
    lines = b"\n".join(b"data: " + line for line in data.split(b"\n"))
    return f"id: {where}\nevent: {kind}\n".encode() + lines + b"\n\n"


def _body(reply: Reply) -> bytes:
    body = b"".join([reply.body, *reply.more])
    if reply.content_type == JSON_TYPE and body:
        return body.rstrip(b"\n")
    return json.dumps(body.decode("utf-8", "replace")).encode()
