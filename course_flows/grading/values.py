"""Python values to wire values and back: numbers, text, tensors and containers of these."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from course_flows.grading.protocol import (
    DTYPE_SIZES,
    Array,
    Bound,
    Bundle,
    Listing,
    Opaque,
    ProtocolError,
    Ref,
    Table,
    Value,
)

__all__ = ["Packer", "Unpacker"]

MAX_DEPTH = 16
TORCH_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in DTYPE_SIZES}
NAMES = {dtype: name for name, dtype in TORCH_DTYPES.items()}


class Packer:
    """Turns values into wire values and collects the bytes of their tensors in ``bodies``.

    ``other`` is asked about every value that is neither a number, text, a tensor nor a container.
    """

    def __init__(self, other: Callable[[Any], Value]) -> None:
        self.bodies: list[memoryview] = []
        self._other = other

    def pack(self, value: Any, depth: int = 0) -> Value:
        """Return the wire value of ``value``."""
        if depth > MAX_DEPTH:
            raise ProtocolError(f"values are nested deeper than {MAX_DEPTH}")
        kind = type(value)
        if value is None or kind in (bool, int, float, str):
            return value
        if kind is Tensor or kind is torch.nn.Parameter:
            return self._tensor(value)
        if kind is list:
            return Listing([self.pack(item, depth + 1) for item in value])
        if issubclass(kind, tuple):  # a named tuple too, read without what its class makes of iteration
            return Bundle([self.pack(item, depth + 1) for item in tuple.__iter__(value)])
        if issubclass(kind, dict) and all(type(key) is str for key in value):
            return Table(list(value), [self.pack(item, depth + 1) for item in value.values()])
        return self._other(value)

    def _tensor(self, value: Tensor) -> Value:
        if value.dtype not in NAMES or value.layout != torch.strided or value.device.type != "cpu":
            return Opaque(f"tensor of {value.dtype}, {value.layout}, on {value.device.type}")
        plain = value.detach().resolve_conj().resolve_neg().contiguous()
        self.bodies.append(plain.numpy().reshape(-1).view(np.uint8).data)
        return Array(NAMES[value.dtype], list(value.shape))


class Unpacker:
    """Turns wire values back; ``views`` are the bytes of the arrays in order of appearance."""

    def __init__(self, views: list[memoryview], ref: Callable[[int], Any]) -> None:
        self._views: Iterator[memoryview] = iter(views)
        self._ref = ref

    def unpack(self, value: Value) -> Any:
        """Return the Python value of a wire value; an ``Opaque`` stays what it is."""
        if isinstance(value, Array):
            return self._tensor(value)
        if isinstance(value, Ref):
            return self._ref(value.number)
        if isinstance(value, Bound):
            return getattr(self._ref(value.number), value.name)
        if isinstance(value, Listing):
            return [self.unpack(item) for item in value.items]
        if isinstance(value, Bundle):
            return tuple(self.unpack(item) for item in value.items)
        if isinstance(value, Table):
            return dict(zip(value.keys, [self.unpack(item) for item in value.values]))
        return value

    def _tensor(self, value: Array) -> Tensor:
        view = next(self._views)
        if value.dtype == "bool":
            data = np.frombuffer(view, dtype=np.uint8) != 0
        else:
            data = np.frombuffer(view, dtype=value.dtype).copy()
        return torch.from_numpy(data).reshape(value.shape)
