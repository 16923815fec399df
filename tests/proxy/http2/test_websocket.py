"""Websockets over HTTP/2 (RFC 8441) through two sidecars."""

from __future__ import annotations

import asyncio

from proxy.authz import Permission, Rule
from tests.proxy.http2.talk import Talk, heard
from tests.proxy.http2.test_server import Make, Pair, echoed, make  # noqa: F401  (a fixture)
from tests.proxy.mesh import until

#: What is tested does not depend on the loop.
ONE_LOOP = True


class Sockets:
    """An application: takes every extended CONNECT and sends back what comes, to its end."""

    def __init__(self, *, switches: bool = True) -> None:
        self.switches = switches
        self.seen: list[dict[str, str]] = []
        self.ended = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk, sent = Talk(reader, writer, client=False, switches=self.switches), dict[int, int]()
        while await heard(talk):
            for stream in talk.asked:
                self.seen.append(talk.streams[stream].headers)
                talk.codec.send_headers(stream, [(":status", "200")])
                sent[stream] = 0
            talk.asked.clear()
            for stream in list(sent):
                got = talk.streams[stream]
                if got.reset is not None:
                    del sent[stream]
                    continue
                if got.body[sent[stream] :]:
                    talk.codec.send_data(stream, got.body[sent[stream] :])
                    sent[stream] = len(got.body)
                if got.ended:
                    talk.codec.end_stream(stream)
                    self.ended += 1
                    del sent[stream]
            talk.flush()


async def wanting(pair: Pair, protocol: str = "websocket", path: str = "/chat") -> tuple[Talk, int]:
    talk = await pair.connect()
    while not talk.codec.remote_settings.enable_connect_protocol:
        assert await talk.more()
    stream = talk.ask(path, (":protocol", protocol), method="CONNECT", ended=False)
    return talk, stream


async def test_bytes_go_both_ways_and_each_end_by_itself(make: Make) -> None:  # noqa: F811
    app = Sockets()
    pair = await make(serve=app.serve)
    talk, stream = await wanting(pair)
    for letter in (b"A", b"B", b"C"):
        await echoed(talk, stream, letter)
    assert talk.streams[stream].headers[":status"] == "200"
    (head,) = app.seen
    assert head[":method"] == "CONNECT" and head[":protocol"] == "websocket"
    assert head[":path"] == "/chat" and "upgrade" not in head and "connection" not in head
    assert head["x-forwarded-client-cert"].endswith("/svc/web")
    talk.codec.end_stream(stream)
    talk.flush()
    got = await talk.answer(stream)
    assert got.ended and got.body == b"ABC" and app.ended == 1


async def test_rules_see_the_get_that_it_is_in_the_other_version(make: Make) -> None:  # noqa: F811
    rule = Rule(
        source="web", destination="db", action="", permissions=1, precedence=9,
        matches=(Permission(action="allow", path_form="exact", path="/chat",
                            methods=frozenset({"GET"})),
                 Permission(action="deny", path_form="prefix", path="/")),
    )  # fmt: skip
    app = Sockets()
    pair = await make(serve=app.serve, rules=(rule,))
    talk, stream = await wanting(pair)
    await echoed(talk, stream, b"A")
    other, refused = await wanting(pair, path="/chat/../secret")
    assert (await other.answer(refused)).headers[":status"] in ("400", "403")
    pair.mesh.sources["db"].change(rules=(), default_allow=False)
    assert (await talk.answer(stream)).reset is not None, "a change of rules ends it"
    assert len(app.seen) == 1


async def test_what_the_application_does_not_take_is_501(make: Make) -> None:  # noqa: F811
    app = Sockets(switches=False)
    pair = await make(serve=app.serve)
    talk, stream = await wanting(pair)
    assert (await talk.answer(stream)).headers[":status"] == "501"
    assert app.seen == []


async def test_other_protocols_are_501(make: Make) -> None:  # noqa: F811
    app = Sockets()
    pair = await make(serve=app.serve)
    talk, stream = await wanting(pair, protocol="connect-udp")
    assert (await talk.answer(stream)).headers[":status"] == "501"
    assert app.seen == []


async def test_a_client_that_goes_away_ends_the_other_side(make: Make) -> None:  # noqa: F811
    app = Sockets()
    pair = await make(serve=app.serve)
    talk, stream = await wanting(pair)
    await echoed(talk, stream, b"A")
    talk.codec.reset_stream(stream, 8)
    talk.flush()
    handlers = pair.db._http._handlers
    await until(lambda: all(each.under_way.idle for each in handlers.values()), "it is over")
