"""The flow: a transform and a base distribution make a density that can be evaluated and sampled exactly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import constraints

from course_flows.calls import has_values
from course_flows.distributions import Base
from course_flows.transforms.base import Transform, sum_event

__all__ = ["Flow", "FlowDistribution"]


class Flow(nn.Module):
    r"""A normalizing flow: :math:`\log p(x) = \log p_Z(f(x)) + \log|\det \partial f(x)/\partial x|`.

    ``f`` is `transform`, which maps **data to latent**; ``p_Z`` is `base`. Sampling runs the other way,
    :math:`x = f^{-1}(z)` with :math:`z \sim p_Z`.

    Arguments:
        transform: any `Transform` whose points have the shape of the base's.
        base: a `course_flows.distributions.Base`.
        validate: check that the points given to `log_prob` are finite. It reads one number from the device a call;
            switch it off where that waiting matters.

    Densities are in nats. ``context`` is handed to the transform and the base as it is.

    >>> from course_flows.distributions import StandardNormal
    >>> from course_flows.transforms import Diagonal
    >>> flow = Flow(Diagonal(2), StandardNormal(2))
    >>> flow.log_prob(torch.zeros(3, 2))
    tensor([-1.8379, -1.8379, -1.8379], grad_fn=<AddBackward0>)
    >>> flow.sample(5).shape
    torch.Size([5, 2])
    """

    def __init__(self, transform: Transform, base: Base, validate: bool = True) -> None:
        super().__init__()
        if not isinstance(transform, Transform):
            raise TypeError(f"Flow expects a Transform, found {type(transform).__name__}")
        if not isinstance(base, Base):
            raise TypeError(f"Flow expects a course_flows.distributions.Base, found {type(base).__name__}")
        if transform.event_ndim not in (0, len(base.event_shape)):
            raise ValueError(
                f"Flow expects a transform and a base with points of the same shape, found a transform of "
                f"{transform.event_ndim}-dimensional points and a base of shape {tuple(base.event_shape)}"
            )
        self.transform = transform
        self.base = base
        self.validate = validate

    @property
    def event_shape(self) -> torch.Size:
        """Shape of one point."""
        return self.base.event_shape

    def log_prob(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the log-density of each point of ``x (*batch, *event)`` in nats, ``(*batch)``.

        Raises ValueError where the shape is not that of the flow's points, the dtype is not a floating one, or a
        number is NaN or infinite.
        """
        self.check_points(x, "log_prob")
        z, log_det = self.transform(x, context)
        return self.base.log_prob(z, context) + self._per_point(log_det)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Same as `log_prob`, so that hooks, data parallelism and compilation see ``flow(x)``."""
        return self.log_prob(x, context)

    def encode(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the latent ``z = f(x)``; `decode` undoes it."""
        self.check_points(x, "encode")
        return self.transform(x, context)[0]

    def decode(self, z: Tensor, context: Tensor | None = None) -> Tensor:
        """Return the data point ``x = f⁻¹(z)``; `encode` undoes it."""
        self.check_points(z, "decode")
        return self.transform.inverse(z, context)[0]

    @torch.no_grad()
    def sample(
        self, shape: int | Sequence[int] = (), context: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor:
        r"""Draw ``(*shape, *event)`` without gradients; an int stands for one dimension.

        Below 1, `temperature` multiplies the draws from the base and so keeps them nearer to where its density is
        highest: with a normal base they follow :math:`p_Z^{1/T^2}`, normalized. At 0 all draws are that of the latent
        0. Raises ValueError where it is negative.
        """
        if not temperature >= 0:
            raise ValueError(f"sample expects a temperature of 0 or more, found {temperature}")
        return self.transform.inverse(temperature * self.base.rsample(_as_shape(shape), context), context)[0]

    def rsample(self, shape: int | Sequence[int] = (), context: Tensor | None = None) -> Tensor:
        """Draw ``(*shape, *event)`` so that gradients reach the parameters of the transform."""
        return self.transform.inverse(self.base.rsample(_as_shape(shape), context), context)[0]

    def rsample_and_log_prob(
        self, shape: int | Sequence[int] = (), context: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Draw ``(*shape, *event)`` and return the log-density of each draw ``(*shape)`` from the same pass."""
        z = self.base.rsample(_as_shape(shape), context)
        x, log_det = self.transform.inverse(z, context)
        return x, self.base.log_prob(z, context) - self._per_point(log_det)

    def as_distribution(self, context: Tensor | None = None) -> FlowDistribution:
        """Return a `torch.distributions.Distribution` that shares this flow's parameters."""
        return FlowDistribution(self, context)

    def _per_point(self, log_det: Tensor) -> Tensor:
        return sum_event(log_det, len(self.event_shape) - self.transform.event_ndim)

    def check_points(self, x: Tensor, method: str) -> None:
        """Raise ValueError, naming `method`, unless ``x`` holds finite points ``(*batch, *event)`` of this flow."""
        ndim = len(self.event_shape)
        if x.dim() < ndim or x.shape[x.dim() - ndim :] != self.event_shape:
            expected = ", ".join(map(str, ("*batch", *self.event_shape)))
            raise ValueError(f"{method} expects a tensor of shape ({expected}), found {tuple(x.shape)}")
        if not x.is_floating_point():
            raise ValueError(f"{method} expects floating-point numbers, found {x.dtype}; dequantize integers first")
        parameter = next(self.parameters(), None)
        if parameter is not None and parameter.dtype != x.dtype:
            raise ValueError(
                f"{method} expects {parameter.dtype} like the flow's parameters, found {x.dtype}: "
                f"convert the points, or the flow with flow.to({x.dtype})"
            )
        if self.validate and has_values(x) and not torch.isfinite(x).all():
            bad = int((~torch.isfinite(x)).sum())
            raise ValueError(f"{method} expects finite numbers, found {bad} NaN or infinite ones in {x.numel()}")


class FlowDistribution(torch.distributions.Distribution):
    """A flow seen as a `torch.distributions.Distribution`: ``log_prob``, ``sample`` and ``rsample``.

    Made by `Flow.as_distribution`. The batch shape is empty, the event shape that of the flow; ``has_rsample`` is that
    of the base.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}  # noqa: RUF012  (the interface of torch)

    def __init__(self, flow: Flow, context: Tensor | None = None) -> None:
        self.flow, self.has_rsample = flow, flow.base.has_rsample
        self.context = context
        super().__init__(event_shape=flow.event_shape, validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        return constraints.independent(constraints.real, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.flow.log_prob(value, self.context)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.flow.sample(sample_shape, self.context)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        if not self.has_rsample:
            base = type(self.flow.base).__name__
            raise NotImplementedError(f"rsample expects a base through whose draws gradients pass, found {base}")
        return self.flow.rsample(sample_shape, self.context)


def _as_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)
