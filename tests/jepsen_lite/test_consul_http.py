"""Outcomes are honest: a change that may have happened is never called failed."""

import http.server
import socket
import threading

import pytest

from jepsen_lite.consul_http import ConsulClient, judge_change
from jepsen_lite.history import FAIL, INFO, OK


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"true", OK),
        (200, b"true\n", OK),
        (200, b"false", FAIL),
        (400, b"bad", FAIL),
        (413, b"too large", FAIL),
        (500, b"No cluster leader", FAIL),
        (500, b"leadership lost while committing log", INFO),
        (503, b"", INFO),
    ],
)
def test_replies_are_judged(status: int, body: bytes, outcome: str) -> None:
    assert judge_change(status, body).type == outcome


def test_a_refused_connection_is_a_definite_failure() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        outcome = ConsulClient(*unused.getsockname()).write("k", "v")
    assert outcome.type == FAIL


@pytest.mark.parametrize("hang", [True, False])
def test_a_change_without_an_answer_is_unknown_and_a_read_failed(hang: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def serve() -> None:
            for _ in range(2):
                connection, _ = server.accept()
                kept.append(connection)
                if not hang:
                    connection.recv(1000)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        client = ConsulClient(*server.getsockname(), timeout_s=0.3)
        assert client.write("k", "v").type == INFO
        assert client.read("k").type == FAIL
        thread.join()
        for connection in kept:
            connection.close()


@pytest.mark.parametrize("keeps", [True, False])
def test_a_connection_is_kept_where_that_is_wanted_and_made_anew_after_a_failure(
    keeps: bool,
) -> None:
    seen: list[int] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            seen.append(self.client_address[1])
            if len(seen) == 3:
                self.close_connection = True
                return
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        client = ConsulClient("127.0.0.1", server.server_port, timeout_s=10)
        client = client.keeping() if keeps else client
        assert [client.read("k").type for _ in range(4)] == [OK, OK, FAIL, OK]
        client.close()
        server.shutdown()
    assert len(set(seen)) == (2 if keeps else 4)
