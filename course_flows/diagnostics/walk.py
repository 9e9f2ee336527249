"""Follow points through a transform, layer by layer, down to the leaves of every container."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from course_flows.transforms.base import Compose, Inverse, Transform
from course_flows.transforms.images import Flatten, MultiScale

__all__ = ["LayerError", "Visit", "walk"]

Walk = Generator["Visit", None, Tensor]


@dataclass(frozen=True)
class Visit:
    """One layer on the way of the points.

    Attributes:
        name: path of the layer, as ``get_submodule`` takes it.
        transform: the layer, in the direction in which it is used (an `Inverse` where it runs backwards).
        x: what comes in, ``(N, *event)``.
        z: what goes out.
        log_det: its log-determinant, ``(N)``.
    """

    name: str
    transform: Transform
    x: Tensor
    z: Tensor
    log_det: Tensor

    @property
    def kind(self) -> str:
        """Class of the layer."""
        inner = self.transform
        return f"Inverse({type(inner.transform).__name__})" if isinstance(inner, Inverse) else type(inner).__name__


class LayerError(Exception):
    """A layer raised an error; `name` is its path, ``__cause__`` the error."""

    def __init__(self, name: str, kind: str, error: Exception) -> None:
        super().__init__(f"{name} ({kind}) stopped with {type(error).__name__}: {error}")
        self.name = name


def walk(
    transform: Transform, x: Tensor, context: Tensor | None = None, name: str = "transform", backwards: bool = False
) -> Walk:
    """Yield a `Visit` for each leaf in the order in which points ``x (N, *event)`` meet it; return the output.

    Goes into `Compose`, `ReversibleCompose`, `MultiScale` (levels and priors), `Flatten` and `Inverse`; any other
    transform is a leaf. Raises `LayerError` where a leaf raises an error.
    """
    if isinstance(transform, Inverse):
        return (yield from walk(transform.transform, x, context, f"{name}.transform", not backwards))
    if isinstance(transform, Compose):
        parts = list(enumerate(transform))
        for k, part in reversed(parts) if backwards else parts:
            x = yield from walk(part, x, context, f"{name}.transforms.{k}", backwards)
        return x
    if isinstance(transform, Flatten):
        flat = x.flatten(-len(transform.shape))
        z = yield from walk(transform.transform, flat, context, f"{name}.transform", backwards)
        return z.unflatten(-1, transform.shape)
    if isinstance(transform, MultiScale):
        return (yield from (_walk_back if backwards else _walk_levels)(transform, x, context, name))
    leaf = Inverse(transform) if backwards else transform
    try:
        z, log_det = leaf(x, context)
    except Exception as error:
        raise LayerError(name, type(transform).__name__, error) from error
    yield Visit(name, leaf, x, z, log_det.reshape(len(x), -1).sum(dim=1))
    return z


def _walk_levels(transform: MultiScale, x: Tensor, context: Tensor | None, name: str) -> Walk:
    finished = []
    for k, level in enumerate(_transforms(transform.levels)):
        x = yield from walk(level, x, context, f"{name}.levels.{k}")
        if k < len(transform.levels) - 1:
            if len(transform.priors):
                x = yield from walk(_transforms(transform.priors)[k], x, context, f"{name}.priors.{k}")
            x, out = x.chunk(2, dim=-3)
            finished.append(out)
    return transform.join([*finished, x])


def _walk_back(transform: MultiScale, z: Tensor, context: Tensor | None, name: str) -> Walk:
    *finished, x = transform.split(z)
    for k in reversed(range(len(transform.levels))):
        if k < len(finished):
            x = torch.cat([x, finished[k]], dim=-3)
            if len(transform.priors):
                x = yield from walk(_transforms(transform.priors)[k], x, context, f"{name}.priors.{k}", True)
        x = yield from walk(_transforms(transform.levels)[k], x, context, f"{name}.levels.{k}", True)
    return x


def _transforms(modules: Any) -> list[Transform]:
    return list(modules)
