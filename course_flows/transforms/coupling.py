"""Coupling layers: one part of a point stays as it is and says how the other part is moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from course_flows.nets import MLP
from course_flows.transforms.base import Transform, sum_event
from course_flows.transforms.masks import half_mask
from course_flows.transforms.partition import Partition

__all__ = ["AdditiveCoupling", "AffineCoupling", "Coupling", "LearnedTanh", "Tanh"]

Law = Callable[[Tensor, Tensor, Tensor | None], tuple[Tensor, Tensor | None]]


class Coupling(Transform):
    r"""The general coupling law: keep :math:`x_a`, move :math:`x_b` by an invertible map that :math:`x_a` chooses:

    .. math:: z_a = x_a, \qquad z_b = g(x_b;\, m(x_a)).

    The Jacobian is block triangular, so that its determinant is that of :math:`\partial z_b / \partial x_b`. Both
    directions cost one pass of the network :math:`m`, which may be any network: nobody inverts it.

    A subclass says what :math:`g` is: how many parameters a moved value takes (`parameters_per_value`), the law
    `move` and its inverse `move_back`. For pixels these see the whole image, and parameters go through
    ``self.partition.moved_only`` so that kept pixels stay as they are.

    Arguments:
        mask: bool, True for what is kept. Shape ``(D,)`` for vectors; ``(C, 1, 1)`` for channels and ``(1, H, W)`` or
            ``(C, H, W)`` for pixels of images; see `course_flows.transforms.masks`.
        net: from what is kept to the parameters of what is moved. For a vector ``(*batch, A)`` to ``(*batch, P B)``
            and for channels ``(*batch, A, H, W)`` to ``(*batch, P B, H, W)`` with P `parameters_per_value`, A values
            kept and B moved. For pixels the whole image with zeros where it is moved, ``(*batch, C, H, W)`` to
            ``(*batch, P C, H, W)``; what it returns for kept pixels is not used. A context is handed on as
            ``net(kept, context)``.

    Source: L. Dinh, D. Krueger and Y. Bengio, *NICE* (2015), section 3.2.
    """

    parameters_per_value: int

    def __init__(self, mask: Tensor | Sequence[bool], net: nn.Module) -> None:
        super().__init__()
        self.partition = Partition(mask)
        self.event_ndim = self.partition.mask.dim()
        self.net = net

    @property
    def mask(self) -> Tensor:
        """True for what is kept."""
        return self.partition.mask

    def move(self, moved: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        """Apply :math:`g`; return what it gives and its log-slope, value by value (None where it is zero)."""
        raise NotImplementedError(f"{type(self).__name__} does not define move (data to latent)")

    def move_back(self, moved: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Tensor | None]:
        """Apply the inverse of :math:`g`; return what it gives and the log-slope of the inverse, value by value."""
        raise NotImplementedError(f"{type(self).__name__} does not define move_back (latent to data)")

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._run(x, context, self.transform_part)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._run(z, context, self.restore_part)

    def transform_part(
        self, kept: Tensor, moved: Tensor, context: Tensor | None = None
    ) -> tuple[Tensor, Tensor | None]:
        """Return what becomes of `moved` from data to latent and its log-slopes (None: zero); `kept` stays."""
        return self.move(moved, self._parameters_for(kept, moved, context))

    def restore_part(self, kept: Tensor, moved: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Return what becomes of `moved` from latent to data and its log-slopes (None: zero); `kept` stays."""
        return self.move_back(moved, self._parameters_for(kept, moved, context))

    def _run(self, x: Tensor, context: Tensor | None, move_part: Law) -> tuple[Tensor, Tensor]:
        self.partition.check(x, type(self).__name__)
        kept, moved = self.partition.split(x)
        moved, log_slope = move_part(kept, moved, context)
        log_det = self.zeros_like_batch(x) if log_slope is None else sum_event(log_slope, self.event_ndim)
        return self.partition.join(kept, moved), log_det

    def _parameters_for(self, kept: Tensor, moved: Tensor, context: Tensor | None) -> tuple[Tensor, ...]:
        out = self.net(kept) if context is None else self.net(kept, context)
        return self._cut(out.to(kept.dtype), moved)  # mixed precision ends at the network: sums stay exact

    def _cut(self, out: Tensor, moved: Tensor) -> tuple[Tensor, ...]:
        """Cut what the network returned into one tensor for each parameter of a moved value."""
        dim, count = -self.event_ndim, self.parameters_per_value
        parts = out.chunk(count, dim)
        if len(parts) != count or any(part.shape != moved.shape for part in parts):
            expected = [n * count if i == moved.dim() + dim else n for i, n in enumerate(moved.shape)]
            name = type(self).__name__
            raise ValueError(f"{name} expects its net to return shape {tuple(expected)}, found {tuple(out.shape)}")
        return parts


