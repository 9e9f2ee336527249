"""The same Glow in each library: levels of ActNorm, 1 x 1 convolution and affine coupling, half factored out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from candidates import Candidate
from torch import Tensor, nn

__all__ = ["GlowStack", "builders"]


@dataclass(frozen=True)
class GlowStack:
    """The levels of a Glow with a standard normal as the prior of everything.

    Attributes:
        event: shape of an image, height and width divisible by ``2^levels``.
        levels, steps: L and K of the paper.
        net: builds the network of a coupling from the channels of its input and output, in plain torch.
        own_net: builds the same network with `course_flows.conv_nets`.
    """

    event: tuple[int, ...]
    levels: int
    steps: int
    net: Callable[[int, int], nn.Module]
    own_net: Callable[[int, int], nn.Module]

    @property
    def parameters_beside_networks(self) -> int:
        """How many parameters a library may spend on normalizations and convolutions; two whole matrices at most."""
        return self.steps * sum(2 * c * c + 4 * c for c, *_ in self.sizes)

    @property
    def sizes(self) -> list[tuple[int, int, int]]:
        """Shapes of the images that the steps of each level see."""
        channels, height, width = self.event
        return [(channels * 2 ** (k + 2), height >> (k + 1), width >> (k + 1)) for k in range(self.levels)]


def bare_networks(stack: GlowStack) -> Candidate:
    """Return the limit: the networks of all couplings, each run once on half of the channels, and nothing else."""
    networks = nn.ModuleList(nn.ModuleList(stack.net(c // 2, c) for _ in range(stack.steps)) for c, *_ in stack.sizes)

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for nets, (c, height, width) in zip(networks, stack.sizes):
            half = x.flatten(1)[:, : c // 2 * height * width].reshape(len(x), c // 2, height, width)
            for net in nets:
                total = total + net(half).flatten(1).sum(dim=1)
        return x, total

    return Candidate("limit", networks, run, lambda z: run(z)[1], stack.event, is_flow=False)


def course_flows(stack: GlowStack) -> Candidate:
    """Build it with this course's package."""
    from course_flows.models.flow_steps import FlowSteps
    from course_flows.transforms import (
        ActNorm,
        AffineCoupling,
        Compose,
        Conv1x1,
        FlowStep,
        Inverse,
        MultiScale,
        Squeeze,
        channel_mask,
    )

    def step(c: int, seed: int) -> FlowStep:
        coupling = AffineCoupling(channel_mask(c), stack.own_net(c // 2, c))
        return FlowStep(ActNorm(c, event_ndim=3), Conv1x1(c, "lu", seed), coupling)

    levels = [Compose(Squeeze(), FlowSteps(step(c, k) for k in range(stack.steps))) for c, *_ in stack.sizes]
    levels[-1] = Compose(*levels[-1], Inverse(Squeeze()))
    flow = MultiScale(levels)
    return Candidate("course_flows", flow, flow, lambda z: flow.inverse(z)[0], stack.event)


def freia(stack: GlowStack) -> Candidate:
    """Build it with FrEIA, whose convolution is a fixed permutation, so that it has less to do."""
    from FrEIA.framework import SequenceINN
    from FrEIA.modules import AllInOneBlock, IRevNetDownsampling

    levels = nn.ModuleList()
    for c, height, width in stack.sizes:
        level = SequenceINN(c // 4, 2 * height, 2 * width)
        level.append(IRevNetDownsampling)
        for _ in range(stack.steps):
            level.append(AllInOneBlock, subnet_constructor=stack.net, affine_clamping=2.0)
        levels.append(level)
    return in_levels("FrEIA", levels, lambda level, x: level(x), lambda level, z: level(z, rev=True)[0], stack)


def nflows(stack: GlowStack) -> Candidate:
    """Build it with nflows."""
    from nflows import transforms
    from peers import WithContext

    levels = nn.ModuleList()
    for c, *_ in stack.sizes:
        moved = (torch.arange(c) >= c // 2).int()
        layers: list[nn.Module] = [transforms.SqueezeTransform()]
        for _ in range(stack.steps):
            layers += [
                transforms.ActNorm(c),
                transforms.OneByOneConvolution(c),
                transforms.AffineCouplingTransform(moved, lambda a, b: WithContext(stack.net(a, b))),
            ]
        levels.append(transforms.CompositeTransform(layers))
    return in_levels("nflows", levels, lambda level, x: level(x), lambda level, z: level.inverse(z)[0], stack)


def normflows(stack: GlowStack) -> Candidate:
    """Build it with normflows, whose blocks run from latent to data."""
    import normflows as nf

    levels = nn.ModuleList()
    for c, *_ in stack.sizes:
        layers: list[nn.Module] = [nf.flows.Squeeze()]
        for _ in range(stack.steps):
            layers += [
                nf.flows.ActNorm((c, 1, 1)),
                nf.flows.Invertible1x1Conv(c, use_lu=True),
                nf.flows.AffineCouplingBlock(stack.net(c // 2, c), scale_map="exp"),
            ]
        levels.append(nn.ModuleList(layers))

    def encode(level: nn.ModuleList, x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for layer in level:
            x, log_det = layer.inverse(x)
            total = total + log_det
        return x, total

    def decode(level: nn.ModuleList, z: Tensor) -> Tensor:
        for layer in reversed(level):
            z, _ = layer(z)
        return z

    return in_levels("normflows", levels, encode, decode, stack)


def in_levels(
    library: str,
    levels: nn.ModuleList,
    encode: Callable[..., tuple[Tensor, Tensor]],
    decode: Callable[..., Tensor],
    stack: GlowStack,
) -> Candidate:
    """Put the levels of a library together, in the way that costs least: latents of all levels side by side."""
    kept = [(c // 2, height, width) for c, height, width in stack.sizes[:-1]]
    shapes: list[Sequence[int]] = [*kept, stack.sizes[-1]]
    counts = [torch.Size(shape).numel() for shape in shapes]

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        total, finished = x.new_zeros(len(x)), []
        for k, level in enumerate(levels):
            x, log_det = encode(level, x)
            total = total + log_det
            if k < len(levels) - 1:
                x, out = x.chunk(2, dim=1)
                finished.append(out.flatten(1))
        return torch.cat([*finished, x.flatten(1)], dim=1), total

    def back(z: Tensor) -> Tensor:
        *finished, x = (part.reshape(-1, *shape) for part, shape in zip(z.flatten(1).split(counts, dim=1), shapes))
        for k in reversed(range(len(levels))):
            if k < len(levels) - 1:
                x = torch.cat([x, finished[k]], dim=1)
            x = decode(levels[k], x)
        return x

    return Candidate(library, levels, run, back, stack.event)


def builders(stack: GlowStack) -> list[Callable[[GlowStack], Candidate]]:
    """Return the builders of the limit and of every library that offers a Glow."""
    return [bare_networks, course_flows, freia, nflows, normflows]
