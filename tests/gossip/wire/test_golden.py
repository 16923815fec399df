"""Every recorded packet and stream: decoded, compared, and encoded to the same bytes."""

from __future__ import annotations

from typing import Any

import pytest

from gossip.config import GossipConfig
from gossip.keyring import Keyring
from gossip.wire import messages, serf
from gossip.wire.frames import Framing, encode_stream
from gossip.wire.messages import PushPull, StreamMessage, User
from gossip.wire.streams import StreamReader
from tests.gossip import vectors

ALL = vectors.load()["vectors"]
PACKETS = [v for v in ALL if v["transport"] == "udp"]
STREAMS = [v for v in ALL if v["transport"] == "tcp"]
FIELD_NAMES = {
    "Node": "node",
    "SeqNo": "seq_no",
    "Incarnation": "incarnation",
    "From": "accuser",
    "Port": "port",
    "LTime": "ltime",
    "Prune": "prune",
}


def framing_of(vector: dict[str, Any]) -> tuple[Framing, bytes]:
    """How the sender of a vector wrapped its bytes, and the nonce it used."""
    tree = vector["decoded"]
    encrypted = tree["kind"].startswith("encrypt")
    keys = (vectors.keys()[tree["key"]],) if encrypted else ()
    config = GossipConfig(
        name="x",
        keys=keys,
        encryption_version=tree["version"] if encrypted else 1,
        compression="compress" in vector["layers"],
        compression_min_bytes=0,
    )
    nonce = bytes.fromhex(tree["nonce"]) if encrypted else b""
    return Framing(config, Keyring(keys)), nonce


def leaves(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """The bare messages of a decoded tree, in order."""
    if "inner" in tree and tree["kind"] != "relay":
        return leaves(tree["inner"])
    if tree["kind"] == "compound":
        return [leaf for part in tree["parts"] for leaf in leaves(part)]
    return [tree]


def compare(message: object, body: dict[str, Any]) -> None:
    """The plain fields of a message against the recorded tree."""
    for key, name in FIELD_NAMES.items():
        if key in body and hasattr(message, name):
            assert getattr(message, name) == body[key], key


@pytest.mark.parametrize("vector", PACKETS, ids=[v["id"] for v in PACKETS])
def test_a_recorded_packet_is_read_and_written_alike(vector: dict[str, Any]) -> None:
    framing, nonce = framing_of(vector)
    data = bytes.fromhex(vector["hex"])
    parts = framing.decode_packet(data)
    trees = leaves(vector["decoded"])
    assert len(parts) == len(trees)
    again = []
    for part, tree in zip(parts, trees, strict=True):
        message = messages.decode(part)
        if isinstance(message, User):
            inner = serf.decode(message.payload)
            compare(inner, tree["serf"].get("body") or {})
            message = User(serf.encode(inner))
        else:
            compare(message, tree["body"])
        again.append(messages.encode(message))
    assert framing.encode_packet(again, crc="crc" in vector["layers"], nonce=nonce) == data


def read_in_pieces(framing: Framing, data: bytes, size: int) -> StreamMessage:
    reader = StreamReader(framing)
    for start in range(0, len(data), size):
        message = reader.feed(data[start : start + size])
        if message is not None:
            assert start + size >= len(data), "complete before its last byte"
            return message
    raise AssertionError("never complete")


@pytest.mark.parametrize("vector", STREAMS, ids=[v["id"] for v in STREAMS])
@pytest.mark.parametrize("size", [1, 7, 1_000_000])
def test_a_recorded_stream_is_read_and_written_alike(vector: dict[str, Any], size: int) -> None:
    framing, nonce = framing_of(vector)
    data = bytes.fromhex(vector["hex"])
    message = read_in_pieces(framing, data, size)
    if isinstance(message, PushPull):
        state = serf.decode(message.user_state)
        body = messages.encode_push_pull(PushPull(message.join, message.nodes, serf.encode(state)))
    elif isinstance(message, User):
        body = messages.encode_user_stream(serf.encode(serf.decode(message.payload)))
    else:
        body = messages.encode(message)
    assert encode_stream(framing, body, nonce=nonce) == data


@pytest.mark.parametrize(
    "vector", vectors.load()["encryption_constructed"], ids=lambda v: str(v["name"])
)
def test_a_sealed_and_labelled_packet_is_read_and_written_alike(vector: dict[str, Any]) -> None:
    data, plain = bytes.fromhex(vector["packet_hex"]), bytes.fromhex(vector["plaintext_hex"])
    keys = (vectors.keys()[vector["key"]],) if vector["key"] else ()
    config = GossipConfig(
        name="x",
        keys=keys,
        encryption_version=vector["version"] or 0 if keys else 1,
        label="dc1" if "label dc1" in vector["name"] else "",
    )
    framing = Framing(config, Keyring(keys))
    nonce = bytes.fromhex(vector.get("nonce", ""))
    if vector["name"].startswith("tcp"):
        assert encode_stream(framing, plain, nonce=nonce) == data
        assert StreamReader(framing).feed(data) == messages.decode(plain)
    else:
        assert framing.encode_packet([plain], crc=False, nonce=nonce) == data
        assert framing.decode_packet(data) == [plain]


@pytest.mark.parametrize("case", vectors.load()["decoder_tolerance"], ids=lambda c: str(c["case"]))
def test_the_decoder_accepts_what_members_of_either_generation_accept(
    case: dict[str, Any],
) -> None:
    if case["case"].startswith("positional"):
        pytest.skip("no member sends structures as arrays; we drop them")
    body = bytes.fromhex(case["hex"])

    def decode_as_some_message() -> None:
        messages.decode(b"\x04" + body)  # alive has the fields Node, Vsn
        messages.decode(b"\x02" + body)  # ack has SeqNo, Payload

    if case["accepted_by_v2_1_5"]:
        decode_as_some_message()
    else:
        with pytest.raises(messages.DecodeError):
            decode_as_some_message()


@pytest.mark.parametrize(
    "case",
    [c for c in vectors.load()["msgpack_codec"] if c["name"] in ("hdr", "hdr2", "hdr3")],
    ids=lambda c: str(c["name"]),
)
def test_headers_of_both_generations_are_read(case: dict[str, Any]) -> None:
    framing = Framing(GossipConfig(name="x"), Keyring())
    for form in ("codec_0_5_5_hex", "codec_v2_1_5_hex"):
        reader = StreamReader(framing)
        assert reader.feed(b"\x06" + bytes.fromhex(case[form])) is None
        missing = case["decoded"]["Nodes"]
        nodes = b"\x80" * missing + b"\x00" * case["decoded"]["UserStateLen"]
        whole = reader.feed(nodes)
        assert isinstance(whole, PushPull)
        assert whole.join == case["decoded"]["Join"]
        assert len(whole.nodes) == missing
        assert len(whole.user_state) == case["decoded"]["UserStateLen"]
