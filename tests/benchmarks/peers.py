"""The same stack of couplings in each library, built the way its documentation shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import autoregressive_peers
import glow_peers
import torch
from candidates import Candidate, Stack, bare_networks, halves
from torch import Tensor, nn

__all__ = ["builders"]


def course_flows(stack: Stack) -> Candidate:
    """Build it with this course's package."""
    from course_flows.transforms import AdditiveCoupling, AffineCoupling, CouplingStack, channel_mask, half_mask

    mask = half_mask if len(stack.event) == 1 else channel_mask
    kind = AffineCoupling if stack.affine else AdditiveCoupling
    masks = [mask(stack.event[0], flip=not first) for first in halves(stack)]
    small = len(stack.event) == 1 and stack.affine
    flow = CouplingStack(map(kind, masks, stack.networks(own=True)), fused=small)
    return Candidate("course_flows", flow, flow, lambda z: flow.inverse(z)[0], stack.event)


def freia(stack: Stack) -> Candidate:
    """Build it with FrEIA, whose blocks are two couplings each."""
    from FrEIA.framework import SequenceINN
    from FrEIA.modules import GLOWCouplingBlock, NICECouplingBlock

    flow = SequenceINN(*stack.event)
    for _ in range(stack.couplings // 2):
        if stack.affine:
            flow.append(GLOWCouplingBlock, subnet_constructor=stack.net, clamp=2.0, clamp_activation="TANH")
        else:
            flow.append(NICECouplingBlock, subnet_constructor=stack.net)

    return Candidate("FrEIA", flow, flow, lambda z: flow(z, rev=True)[0], stack.event)


class WithContext(nn.Module):
    """The same network as nflows calls it: with a context."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        return self.net(x)


def nflows(stack: Stack) -> Candidate:
    """Build it with nflows."""
    from nflows.transforms import AdditiveCouplingTransform, AffineCouplingTransform, CompositeTransform

    kind = AffineCouplingTransform if stack.affine else AdditiveCouplingTransform
    index = torch.arange(stack.event[0])
    layers = []
    for first in halves(stack):
        moved = (index >= stack.half) if first else (index < stack.half)
        layers.append(kind(moved.int(), lambda a, b: WithContext(stack.net(a, b))))
    flow = CompositeTransform(layers)
    return Candidate("nflows", flow, flow, lambda z: flow.inverse(z)[0], stack.event)


def normflows(stack: Stack) -> Candidate:
    """Build it with normflows, whose couplings run from latent to data."""
    import normflows as nf

    layers = []
    for net in stack.networks():
        layers.append(nf.flows.AffineCouplingBlock(net, scale=stack.affine, scale_map="exp"))
        layers.append(nf.flows.Permute(stack.event[0], mode="swap"))
    flow = nn.ModuleList(layers)

    def encode(x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for layer in reversed(layers):
            x, log_det = layer.inverse(x)
            total = total + log_det
        return x, total

    def decode(z: Tensor) -> Tensor:
        for layer in layers:
            z, _ = layer(z)
        return z

    return Candidate("normflows", flow, encode, decode, stack.event)


def zuko(stack: Stack) -> Candidate:
    """Build it with zuko's coupling transform of vectors, the networks being the given ones."""
    from zuko.transforms import ComposedTransform, CouplingTransform, DependentTransform, MonotonicAffineTransform

    networks = nn.ModuleList(stack.networks())
    first_half = torch.arange(stack.event[0]) < stack.half

    def coupling(net: nn.Module, first: bool) -> CouplingTransform:
        def moved_by(kept: Tensor) -> DependentTransform:
            shift, scale = net(kept).unflatten(-1, (-1, 2)).unbind(-1)
            return DependentTransform(MonotonicAffineTransform(shift, scale), 1)

        return CouplingTransform(moved_by, first_half == first)

    flow = ComposedTransform(*map(coupling, networks, halves(stack)))
    return Candidate("zuko", networks, flow.call_and_ladj, flow.inv, stack.event)


def builders(stack: Any) -> Sequence[Callable[[Any], Candidate]]:
    """Return the builders of the limit and of every library that offers such a stack."""
    if isinstance(stack, glow_peers.GlowStack):
        return glow_peers.builders(stack)
    if isinstance(stack, autoregressive_peers.AutoregressiveStack):
        return autoregressive_peers.builders(stack)
    everywhere = [bare_networks, course_flows, freia, nflows, normflows]
    return [*everywhere, zuko] if len(stack.event) == 1 and stack.affine else everywhere
