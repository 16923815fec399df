"""Sockets go from one self of a program to the next, and nothing else is taken for one."""

from __future__ import annotations

import os
import socket

import pytest

from agent.listening import VARIABLE, Sockets
from tests.ports import free_port


@pytest.fixture
def port() -> int:
    return free_port()


def test_who_connects_between_two_selves_is_served_by_the_next(port) -> None:
    environment: dict[str, str] = {}
    before = Sockets(environment)
    first = before.bind("tcp", "127.0.0.1", port)
    first.listen()
    first.close()
    before.hand_on(environment)
    with socket.create_connection(("127.0.0.1", port), timeout=5) as waiting:
        after = Sockets(environment)
        assert VARIABLE not in environment
        second = after.bind("tcp", "127.0.0.1", port)
        second.setblocking(True)
        accepted, _ = second.accept()
        accepted.sendall(b"hello")
        assert waiting.recv(5) == b"hello"
        accepted.close()
    assert not os.get_inheritable(second.fileno())
    second.close()
    after.release()


def test_datagrams_are_not_lost_either(port) -> None:
    environment: dict[str, str] = {}
    before = Sockets(environment)
    before.bind("udp", "127.0.0.1", port).close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"question", ("127.0.0.1", port))
    before.hand_on(environment)
    after = Sockets(environment)
    second = after.bind("udp", "127.0.0.1", port)
    second.setblocking(True)
    assert second.recv(100) == b"question"
    second.close()
    after.release()


def test_released_sockets_are_gone(port) -> None:
    sockets = Sockets()
    listening = sockets.bind("tcp", "127.0.0.1", port)
    listening.listen()
    listening.close()
    sockets.release()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)


def test_a_host_name_is_left_to_others_and_a_taken_port_is_an_error(port) -> None:
    sockets = Sockets()
    assert sockets.bind("tcp", "localhost", port) is None
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with pytest.raises(OSError):
            sockets.bind("tcp", "127.0.0.1", port)
    sockets.release()


@pytest.mark.parametrize(
    "entry",
    ["", "tcp", "tcp,127.0.0.1,80", "tcp,127.0.0.1,80,99999", "tcp,127.0.0.1,x,1", "icmp,a,1,1"],
    ids=["empty", "a kind", "no descriptor", "a closed one", "no port", "unknown kind"],
)
def test_what_is_no_socket_is_passed_over(entry, port) -> None:
    sockets = Sockets({VARIABLE: entry})
    bound = sockets.bind("tcp", "127.0.0.1", port)
    assert bound.getsockname() == ("127.0.0.1", port)
    bound.close()
    sockets.release()


def test_a_socket_of_another_address_is_not_taken(port) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        descriptor = os.dup(other.fileno())
        sockets = Sockets({VARIABLE: f"tcp,127.0.0.1,{port},{descriptor}"})
    bound = sockets.bind("tcp", "127.0.0.1", port)
    assert bound.getsockname()[1] == port
    bound.close()
    sockets.release()
