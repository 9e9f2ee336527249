"""A density of its own: each coordinate follows a mixture of Gaussians that the coordinates before it choose."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from course_flows.distributions import Base
from course_flows.made import MADE
from course_flows.transforms.coupling import Tanh

__all__ = ["AutoregressiveMixture"]


class AutoregressiveMixture(Base):
    r"""MADE with mixtures of Gaussians (MADE MoG); as the base of a MAF it makes MAF MoG:

    .. math:: p(z) = \prod_i \sum_{c=1}^{C} w_{ic}(z_{<i})\, \mathcal{N}\big(z_i;\, \mu_{ic}(z_{<i}),
        e^{2\alpha_{ic}(z_{<i})}\big), \qquad \sum_c w_{ic} = 1.

    The log-density takes one pass of the network, sampling D passes. Samples carry no gradients, since the choice of a
    component has none: a reverse KL divergence cannot be trained with it.

    Arguments:
        event_shape: D for vectors, or ``(C, H, W)`` for images, whose values are taken in row order.
        components: C. Their means start spread evenly from −1 to 1, their weights and deviations equal: components
            that start the same would stay the same.
        bound: largest :math:`|\alpha|`, by :math:`c \tanh(r / c)`.
        hidden, order, activation, residual, context_features, seed: of the network, see `MADE`.

    Raises ValueError for fewer than one component, and what `MADE` raises.

    >>> base = AutoregressiveMixture(2, components=3, hidden=(8,))
    >>> base.log_prob(torch.zeros(5, 2)).shape, base.rsample((5,)).shape
    (torch.Size([5]), torch.Size([5, 2]))

    Source: G. Papamakarios, T. Pavlakou and I. Murray, *Masked autoregressive flow for density estimation* (2017).
    """

    has_rsample = False  # a component is chosen

    def __init__(
        self,
        event_shape: int | Sequence[int],
        components: int = 10,
        *,
        bound: float = 5.0,
        hidden: Sequence[int] = (64, 64),
        order: Sequence[int] | Tensor | None = None,
        activation: str = "relu",
        residual: bool = False,
        context_features: int = 0,
        seed: int | None = None,
    ) -> None:
        super().__init__(event_shape)
        if components < 1:
            raise ValueError(f"AutoregressiveMixture expects at least 1 component, found {components}")
        features = self.event_shape.numel()
        self.components = components
        self.net = MADE(
            features, 3 * components, hidden, order, activation, residual, context_features, seed, zero_init=True
        )
        self.bound = Tanh(bound)
        if components > 1:
            with torch.no_grad():
                _, _, means = self.net.last.bias.view(3, components, features)
                means.copy_(torch.linspace(-1, 1, components)[:, None])

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        ndim = len(self.event_shape)
        if z.shape[max(z.dim() - ndim, 0) :] != self.event_shape:
            expected = ", ".join(map(str, ("*batch", *self.event_shape)))
            raise ValueError(f"AutoregressiveMixture expects a tensor of shape ({expected}), found {tuple(z.shape)}")
        flat = z.reshape(*z.shape[: z.dim() - ndim], self.event_shape.numel())
        logits, log_deviations, means = self._conditionals(flat, context)
        standard = (flat[..., None, :] - means) * (-log_deviations).exp()
        each = logits.log_softmax(dim=-2) - 0.5 * standard.square() - log_deviations - 0.5 * math.log(2 * math.pi)
        return each.logsumexp(dim=-2).sum(dim=-1)

    @torch.no_grad()
    def rsample(self, shape: Sequence[int] = (), context: Tensor | None = None) -> Tensor:
        z = self.anchor.new_zeros(*shape, self.event_shape.numel())
        for place in self.net.order.tolist():
            logits, log_deviations, means = (part[..., place] for part in self._conditionals(z, context))
            gumbel = -torch.empty_like(logits).exponential_().log()
            chosen = (logits + gumbel).argmax(dim=-1, keepdim=True)
            mean, log_deviation = means.gather(-1, chosen)[..., 0], log_deviations.gather(-1, chosen)[..., 0]
            z[..., place] = mean + log_deviation.exp() * torch.randn_like(mean)
        return z.reshape(*shape, *self.event_shape)

    def _conditionals(self, flat: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return raw log-weights, log-deviations and means, each ``(*batch, components, D)``."""
        out = self.net(flat, context).to(flat.dtype).unflatten(-1, (3, self.components, -1))
        logits, raw, means = out.unbind(dim=-3)
        return logits, self.bound(raw), means

    def extra_repr(self) -> str:
        return f"event_shape={tuple(self.event_shape)}, components={self.components}"
