"""The same MAF or IAF in each library: masked networks, whose orders are reversed in turn, and affine maps.

Every library bounds the scale in its own way; nothing normalizes. Two libraries are helped before they are timed:
normflows' network without residual blocks lacks the activation after its first layer, and zuko's masks are booleans,
which are slow to multiply by: they become numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from candidates import Candidate
from torch import Tensor, nn

__all__ = ["AutoregressiveStack", "builders"]

Map = Callable[[Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class AutoregressiveStack:
    """Layers of an affine map that a masked network of ReLU chooses, the second, fourth, … in reversed order.

    Attributes:
        event: shape of a point, ``(D,)``.
        layers: how many.
        hidden: sizes of the hidden layers of each network, all equal.
        inverse: run the layers backwards: IAF, else MAF.
    """

    event: tuple[int, ...]
    layers: int
    hidden: tuple[int, ...]
    inverse: bool = False

    parameters_beside_networks = 0

    @property
    def features(self) -> int:
        """D."""
        return self.event[0]

    def order(self, k: int) -> Tensor:
        """The coordinates in the order of layer k."""
        forwards = torch.arange(self.features)
        return forwards.flip(0) if k % 2 else forwards

    def candidate(self, library: str, module: nn.Module, one_pass: Map, back: Map, left_out: int = 0) -> Candidate:
        """Return the candidate of a library from what takes one pass of each network and from the way back."""
        if self.inverse:
            return Candidate(library, module, back, lambda z: one_pass(z)[0], self.event, True, one_pass, left_out)
        return Candidate(library, module, one_pass, lambda z: back(z)[0], self.event, left_out=left_out)


def in_turn(maps: Sequence[Map], x: Tensor) -> tuple[Tensor, Tensor]:
    """Run maps one after the other; return the last output and the sum of the log-determinants."""
    total = x.new_zeros(len(x))
    for apply in maps:
        x, log_det = apply(x)
        total = total + log_det
    return x, total


def bare_networks(stack: AutoregressiveStack) -> Candidate:
    """Return the limit: dense networks of the same sizes, each run once, and nothing else."""
    sizes = [stack.features, *stack.hidden]

    def network() -> nn.Module:
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], 2 * stack.features))

    networks = nn.ModuleList(network() for _ in range(stack.layers))

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        total = x.new_zeros(len(x))
        for net in networks:
            total = total + net(x).sum(dim=1)
        return x, total

    return Candidate("limit", networks, run, lambda z: run(z)[1], stack.event, is_flow=False, draw=run)


def course_flows(stack: AutoregressiveStack) -> Candidate:
    """Build it with this course's package, which does not store the zeros of large masked layers."""
    from course_flows.masked_linear import StripedLinear
    from course_flows.models import iaf, maf

    options = {"layers": stack.layers, "hidden": stack.hidden, "zero_init": False}
    flow = iaf(stack.features, **options) if stack.inverse else maf(stack.features, norm=None, **options)
    striped = [layer for layer in flow.modules() if isinstance(layer, StripedLinear)]
    left_out = sum(layer.out_features * layer.in_features - len(layer.weight) for layer in striped)
    encode, decode = flow.transform, flow.transform.inverse
    return stack.candidate("course_flows", flow, *((decode, encode) if stack.inverse else (encode, decode)), left_out)


def nflows(stack: AutoregressiveStack) -> Candidate:
    """Build it with nflows, which knows one order and reverses the coordinates in between."""
    from nflows.transforms import CompositeTransform, MaskedAffineAutoregressiveTransform, ReversePermutation

    layers: list[nn.Module] = []
    for k in range(stack.layers):
        layers += [ReversePermutation(stack.features)] if k else []
        layers.append(
            MaskedAffineAutoregressiveTransform(
                stack.features, stack.hidden[0], num_blocks=len(stack.hidden) - 1, use_residual_blocks=False
            )
        )
    flow = CompositeTransform(layers)
    return stack.candidate("nflows", flow, flow, flow.inverse)


def normflows(stack: AutoregressiveStack) -> Candidate:
    """Build it with normflows, with the activation that its first layer lacks, and reversals in between."""
    import normflows as nf

    layers = nn.ModuleList()
    for _ in range(stack.layers):
        layer = nf.flows.MaskedAffineAutoregressive(
            stack.features, stack.hidden[0], num_blocks=len(stack.hidden) - 1, use_residual_blocks=False
        )
        network = layer.autoregressive_net
        network.initial_layer = nn.Sequential(network.initial_layer, nn.ReLU())
        layers.append(layer)

    def reversal(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.flip(1), x.new_zeros(len(x))

    def there(x: Tensor) -> tuple[Tensor, Tensor]:
        return in_turn([reversal, *(f for layer in layers for f in (layer, reversal))][1:-1], x)

    def back(z: Tensor) -> tuple[Tensor, Tensor]:
        return in_turn([f for layer in reversed(layers) for f in (layer.inverse, reversal)][:-1], z)

    return stack.candidate("normflows", layers, there, back)


def pyro(stack: AutoregressiveStack) -> Candidate:
    """Build it with pyro, which remembers the last point that it has seen: so that each pass starts from a copy."""
    from pyro.distributions.transforms import AffineAutoregressive
    from pyro.nn import AutoRegressiveNN

    layers = nn.ModuleList(
        AffineAutoregressive(AutoRegressiveNN(stack.features, list(stack.hidden), permutation=stack.order(k)))
        for k in range(stack.layers)
    )

    def there(layer: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
        z = layer(x)
        return z, layer.log_abs_det_jacobian(x, z)

    def back(layer: nn.Module, z: Tensor) -> tuple[Tensor, Tensor]:
        x = layer.inv(z)
        return x, -layer.log_abs_det_jacobian(x, z)

    return stack.candidate(
        "pyro",
        layers,
        lambda x: in_turn([partial(there, layer) for layer in layers], x.clone()),
        lambda z: in_turn([partial(back, layer) for layer in reversed(layers)], z.clone()),
    )


def zuko(stack: AutoregressiveStack) -> Candidate:
    """Build it with zuko, with masks of numbers."""
    from zuko.flows import MaskedAutoregressiveTransform
    from zuko.lazy import LazyComposedTransform

    flow = LazyComposedTransform(
        *(
            MaskedAutoregressiveTransform(stack.features, order=stack.order(k), hidden_features=stack.hidden)
            for k in range(stack.layers)
        )
    )
    for layer in flow.modules():
        if isinstance(getattr(layer, "mask", None), Tensor):
            layer.mask = layer.mask.to(torch.get_default_dtype())  # follows the weights from here on
    found = stack.candidate("zuko", flow, lambda x: flow().call_and_ladj(x), lambda z: flow().inv.call_and_ladj(z))
    return found if stack.inverse else replace(found, decode=lambda z: flow().inv(z))  # without one more pass


def builders(stack: AutoregressiveStack) -> list[Callable[[AutoregressiveStack], Candidate]]:
    """Return the builders of the limit and of every library that offers such a stack."""
    return [bare_networks, course_flows, nflows, normflows, pyro, zuko]