class AdditiveCoupling(Coupling):
    r"""Keep :math:`x_a` and shift :math:`x_b`: :math:`z_b = x_b + t(x_a)`. It keeps volume: the log-determinant is 0.

    Arguments: as in `Coupling`; the net returns one number for each moved value.

    >>> coupling = AdditiveCoupling.mlp(4)
    >>> z, log_det = coupling(torch.randn(3, 4))
    >>> log_det
    tensor([0., 0., 0.])

    Source: L. Dinh, D. Krueger and Y. Bengio, *NICE* (2015), section 3.2.
    """

    parameters_per_value = 1

    @classmethod
    def mlp(cls, features: int, hidden: Sequence[int] = (64, 64), flip: bool = False) -> AdditiveCoupling:
        """Keep the first half of `features` coordinates (the second with `flip`); the network is an `MLP`."""
        mask = half_mask(features, flip)
        kept = int(mask.sum())
        return cls(mask, MLP(kept, features - kept, hidden, zero_init=True))

    def move(self, moved: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, None]:
        return moved + self.partition.moved_only(parameters[0]), None

    def move_back(self, moved: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, None]:
        return moved - self.partition.moved_only(parameters[0]), None


class AffineCoupling(Coupling):
    r"""Keep :math:`x_a` and move :math:`x_b` by an affine map whose parameters :math:`x_a` gives:

    .. math:: z_a = x_a, \qquad z_b = x_b \odot e^{s(x_a)} + t(x_a), \qquad \log|\det J| = \sum s(x_a).

    One network gives both. Its raw scale :math:`r` is bounded smoothly, by default :math:`s = c \tanh(r / c)`, so that
    :math:`|s| < c`; the log-determinant uses the bounded :math:`s` and is exact.

    Arguments:
        mask, net: as in `Coupling`; the net returns two numbers for each moved value: first all raw scales, then all
            shifts.
        bound: :math:`c`, the largest log-scale; or a module from raw scale to log-scale such as `LearnedTanh`; or None
            for :math:`s = r`, which overflows sooner or later.

    Source: L. Dinh, J. Sohl-Dickstein and S. Bengio, *Density estimation using Real NVP* (2017), section 3.2.
    """

    parameters_per_value = 2

    def __init__(self, mask: Tensor | Sequence[bool], net: nn.Module, bound: float | nn.Module | None = 3.0) -> None:
        super().__init__(mask, net)
        if bound is None:
            bound = nn.Identity()
        self.bound = bound if isinstance(bound, nn.Module) else Tanh(bound)

    @classmethod
    def mlp(
        cls,
        features: int,
        hidden: Sequence[int] = (64, 64),
        flip: bool = False,
        bound: float | nn.Module | None = 3.0,
    ) -> AffineCoupling:
        """Keep the first half of `features` coordinates (the second with `flip`); the network is an `MLP`."""
        mask = half_mask(features, flip)
        kept = int(mask.sum())
        return cls(mask, MLP(kept, 2 * (features - kept), hidden, zero_init=True), bound)

    def move(self, moved: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        raw, shift = parameters
        log_scale = self.partition.moved_only(self.bound(raw))
        return torch.addcmul(self.partition.moved_only(shift), moved, log_scale.exp()), log_scale

    def move_back(self, moved: Tensor, parameters: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        raw, shift = parameters
        log_scale = -self.partition.moved_only(self.bound(raw))
        return (moved - self.partition.moved_only(shift)) * log_scale.exp(), log_scale


class Tanh(nn.Module):
    r"""Bound a log-scale: :math:`s = c \tanh(r / c)`, the identity near 0 and never beyond :math:`\pm c`."""

    def __init__(self, limit: float) -> None:
        super().__init__()
        if not limit > 0:
            raise ValueError(f"Tanh expects a positive limit, found {limit}")
        self.limit = limit

    def forward(self, raw: Tensor) -> Tensor:
        return self.limit * torch.tanh(raw / self.limit)

    def extra_repr(self) -> str:
        return f"limit={self.limit}"


class LearnedTanh(nn.Module):
    r"""Bound a log-scale by a learned limit a value: :math:`s_i = c_i \tanh r_i`.

    Arguments:
        shape: of the limits, broadcast against the raw scales: ``(B,)`` for vectors, ``(C, 1, 1)`` for images.
        initial: where every :math:`c_i` starts.

    Source: L. Dinh, J. Sohl-Dickstein and S. Bengio, *Density estimation using Real NVP* (2017), section 4.1.
    """

    def __init__(self, shape: int | Sequence[int], initial: float = 1.0) -> None:
        super().__init__()
        self.limit = nn.Parameter(torch.full((shape,) if isinstance(shape, int) else tuple(shape), float(initial)))

    def forward(self, raw: Tensor) -> Tensor:
        return self.limit * torch.tanh(raw)

    def extra_repr(self) -> str:
        return f"shape={tuple(self.limit.shape)}"
