"""What is measured: one interface for every library, and the bare networks as the limit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Candidate", "Stack", "bare_networks", "normal_log_prob"]


@dataclass
class Candidate:
    """A flow of one library.

    Attributes:
        library: its name.
        module: holds every parameter.
        encode: data to latent and log-determinant.
        decode: latent to data.
        event: shape of a point.
        is_flow: False for the limit.
        draw: latent to data and log-determinant, for flows whose points and densities come from one pass.
        left_out: how many weights that are always zero the library does not store, where others do.
    """

    library: str
    module: nn.Module
    encode: Callable[[Tensor], tuple[Tensor, Tensor]]
    decode: Callable[[Tensor], Tensor]
    event: tuple[int, ...]
    is_flow: bool = True
    draw: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
    left_out: int = 0

    def log_prob(self, x: Tensor) -> Tensor:
        """Return the log-density under a standard normal base: the same few operations for every library."""
        z, log_det = self.encode(x)
        return normal_log_prob(z) + log_det

    def sample(self, count: int) -> Tensor:
        """Draw points: noise of the same kind for every library, then its own inverse."""
        return self.decode(self.noise(count))

    def sample_and_log_prob(self, count: int) -> tuple[Tensor, Tensor]:
        """Draw points and score them, in one pass where the library can."""
        assert self.draw is not None
        z = self.noise(count)
        x, log_det = self.draw(z)
        return x, normal_log_prob(z) - log_det

    def noise(self, count: int) -> Tensor:
        """Draw latent points."""
        return torch.randn(count, *self.event, dtype=next(self.module.parameters()).dtype)

    def parameters(self) -> int:
        """Count what is trained, zeros under masks included, whether they are stored or not."""
        return self.left_out + sum(p.numel() for p in self.module.parameters() if p.requires_grad)


@dataclass(frozen=True)
class Stack:
    """A stack of couplings that keep the first and the second half in turn (of the coordinates or of the channels).

    Attributes:
        event: shape of a point.
        couplings: how many; an even number.
        affine: affine couplings, else additive ones.
        net: builds the network of a coupling from the sizes of its input and output (coordinates or channels), in
            plain torch.
        own_net: builds the same network with `course_flows.nets`.
    """

    event: tuple[int, ...]
    couplings: int
    affine: bool
    net: Callable[[int, int], nn.Module]
    own_net: Callable[[int, int], nn.Module]

    parameters_beside_networks = 0

    @property
    def half(self) -> int:
        """Size of each half."""
        return self.event[0] // 2

    def networks(self, own: bool = False) -> list[nn.Module]:
        """Build the networks of all couplings."""
        net = self.own_net if own else self.net
        return [net(self.half, self.half * (2 if self.affine else 1)) for _ in range(self.couplings)]


def normal_log_prob(z: Tensor) -> Tensor:
    """Return the log-density of a standard normal, ``(batch)``."""
    flat = z.flatten(1)
    return -0.5 * flat.square().sum(dim=1) - 0.5 * flat.shape[1] * math.log(2 * math.pi)


def bare_networks(stack: Stack) -> Candidate:
    """Return the limit: the networks of all couplings, each run once on half of the point, and nothing else."""
    networks = nn.ModuleList(stack.networks())

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        half = x[:, : stack.half]
        total = x.new_zeros(len(x))
        for net in networks:
            total = total + net(half).flatten(1).sum(dim=1)
        return x, total

    return Candidate("limit", networks, run, lambda z: run(z)[1], stack.event, is_flow=False)


def halves(stack: Stack) -> Sequence[bool]:
    """Say for each coupling whether it keeps the first half."""
    return [k % 2 == 0 for k in range(stack.couplings)]
