"""Base distributions of a flow: simple densities on the latent space that follow the module's dtype and device."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from course_flows.transforms.base import sum_event

__all__ = ["Base", "FromTorch", "StandardLogistic", "StandardNormal", "StandardUniform"]


class Base(nn.Module):
    """A distribution with independent standard coordinates on events of shape `event_shape`.

    ``log_prob(z)`` maps ``(*batch, *event_shape)`` to ``(*batch)`` in nats; ``rsample(shape)`` returns
    ``(*shape, *event_shape)`` in the dtype and on the device of the module (``.to`` moves it). Where gradients do not
    pass through a draw to parameters of the distribution, ``has_rsample`` is False.

    Arguments:
        event_shape: an int ``D`` for vectors, or a shape such as ``(C, H, W)``.
    """

    anchor: Tensor
    has_rsample = True

    def __init__(self, event_shape: int | Sequence[int]) -> None:
        super().__init__()
        shape = (event_shape,) if isinstance(event_shape, int) else tuple(event_shape)
        if any(n < 1 for n in shape):
            raise ValueError(f"{type(self).__name__} expects positive sizes in its event shape, found {shape}")
        self.event_shape = torch.Size(shape)
        self.register_buffer("anchor", torch.zeros(()), persistent=False)

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of each point, in nats, ``(*batch)``."""
        ndim = len(self.event_shape)
        if z.shape[max(z.dim() - ndim, 0) :] != self.event_shape:
            expected = ", ".join(map(str, ("*batch", *self.event_shape)))
            raise ValueError(f"{type(self).__name__} expects a tensor of shape ({expected}), found {tuple(z.shape)}")
        return sum_event(self._log_prob_each(z), ndim)

    def rsample(self, shape: Sequence[int] = (), context: Tensor | None = None) -> Tensor:
        """Draw ``(*shape, *event_shape)``."""
        return self._draw((*shape, *self.event_shape))

    def _log_prob_each(self, z: Tensor) -> Tensor:
        raise NotImplementedError

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        raise NotImplementedError

    def _uniform(self, shape: tuple[int, ...]) -> Tensor:
        return torch.rand(shape, dtype=self.anchor.dtype, device=self.anchor.device)

    def extra_repr(self) -> str:
        return f"event_shape={tuple(self.event_shape)}"


class StandardNormal(Base):
    r"""Standard normal: :math:`\log p(z) = -\tfrac12 \sum_i z_i^2 - \tfrac D2 \log 2\pi`.

    >>> StandardNormal(2).log_prob(torch.zeros(3, 2))
    tensor([-1.8379, -1.8379, -1.8379])
    """

    def _log_prob_each(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi))

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape, dtype=self.anchor.dtype, device=self.anchor.device)


class StandardLogistic(Base):
    r"""Standard logistic: :math:`\log p(z) = -\sum_i \left[\operatorname{softplus}(z_i) +
    \operatorname{softplus}(-z_i)\right]`, which neither over- nor underflows. Heavier tails than a normal."""

    def _log_prob_each(self, z: Tensor) -> Tensor:
        return -nn.functional.softplus(z) - nn.functional.softplus(-z)

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        half_step = torch.finfo(self.anchor.dtype).eps / 4
        return torch.logit(self._uniform(shape).clamp_min(half_step))


class StandardUniform(Base):
    """Uniform on the unit cube: log-density 0 inside ``[0, 1]``, minus infinity outside."""

    def _log_prob_each(self, z: Tensor) -> Tensor:
        inside = (z >= 0) & (z <= 1)
        return torch.where(inside, torch.zeros_like(z), torch.full_like(z, -math.inf))

    def _draw(self, shape: tuple[int, ...]) -> Tensor:
        return self._uniform(shape)


class FromTorch(Base):
    """Use a `torch.distributions.Distribution` as the base; its batch dimensions become part of the event.

    Its parameters are constants of the wrapped object: they are not trained and ``.to`` does not move them.

    >>> FromTorch(torch.distributions.StudentT(torch.full((2,), 3.0))).event_shape
    torch.Size([2])
    """

    def __init__(self, distribution: torch.distributions.Distribution) -> None:
        if not isinstance(distribution, torch.distributions.Distribution):
            raise TypeError(
                f"FromTorch expects a torch.distributions.Distribution, found {type(distribution).__name__}"
            )
        super().__init__(distribution.batch_shape + distribution.event_shape)
        ndim = len(distribution.batch_shape)
        self.distribution = torch.distributions.Independent(distribution, ndim) if ndim else distribution
        self.has_rsample = self.distribution.has_rsample

    def log_prob(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        return self.distribution.log_prob(z)

    def rsample(self, shape: Sequence[int] = (), context: Tensor | None = None) -> Tensor:
        if not self.has_rsample:
            return self.distribution.sample(torch.Size(shape))
        return self.distribution.rsample(torch.Size(shape))

    def extra_repr(self) -> str:
        return f"{self.distribution}"
