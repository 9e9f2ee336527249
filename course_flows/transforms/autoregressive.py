"""Autoregressive flows: each coordinate is moved by an affine map that the coordinates before it choose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from course_flows.calls import is_watched
from course_flows.made import MADE
from course_flows.nets import ACTIVATIONS, ROWS_IN_CACHE
from course_flows.transforms.base import Compose, Inverse, Transform
from course_flows.transforms.coupling import Tanh
from course_flows.transforms.fused_autoregressive import fused_layers, layers_to_fuse, plain_layers
from course_flows.transforms.incremental import Solver

__all__ = ["AutoregressiveStack", "InverseAutoregressive", "MaskedAutoregressive"]

METHODS = ("incremental", "sequential", "fixed point")


class MaskedAutoregressive(Transform):
    r"""A layer of MAF, whose network looks at the data:

    .. math:: z_i = \big(x_i - \mu_i(x_{<i})\big)\, e^{-\alpha_i(x_{<i})}, \qquad \log|\det J| = -\sum_i \alpha_i.

    The Jacobian is triangular in the order of the network. ``forward`` takes one pass of the network. ``inverse`` needs
    :math:`x_{<i}` before it can find :math:`x_i = \mu_i + z_i e^{\alpha_i}`; there are three ways:

    * ``incremental``: every hidden unit is computed once, as soon as the inputs that it sees are known. All D steps
      together do the work of one pass. Exact. Where it cannot be had, ``sequential`` takes its place: under autograd,
      torch.func and forward-mode derivatives, for a network, layers or a bound with hooks or, but for a bound, a
      ``forward`` of their own, and for a bound with parameters or buffers.
    * ``sequential``: D passes, after pass i the first i coordinates are final. The readable reference. Exact.
    * ``fixed point``: passes from a start of zeros until nothing changes any more, at most D and one to see it: after
      pass i at least the first i coordinates are final, often all of them much earlier. Exact, and its own certificate:
      what is returned solves :math:`x_i = \mu_i + z_i e^{\alpha_i}` to the last bit. (Where torch.func hides the
      numbers, and for derivatives, which may change longer than the numbers, it takes all passes.)

    Points are ``(*batch, D)``, the log-determinant is ``(*batch)``; a context is as `MADE` has it.

    After an ``incremental`` inverse of few enough points a layer keeps its memory and packed weights for a next one of
    as many (some megabytes); other weights, masks, activations and bounds are seen. Copies and saved models go without.

    Arguments:
        net: a `MADE` with two parameters a value: first all raw :math:`\alpha`, then all :math:`\mu`.
        bound: largest :math:`|\alpha|`, by :math:`c \tanh(r / c)`; a module, which without parameters and buffers
            does the same to each number; or None for none.
        method: of ``inverse``; may be set later.

    Raises ValueError for another network or method, for points of another shape, and what `MADE` raises.

    >>> flow = MaskedAutoregressive(MADE(2, hidden=(8,)))
    >>> x = torch.tensor([[0.5, -1.0]])
    >>> z, log_det = flow(x)
    >>> torch.allclose(flow.inverse(z)[0], x, atol=1e-6)
    True

    Source: G. Papamakarios, T. Pavlakou and I. Murray, *Masked autoregressive flow for density estimation* (2017).
    """

    event_ndim = 1

    def __init__(self, net: MADE, bound: float | nn.Module | None = 5.0, method: str = "incremental") -> None:
        super().__init__()
        if not isinstance(net, MADE) or net.parameters_per_value != 2:
            found = f"one with {net.parameters_per_value}" if isinstance(net, MADE) else type(net).__name__
            raise ValueError(f"{type(self).__name__} expects a MADE with 2 parameters a value, found {found}")
        self.net = net
        self.bound = bound if isinstance(bound, nn.Module) else nn.Identity() if bound is None else Tanh(bound)
        self.method = method
        self._check_method()

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return _forwards([self], x, context, is_watched(self.net) or is_watched(self.bound))

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._check_method()
        self.check_features(z, self.net.features)
        self.net.check_context(context, z.shape[:-1])
        if self.method == "fixed point":
            return self._to_fixed_point(z, context)
        derived = torch.is_grad_enabled() or _in_torch_func() or forward_ad._current_level >= 0
        bound_by_place = bool([*self.bound.parameters(), *self.bound.buffers()])
        called = is_watched(self.net) or is_watched(self.bound) or plain_layers(self.net) is None
        if self.method == "sequential" or derived or bound_by_place or called:
            return self._one_by_one(z, context)
        kept = self.__dict__.pop("_solver", None)  # out of reach of other threads
        solver = kept if kept is not None and kept.fits(self.net, self.bound, z) else Solver(self.net, self.bound, z)
        found = solver.solve(z, context)
        if solver.is_worth_keeping:
            self._solver = solver
        return found

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()  # for copies and pickles
        state.pop("_solver", None)
        return state

    def _check_method(self) -> None:
        if self.method not in METHODS:
            expected = ", ".join(METHODS)
            raise ValueError(f"{type(self).__name__} expects a method of {expected}, found {self.method!r}")

    def _move_of(self, x: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        raw, mu = self.net(x, context).to(x.dtype).chunk(2, dim=-1)
        return self.bound(raw), mu

    def _one_by_one(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x, alpha = torch.zeros_like(z), torch.zeros_like(z)
        for place in self.net.order:
            alpha, mu = self._move_of(x, context)
            here = torch.arange(self.net.features, device=z.device) == place
            x = torch.where(here, mu + z * alpha.exp(), x)
        return x, alpha.sum(dim=-1)

    def _to_fixed_point(self, z: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor]:
        x = torch.zeros_like(z)
        for _ in range(self.net.features + 1):
            # what overflows while it is not final must not meet the zeros of a mask: zero times infinity is NaN
            alpha, mu = self._move_of(x.nan_to_num(0.0, 0.0, 0.0), context)
            before, x = x, mu + z * alpha.exp()
            derived = x.requires_grad or _in_torch_func() or forward_ad._current_level >= 0
            if not derived and torch.equal(before, x):
                break
        return x, alpha.sum(dim=-1)

    def extra_repr(self) -> str:
        return f"method={self.method!r}"


class InverseAutoregressive(Inverse):
    r"""A layer of IAF, whose network looks at the latent point: `MaskedAutoregressive` read backwards.

    .. math:: x_i = \big(z_i - \mu_i(z_{<i})\big)\, e^{-\alpha_i(z_{<i})}

    ``inverse``, which samples, takes one pass; ``forward`` needs z coordinate by coordinate. The paper writes
    :math:`x = \sigma \odot z + m` with :math:`\sigma = e^{-\alpha}` and :math:`m = -\mu e^{-\alpha}`: the same maps.

    Arguments: as in `MaskedAutoregressive`; the method is that of ``forward`` here. The layer that is read backwards is
    ``transform``.

    Source: D. P. Kingma et al., *Improved variational inference with inverse autoregressive flow* (2016).
    """

    def __init__(self, net: MADE, bound: float | nn.Module | None = 5.0, method: str = "incremental") -> None:
        super().__init__(MaskedAutoregressive(net, bound, method))


class AutoregressiveStack(Compose):
    """The same map as `Compose` of the layers, all of MAF or all of IAF.

    The direction that takes one pass of each network (``forward`` of MAF, ``inverse`` of IAF) is one step of autograd
    where all networks are plain ones of ReLUs with a number as bound; large batches without gradients are taken in
    parts, which stay in the cache from layer to layer.

    Arguments:
        layers: either one by one or as one iterable.

    Raises TypeError for other transforms.
    """

    def __init__(self, *layers: Transform | Iterable[Transform]) -> None:
        super().__init__(*layers)
        self.event_ndim = 1
        found = {type(t) for t in self}
        if found not in (set(), {MaskedAutoregressive}, {InverseAutoregressive}):
            names = ", ".join(sorted(kind.__name__ for kind in found))
            raise TypeError(
                "AutoregressiveStack expects layers that are all MaskedAutoregressive or all InverseAutoregressive, "
                f"found {names}"
            )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        layers = self._layers(MaskedAutoregressive)
        if not layers:
            return super().forward(x, context)
        return _forwards(layers, x, context, watched=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        layers = [t.transform for t in self._layers(InverseAutoregressive)]
        if not layers or any(type(t) is not MaskedAutoregressive for t in layers):
            return super().inverse(z, context)
        return _forwards(layers[::-1], z, context, watched=False)

    def _layers(self, kind: type[Any]) -> list[Any]:
        """Return the layers where all are of this kind, also those put in later, and nobody waits for their calls."""
        return [] if any(type(t) is not kind for t in self) or is_watched(self) else list(self)


def _forwards(
    layers: Sequence[MaskedAutoregressive], x: Tensor, context: Tensor | None, watched: bool
) -> tuple[Tensor, Tensor]:
    """Run layers one after the other, in one pass of each network; where somebody waits for calls, by calls."""
    for layer in layers:
        layer.check_features(x, layer.net.features)
    fused = None if watched else layers_to_fuse([(layer.net, layer.bound) for layer in layers], x, context)
    if fused is not None:
        z, log_det = fused_layers(fused, x.reshape(-1, x.shape[-1]))
        return z.reshape(x.shape), log_det.reshape(x.shape[:-1])

    def run(x: Tensor) -> tuple[Tensor, Tensor]:
        total = layers[0].zeros_like_batch(x)
        for layer in layers:
            alpha, mu = layer._move_of(x, context)
            x, total = (x - mu) * (-alpha).exp(), total - alpha.sum(dim=-1)
        return x, total

    batch = x.shape[:-1]
    large = context is None and x.device.type == "cpu" and batch.numel() > 2 * ROWS_IN_CACHE
    if torch.is_grad_enabled() or watched or not large or not all(map(_takes_point_by_point, layers)):
        return run(x)
    z, log_det = map(torch.cat, zip(*map(run, x.reshape(-1, x.shape[-1]).split(ROWS_IN_CACHE))))
    return z.reshape(x.shape), log_det.reshape(batch)


def _takes_point_by_point(layer: MaskedAutoregressive) -> bool:
    """Return whether a layer treats each point alone, as far as its parts are known: a batch may be cut then."""
    known = type(layer.net.activation) in ACTIVATIONS.values() and type(layer.bound) in (Tanh, nn.Identity)
    return known and plain_layers(layer.net) is not None


def _in_torch_func() -> bool:
    """Return whether torch.func looks on: numbers cannot be read then, and nothing can be written in place."""
    return not torch.compiler.is_compiling() and torch._C._functorch.maybe_current_level() is not None
