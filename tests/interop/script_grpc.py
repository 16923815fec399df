"""A gRPC application and its client, with Google's own library; messages are plain bytes.

`serve` prints its port and serves until its input ends; `call PORT [ADDRESS]` makes calls of every
kind and prints one line of JSON for each area: what went wrong, "" for nothing.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

AREAS = (
    "unary", "client_stream", "server_stream", "bidi", "large", "status", "metadata",
    "deadline", "cancel", "many", "unknown_method", "denied",
)  # fmt: skip

cancelled = threading.Event()


def unary(request: bytes, context: Any) -> bytes:
    sent = dict(context.invocation_metadata())
    context.send_initial_metadata([("seen", sent.get("given", ""))])
    context.set_trailing_metadata([("after", "yes"), ("peer", sent["x-forwarded-client-cert"])])
    return request + b"!"


def fail(request: bytes, context: Any) -> bytes:
    context.abort(grpc.StatusCode(_by_number(int(request))), "on purpose: ü")
    return b""


def _by_number(number: int) -> Any:
    return next(each.value for each in grpc.StatusCode if each.value[0] == number)


def collect(requests: Iterator[bytes], context: Any) -> bytes:
    return b"|".join(requests)


def count(request: bytes, context: Any) -> Iterator[bytes]:
    for number in range(int(request)):
        yield b"%d" % number


def echo(requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    for each in requests:
        yield each + b"?"


def slow(request: bytes, context: Any) -> bytes:
    time.sleep(float(request))
    return b"late"


def endless(request: bytes, context: Any) -> Iterator[bytes]:
    if request == b"was it?":
        yield b"yes" if cancelled.wait(20) else b"no"
        return
    cancelled.clear()
    context.add_callback(cancelled.set)
    while context.is_active():
        yield b"x"
        time.sleep(0.05)


def serve() -> None:
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Slow": grpc.unary_unary_rpc_method_handler(slow),
        "Secret": grpc.unary_unary_rpc_method_handler(unary),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Count": grpc.unary_stream_rpc_method_handler(count),
        "Endless": grpc.unary_stream_rpc_method_handler(endless),
        "Echo": grpc.stream_stream_rpc_method_handler(echo),
    }
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t.Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    sys.stdin.read()
    server.stop(0)


class Calls:
    """Each area as a method; an assertion is what went wrong."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel

    def method(self, name: str, kind: str = "unary_unary") -> Any:
        return getattr(self.channel, kind)(f"/t.Test/{name}")

    def unary(self) -> None:
        for _ in range(20):
            assert self.method("Unary")(b"a", timeout=20) == b"a!"

    def client_stream(self) -> None:
        parts = [b"%d" % n for n in range(50)]
        assert self.method("Collect", "stream_unary")(iter(parts), timeout=20) == b"|".join(parts)

    def server_stream(self) -> None:
        found = list(self.method("Count", "unary_stream")(b"200", timeout=20))
        assert found == [b"%d" % n for n in range(200)]

    def bidi(self) -> None:
        """Every answer is there before the next question is asked: nothing waits for an end."""
        answers: list[bytes] = []
        asked = threading.Semaphore(1)

        def questions() -> Iterator[bytes]:
            for number in range(30):
                asked.acquire()
                yield b"%d" % number

        for answer in self.method("Echo", "stream_stream")(questions(), timeout=20):
            answers.append(answer)
            asked.release()
        assert answers == [b"%d?" % n for n in range(30)]

    def large(self) -> None:
        body = bytes(range(256)) * 12_000  # 3 MB, more than any window
        assert self.method("Unary")(body, timeout=30) == body + b"!"

    def status(self) -> None:
        for number in (3, 5, 8, 9, 13, 14, 16):
            error = self.method("Fail").future(b"%d" % number, timeout=20).exception()
            assert error.code().value[0] == number, (number, error)
            assert error.details() == "on purpose: ü", error.details()

    def metadata(self) -> None:
        _, call = self.method("Unary").with_call(b"a", metadata=[("given", "g")], timeout=20)
        assert dict(call.initial_metadata())["seen"] == "g"
        trailing = dict(call.trailing_metadata())
        assert trailing["after"] == "yes"
        assert trailing["peer"].endswith("/svc/web"), trailing

    def deadline(self) -> None:
        began = time.monotonic()
        error = self.method("Slow").future(b"15", timeout=0.5).exception()
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED, error
        assert time.monotonic() - began < 10

    def cancel(self) -> None:
        call = self.method("Endless", "unary_stream")(b"", timeout=60)
        assert next(iter(call)) == b"x"
        call.cancel()
        told = list(self.method("Endless", "unary_stream")(b"was it?", timeout=30))
        assert told == [b"yes"], told

    def many(self) -> None:
        calls = [self.method("Unary").future(b"%d" % n, timeout=50) for n in range(300)]
        assert [call.result() for call in calls] == [b"%d!" % n for n in range(300)]

    def unknown_method(self) -> None:
        self._fails("Nothing", grpc.StatusCode.UNIMPLEMENTED)

    def denied(self) -> None:
        self._fails("Secret", grpc.StatusCode.PERMISSION_DENIED)

    def _fails(self, name: str, code: grpc.StatusCode) -> None:
        error = self.method(name).future(b"", timeout=20).exception()
        assert error is not None and error.code() is code, error


def tried(call: Callable[[], None]) -> str:
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return ""


def main() -> None:
    if sys.argv[1] == "serve":
        serve()
        return
    with grpc.insecure_channel(f"{(sys.argv[3:] or ['127.0.0.1'])[0]}:{sys.argv[2]}") as channel:
        calls = Calls(channel)
        for area in AREAS:
            trouble = tried(getattr(calls, area))
            print(json.dumps({"area": area, "trouble": trouble}), flush=True)


if __name__ == "__main__":
    main()
