"""The wire: what goes in comes out, and damaged frames give the codec's own error and no other."""

from __future__ import annotations

import random

import msgspec
import numpy as np
import pytest
import torch

from course_flows.grading.protocol import (
    PREFIX,
    Array,
    Bundle,
    Failure,
    Listing,
    Opaque,
    ProtocolError,
    Ref,
    Reply,
    Request,
    Table,
    decode,
    encode,
    sizes_of_prefix,
)
from course_flows.grading.values import Packer, Unpacker

DTYPES = [torch.float16, torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool, torch.complex128]


def frame_of(value: object) -> bytes:
    packer = Packer(lambda other: Opaque(type(other).__name__))
    return encode(Reply(7, packer.pack(value)), packer.bodies)


def read(frame: bytes) -> object:
    header_bytes, body_bytes = sizes_of_prefix(frame[: PREFIX.size])
    rest = frame[PREFIX.size :]
    if len(rest) != header_bytes + body_bytes:
        raise ProtocolError("the frame has another length than it says")
    message, views = decode(rest[:header_bytes], rest[header_bytes:])
    assert isinstance(message, (Reply, Request, Failure))
    if not isinstance(message, Reply):
        return message
    return Unpacker(views, lambda number: ("object", number)).unpack(message.value)


def same(a: object, b: object) -> bool:
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(same(*pair) for pair in zip(a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_tensors_come_back_bit_for_bit(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(3)
    for shape in [(), (0,), (5,), (2, 3), (4, 0, 2)]:
        tensor = (torch.rand(shape, generator=generator) * 9).to(dtype)
        assert same(read(frame_of(tensor)), tensor)
        flipped = tensor.transpose(0, -1) if tensor.dim() else tensor
        assert same(read(frame_of(flipped)), flipped)


def test_containers_come_back() -> None:
    value = {"a": [1, 2.5, None, True], "b": (torch.arange(3), "ü\n"), "c": {}, "d": [[], ()]}
    assert same(read(frame_of(value)), value)
    assert read(encode(Reply(1, Bundle([Ref(3), 4])))) == (("object", 3), 4)
    assert isinstance(read(frame_of(object())), Opaque)
    assert isinstance(read(frame_of(torch.eye(2).to_sparse())), Opaque)


def test_what_cannot_be_sent_is_refused() -> None:
    nested: list[object] = []
    for _ in range(40):
        nested = [nested]
    with pytest.raises(ProtocolError):
        frame_of(nested)
    with pytest.raises(ProtocolError):
        frame_of(2**80)


@pytest.mark.parametrize(
    "frame",
    [
        PREFIX.pack(b"CFW2", 1, 0),
        PREFIX.pack(b"CFW1", 2**32 - 1, 0),
        PREFIX.pack(b"CFW1", 10, 2**63),
        encode(Reply(1, Array("float64", [2])))[:-1] + b"\x02",
        encode(Reply(1, Array("float64", [-1]))),
        encode(Reply(1, Array("float64", [2**40, 2**40]))),
        encode(Reply(1, Array("object", [1])), [b"12345678"]),
        encode(Reply(1, Array("float64", [1] * 40)), [b"12345678"]),
        encode(Reply(1, Array("float64", [1])), [b"1234567890"]),
        encode(Reply(1, Table(["a"], []))),
        b"",
    ],
)
def test_lies_are_refused(frame: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(frame)


def test_deep_nesting_is_refused() -> None:
    for depth in (20, 3000, 200_000):
        header = b"\x93\xa5reply\x01" + b"\x92\xa4list\x91" * depth + b"\xc0"
        with pytest.raises(ProtocolError):
            decode(header, b"")


def test_random_damage_gives_only_the_codecs_error() -> None:
    chance = random.Random(0)
    generator = torch.Generator().manual_seed(0)
    frames = [
        frame_of({"x": torch.rand(3, 2, generator=generator), "y": [1, "text", (None, 2.5)]}),
        frame_of((torch.arange(5), torch.tensor(True), [])),
        encode(Request(5, "call", "name", [1, Listing([2.0])], Table(["k"], [Array("int8", [3])]), 1, None), [b"abc"]),
        encode(Failure(9, "student", "ValueError")),
    ]
    refused = 0
    for _ in range(20_000):
        frame = bytearray(chance.choice(frames))
        for _ in range(chance.randint(1, 4)):
            kind = chance.random()
            place = chance.randrange(len(frame)) if frame else 0
            if kind < 0.6 and frame:
                frame[place] = chance.randrange(256)
            elif kind < 0.8:
                del frame[place : place + chance.randint(1, 9)]
            else:
                frame[place:place] = chance.randbytes(chance.randint(1, 9))
        try:
            read(bytes(frame))
        except ProtocolError:
            refused += 1
    assert refused > 10_000


def test_a_bool_array_holds_zeros_and_ones_only() -> None:
    found = read(encode(Reply(1, Array("bool", [3])), [b"\x00\x07\xff"]))
    assert isinstance(found, torch.Tensor)
    assert np.array_equal(found.view(torch.uint8).numpy(), [0, 1, 1])


def test_the_message_types_are_closed() -> None:
    with pytest.raises(ProtocolError):
        decode(msgspec.msgpack.encode(["order", 1, "kill"]), b"")
