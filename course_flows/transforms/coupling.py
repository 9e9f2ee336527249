"""Coupling layers: one part of a vector stays as it is and says how the other part is moved."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_flows.nets import MLP
from course_flows.transforms.base import Transform

__all__ = ["AffineCoupling"]


class AffineCoupling(Transform):
    r"""Keep :math:`x_a` and move :math:`x_b` by an affine map whose parameters :math:`x_a` gives:

    .. math:: z_a = x_a, \qquad z_b = x_b \odot e^{s(x_a)} + t(x_a), \qquad \log|\det J| = \sum s(x_a).

    One network gives both. Its raw scale :math:`r` is bounded smoothly, :math:`s = c \tanh(r / c)`, so that
    :math:`|s| < c`; the log-determinant uses the bounded :math:`s` and is exact.
    Both directions cost one pass of the network; the network itself is never inverted.

    Arguments:
        mask: bool ``(D,)``, True for the coordinates that are kept.
        net: maps the kept coordinates ``(*batch, A)`` to raw scales and shifts ``(*batch, 2 B)``, with A + B = D.
        bound: :math:`c`, the largest log-scale.

    Source: L. Dinh, J. Sohl-Dickstein and S. Bengio, *Density estimation using Real NVP* (2017), section 3.2.
    """

    kept: Tensor
    moved: Tensor
    back: Tensor

    def __init__(self, mask: Tensor | Sequence[bool], net: nn.Module, bound: float = 3.0) -> None:
        super().__init__()
        mask = torch.as_tensor(mask)
        if mask.dtype != torch.bool or mask.dim() != 1 or mask.all() or not mask.any():
            raise ValueError(f"AffineCoupling expects a bool mask that keeps some and moves some, found {mask}")
        kept, moved = mask.nonzero()[:, 0], (~mask).nonzero()[:, 0]
        self.register_buffer("kept", kept)
        self.register_buffer("moved", moved)
        self.register_buffer("back", torch.cat([kept, moved]).argsort())
        if not bound > 0:
            raise ValueError(f"AffineCoupling expects a positive bound, found {bound}")
        self.net = net
        self.bound = bound

    @classmethod
    def mlp(
        cls, features: int, hidden: Sequence[int] = (64, 64), flip: bool = False, bound: float = 3.0
    ) -> AffineCoupling:
        """Keep the first half of `features` coordinates (the second with `flip`); the network is an `MLP`."""
        mask = torch.arange(features) < features // 2
        mask = ~mask if flip else mask
        kept = int(mask.sum())
        return cls(mask, MLP(kept, 2 * (features - kept), hidden, zero_init=True), bound)

    def _scale_and_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        out = self.net(kept).to(kept.dtype)  # mixed precision ends at the network: sums stay exact
        expected = (*kept.shape[:-1], 2 * len(self.moved))
        if out.shape != expected:
            raise ValueError(f"AffineCoupling expects its net to return shape {expected}, found {tuple(out.shape)}")
        raw, shift = out.chunk(2, dim=-1)
        return self.bound * torch.tanh(raw / self.bound), shift

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(x, len(self.back))
        kept, moved = x.index_select(-1, self.kept), x.index_select(-1, self.moved)
        log_scale, shift = self._scale_and_shift(kept)
        z = torch.cat([kept, moved * log_scale.exp() + shift], dim=-1)
        return z.index_select(-1, self.back), log_scale.sum(dim=-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check_features(z, len(self.back))
        kept, moved = z.index_select(-1, self.kept), z.index_select(-1, self.moved)
        log_scale, shift = self._scale_and_shift(kept)
        x = torch.cat([kept, (moved - shift) * (-log_scale).exp()], dim=-1)
        return x.index_select(-1, self.back), -log_scale.sum(dim=-1)

    def extra_repr(self) -> str:
        return f"kept={self.kept.tolist()}, moved={self.moved.tolist()}, bound={self.bound}"
