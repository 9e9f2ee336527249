"""The wire between the grader and a worker: typed messages and raw array bytes, nothing that can carry code.

A frame is ``magic (4) | header length (4) | body length (8) | header | body``, little endian. The header is one
message in msgpack, checked against the types below; the body holds the bytes of its arrays, one after the other,
in the order in which they appear in the header. Sizes are checked before anything is allocated.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import msgspec

__all__ = [
    "DTYPE_SIZES",
    "PREFIX",
    "Array",
    "Bound",
    "Bundle",
    "Failure",
    "Listing",
    "Message",
    "Opaque",
    "ProtocolError",
    "Ready",
    "Ref",
    "Reply",
    "Request",
    "Table",
    "Value",
    "decode",
    "encode",
    "sizes_of_prefix",
]

MAGIC = b"CFW1"
PREFIX = struct.Struct("<4sIQ")
MAX_HEADER_BYTES = 8 << 20
MAX_BODY_BYTES = 256 << 20
MAX_DEPTH = 16
MAX_DIMENSIONS = 16
DTYPE_SIZES = {
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
}


class ProtocolError(Exception):
    """A frame that is not what the wire promises."""


class Array(msgspec.Struct, tag="array", array_like=True, forbid_unknown_fields=True):
    """The type and shape of an array whose bytes are in the body."""

    dtype: str
    shape: list[int]


class Ref(msgspec.Struct, tag="ref", array_like=True, forbid_unknown_fields=True):
    """The number of an object that stays in the worker."""

    number: int


class Bound(msgspec.Struct, tag="bound", array_like=True, forbid_unknown_fields=True):
    """A method of an object that stays in the worker."""

    number: int
    name: str


class Opaque(msgspec.Struct, tag="opaque", array_like=True, forbid_unknown_fields=True):
    """A value that cannot cross: only the name of its type does."""

    type_name: str


class Listing(msgspec.Struct, tag="list", array_like=True, forbid_unknown_fields=True):
    """A list of values."""

    items: list[Value]


class Bundle(msgspec.Struct, tag="tuple", array_like=True, forbid_unknown_fields=True):
    """A tuple of values."""

    items: list[Value]


class Table(msgspec.Struct, tag="dict", array_like=True, forbid_unknown_fields=True):
    """A dictionary from strings to values."""

    keys: list[str]
    values: list[Value]


Value: TypeAlias = bool | int | float | str | Array | Ref | Bound | Opaque | Listing | Bundle | Table | None


class Request(msgspec.Struct, tag="request", array_like=True, forbid_unknown_fields=True):
    """What the grader asks of the worker; ``layout`` says which parts of the answer stay there as handles."""

    call: int
    action: str
    target: Value
    args: list[Value]
    kwargs: Table
    seed: int
    layout: Value


class Reply(msgspec.Struct, tag="reply", array_like=True, forbid_unknown_fields=True):
    """The worker's answer to one request."""

    call: int
    value: Value


class Failure(msgspec.Struct, tag="failure", array_like=True, forbid_unknown_fields=True):
    """The worker's code raised: ``kind`` is ``student`` or ``missing``, ``text`` says what and where."""

    call: int
    kind: str
    text: str


class Ready(msgspec.Struct, tag="ready", array_like=True, forbid_unknown_fields=True):
    """The first message of a worker: which layers of the lock hold, or why it cannot be set."""

    layers: list[str]
    problem: str


Message = Request | Reply | Failure | Ready
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Message)


def encode(message: Message, bodies: Sequence[bytes | memoryview] = ()) -> bytes:
    """Return the frame of a message and the bytes of its arrays."""
    try:
        header = _encoder.encode(message)
    except (msgspec.MsgspecError, OverflowError, TypeError, ValueError, RecursionError) as error:
        raise ProtocolError(f"the message cannot be encoded: {error}") from None
    body_bytes = sum(len(body) for body in bodies)
    if len(header) > MAX_HEADER_BYTES or body_bytes > MAX_BODY_BYTES:
        raise ProtocolError(f"the message is too large: {len(header)} + {body_bytes} bytes")
    return b"".join([PREFIX.pack(MAGIC, len(header), body_bytes), header, *bodies])


def sizes_of_prefix(prefix: bytes | bytearray, max_body_bytes: int = MAX_BODY_BYTES) -> tuple[int, int]:
    """Return the lengths of header and body that a prefix announces, or raise where they are not acceptable."""
    if len(prefix) != PREFIX.size:
        raise ProtocolError(f"a prefix has {PREFIX.size} bytes, found {len(prefix)}")
    magic, header_bytes, body_bytes = PREFIX.unpack(prefix)
    if magic != MAGIC:
        raise ProtocolError("the frame does not start with the magic bytes")
    if header_bytes > MAX_HEADER_BYTES:
        raise ProtocolError(f"the header claims {header_bytes} bytes, allowed are {MAX_HEADER_BYTES}")
    if body_bytes > max_body_bytes:
        raise ProtocolError(f"the body claims {body_bytes} bytes, allowed are {max_body_bytes}")
    return header_bytes, body_bytes


def decode(header: bytes | bytearray, body: bytes | bytearray) -> tuple[Message, list[memoryview]]:
    """Return the message of a frame and one view for each of its arrays."""
    try:
        message: Message = _decoder.decode(header)
    except (msgspec.MsgspecError, RecursionError, ValueError, OverflowError) as error:
        raise ProtocolError(f"the header is no message of this protocol: {type(error).__name__}") from None
    views: list[memoryview] = []
    whole = memoryview(body)
    offset = 0
    for array in _arrays_of_message(message):
        size = _byte_count(array)
        if offset + size > len(body):
            raise ProtocolError("the arrays of the header are larger than the body")
        views.append(whole[offset : offset + size])
        offset += size
    if offset != len(body):
        raise ProtocolError(f"{len(body) - offset} bytes of the body belong to no array")
    return message, views


def _byte_count(array: Array) -> int:
    if array.dtype not in DTYPE_SIZES:
        raise ProtocolError("an array has a type that is not allowed")
    if len(array.shape) > MAX_DIMENSIONS or any(not 0 <= size <= MAX_BODY_BYTES for size in array.shape):
        raise ProtocolError("an array has a shape that is not allowed")
    return math.prod(array.shape) * DTYPE_SIZES[array.dtype]


def _arrays_of_message(message: Message) -> Iterator[Array]:
    if isinstance(message, Request):
        for value in (message.target, *message.args, message.kwargs, message.layout):
            yield from _arrays(value, 0)
    elif isinstance(message, Reply):
        yield from _arrays(message.value, 0)


def _arrays(value: Value, depth: int) -> Iterator[Array]:
    if depth > MAX_DEPTH:
        raise ProtocolError(f"values are nested deeper than {MAX_DEPTH}")
    if isinstance(value, Array):
        yield value
    elif isinstance(value, (Listing, Bundle)):
        for item in value.items:
            yield from _arrays(item, depth + 1)
    elif isinstance(value, Table):
        if len(value.keys) != len(value.values):
            raise ProtocolError("a dictionary has as many keys as values")
        for item in value.values:
            yield from _arrays(item, depth + 1)
