"""Every recorded packet and stream: decoded, compared, and encoded to the same bytes."""

from __future__ import annotations

from typing import Any

import pytest

from gossip import coordinates
from gossip.config import GossipConfig
from gossip.keyring import Keyring
from gossip.wire import fields, messages, serf
from gossip.wire.fields import pack
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
    body = bytes.fromhex(case["hex"])

    def decoded() -> tuple[messages.Message, messages.Message]:
        if case["case"].startswith("positional"):  # the recorded pair, in the order of a message
            body_of = b"\x92\x07\xa1\x01"
            return messages.decode(b"\x02" + body_of), messages.decode(b"\x00\x92\x07\xa2n1")
        # alive has the fields Node and Vsn, ack has SeqNo and Payload
        return messages.decode(b"\x02" + body), messages.decode(b"\x04" + body)

    if not case["accepted_by_v2_1_5"]:
        with pytest.raises(messages.DecodeError):
            decoded()
        return
    ack, other = decoded()
    wanted = TOLERATED.get(case["case"], {"node": "n1"})
    for name, value in wanted.items():
        assert value in (getattr(ack, name, None), getattr(other, name, None)), name


TOLERATED: dict[str, dict[str, Any]] = {
    "bin8 in a byte field": {"payload": b"\x01\x02"},
    "positional array instead of map": {"seq_no": 7, "payload": b"\x01", "node": "n1"},
    "nil string": {"node": ""},
    "nil integer": {"seq_no": 0},
    "int16 in an unsigned field": {"seq_no": 256},
    "small uint64 in a uint32 field": {"seq_no": 5},
    "Vsn as array of integers": {"versions": b"\x01\x05\x02\x02\x05\x05"},
    "lower-case key (ignored)": {"node": ""},
    "duplicate key (last wins)": {"node": "n2"},
    "empty map": {"node": "", "seq_no": 0},
}
CODEC = {case["name"]: case for case in vectors.load()["msgpack_codec"]}
HEADERS = ("hdr", "hdr2", "hdr3")
PACKET_TYPES = {"ping": 0, "ping-omit": 0, "ind": 1, "alive": 4} | dict.fromkeys(
    ("ack-nil", "ack-empty", "ack-40", "ack-300"), 2
)
SERF_TYPES = {"pp-nil": 2, "uev": 3, "uev-nil": 3, "q": 4, "q2": 4, "rh": 9, "rh16": 9}


def both_forms(name: str) -> tuple[bytes, bytes]:
    """What the reference's codec writes, which is what we write, and what newer members write."""
    case = CODEC[name]
    return bytes.fromhex(case["codec_0_5_5_hex"]), bytes.fromhex(case["codec_v2_1_5_hex"])


@pytest.mark.parametrize("name", PACKET_TYPES)
def test_packet_bodies_of_both_generations_are_read_and_written_in_the_old_form(name: str) -> None:
    kind = bytes((PACKET_TYPES[name],))
    old, new = both_forms(name)
    message = messages.decode(kind + old)
    assert messages.decode(kind + new) == message
    assert messages.encode(message) == kind + old
    compare(message, CODEC[name]["decoded"])


@pytest.mark.parametrize("name", SERF_TYPES)
def test_serf_bodies_of_both_generations_are_read_and_written_in_the_old_form(name: str) -> None:
    kind = bytes((SERF_TYPES[name],))
    old, new = both_forms(name)
    message = serf.decode(kind + old)
    assert serf.decode(kind + new) == message
    assert serf.encode(message) == kind + old
    compare(message, CODEC[name]["decoded"])


@pytest.mark.parametrize("name", HEADERS)
def test_headers_of_both_generations_are_read(name: str) -> None:
    framing = Framing(GossipConfig(name="x"), Keyring())
    wanted = CODEC[name]["decoded"]
    for form in both_forms(name):
        reader = StreamReader(framing)
        assert reader.feed(b"\x06" + form) is None
        nodes = b"\x80" * wanted["Nodes"] + b"\x00" * wanted["UserStateLen"]
        whole = reader.feed(nodes)
        assert isinstance(whole, PushPull)
        assert whole.join == wanted["Join"]
        assert len(whole.nodes) == wanted["Nodes"]
        assert len(whole.user_state) == wanted["UserStateLen"]
    assert messages.encode_push_pull(whole).startswith(b"\x06" + both_forms(name)[0])


def test_records_of_both_generations_are_read_and_written_in_the_old_form() -> None:
    old, new = both_forms("pns")
    records = [messages.decode_node_state(fields.unpack_map(form)) for form in (old, new)]
    assert records[0] == records[1]
    assert messages.encode_push_pull(PushPull(True, (records[0],), b"")).endswith(old)


def test_the_remaining_structures_of_both_generations_are_read_and_written() -> None:
    for form in both_forms("compress"):
        assert fields.unpack_map(form) == {b"Algo": 0, b"Buf": b"\x01\x02\x03"}
    assert pack({"Algo": 0, "Buf": b"\x01\x02\x03"}) == both_forms("compress")[0]
    for form in both_forms("coord"):
        assert coordinates.decode_payload(b"\x01" + form) == coordinates.Coordinate()
    assert coordinates.encode_payload(coordinates.Coordinate()) == b"\x01" + both_forms("coord")[0]
    for form in both_forms("ft"):
        assert serf.decode_filter(b"\x01" + form) == (1, ("a", "b"))
    for form in both_forms("strlist"):
        assert serf.decode_filter(b"\x00" + form) == (0, ("a", "b"))
    for form in both_forms("tags"):
        assert serf.decode_tags(b"\xff" + form) == {"role": "x"}
    assert serf.encode_tags({"role": "x"}) == b"\xff" + both_forms("tags")[0]
    for form in both_forms("nilmap"):  # newer members write nil
        assert serf.decode_tags(b"\xff" + form) == {}
    assert serf.encode_tags({}) == b"\xff" + both_forms("nilmap")[0]
    for name, value in (("str40", CODEC["str40"]["decoded"].encode()), ("dur-neg", -5)):
        assert [fields.unpack(form) for form in both_forms(name)] == [value, value]
        assert pack(value) == both_forms(name)[0]


def test_no_recorded_structure_is_left_out() -> None:
    rest = {"pns", "compress", "coord", "ft", "strlist", "tags", "nilmap", "str40", "dur-neg"}
    assert set(CODEC) == {*PACKET_TYPES, *SERF_TYPES, *HEADERS, *rest}
    assert len(PACKETS) + len(STREAMS) == vectors.load()["counts"]["vectors"]
    tested = {
        "vectors", "encryption_constructed", "lzw", "msgpack_codec", "decoder_tolerance", "vivaldi",
        "suspicion_timeouts", "retransmit_limits", "push_pull_scale",
    }  # fmt: skip
    told = {"format", "about", "reference", "keys", "conventions", "counts", "measured_behaviour"}
    notes = {"lzw_note", "msgpack_note", "vivaldi_note"}
    assert set(vectors.load()) == tested | told | notes
