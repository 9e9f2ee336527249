"""What is measured: flows, networks and batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from autoregressive_peers import AutoregressiveStack
from candidates import Stack
from glow_peers import GlowStack
from torch import nn

from course_flows.conv_nets import ConvNet
from course_flows.nets import MLP, ResidualConvNet

__all__ = ["WORKLOADS", "small"]


def perceptron(*hidden: int) -> dict[str, Callable[[int, int], nn.Module]]:
    """Return builders of a ReLU network: plain, and the course's own."""

    def plain(a: int, b: int) -> nn.Module:
        layers: list[nn.Module] = []
        for inside, outside in pairwise([a, *hidden]):
            layers += [nn.Linear(inside, outside), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(hidden[-1], b))

    return {"net": plain, "own_net": lambda a, b: MLP(a, b, hidden, activation="relu")}


class Residual(nn.Module):
    """The network of `ResidualConvNet` in plain torch: no parametrization, no activation in place."""

    def __init__(self, a: int, b: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(a, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.skips = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(blocks + 1))
        self.leave = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, b, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.enter(x)
        out = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:]):
            h = h + block(h)
            out = out + skip(h)
        return self.leave(out)


def residual(channels: int, blocks: int) -> dict[str, Callable[[int, int], nn.Module]]:
    """Return builders of a residual network: plain, and the course's own."""
    return {
        "net": lambda a, b: Residual(a, b, channels, blocks),
        "own_net": lambda a, b: ResidualConvNet(a, b, channels=channels, blocks=blocks, weight_norm=False),
    }


def three_convolutions(channels: int) -> dict[str, Callable[[int, int], nn.Module]]:
    """Return builders of the network of Glow without normalizations: plain, and the course's own."""

    def plain(a: int, b: int) -> nn.Module:
        first, second = nn.Conv2d(a, channels, 3, padding=1), nn.Conv2d(channels, channels, 1)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(channels, b, 3, padding=1))

    return {"net": plain, "own_net": lambda a, b: ConvNet(a, b, channels, zero_init=False, normalize=False)}


WORKLOADS: dict[str, tuple[Any, dict[str, int]]] = {
    "Real NVP, 2-D, 8 couplings, MLP 2 x 128": (
        Stack((2,), 8, True, **perceptron(128, 128)),
        {"train": 512, "sample": 10_000, "log_prob": 10_000},
    ),
    "NICE, 784-D, 4 couplings, MLP 5 x 1000": (Stack((784,), 4, False, **perceptron(*[1000] * 5)), {"train": 200}),
    "Real NVP, 12 x 16 x 16, 6 couplings, residual 32 channels": (
        Stack((12, 16, 16), 6, True, **residual(channels=32, blocks=2)),
        {"train": 16, "sample": 16, "log_prob": 16},
    ),
    "Glow, 3 x 32 x 32, L = 3, K = 8, 128 channels": (
        GlowStack((3, 32, 32), 3, 8, **three_convolutions(128)),
        {"train": 16, "sample": 16, "log_prob": 16},
    ),
    "MAF, 43-D, 5 MADE 2 x 256": (
        AutoregressiveStack((43,), 5, (256, 256)),
        {"train": 256, "log_prob": 10_000, "sample": 1000},
    ),
    "MAF, 784-D, 5 MADE 1 x 1024": (AutoregressiveStack((784,), 5, (1024,)), {"train": 100, "sample": 16}),
    "IAF, 43-D, 5 MADE 2 x 256": (
        AutoregressiveStack((43,), 5, (256, 256), inverse=True),
        {"sample_and_log_prob": 10_000, "log_prob": 256},
    ),
}


# A check takes one backward pass for each value of a point, so it is made on smaller points: the code is the same.
def small(stack: Any) -> Any:
    """Return the same for the smallest points that it takes."""
    if isinstance(stack, AutoregressiveStack):
        return replace(stack, event=(6,) if stack.features < 256 else (256,))  # still large enough for strips
    if isinstance(stack, GlowStack):
        return replace(stack, event=(1, 2**stack.levels, 2**stack.levels))
    return replace(stack, event=(6,) if len(stack.event) == 1 else (4, 3, 3))
