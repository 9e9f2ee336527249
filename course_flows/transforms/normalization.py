"""Normalization as an invertible map with its log-determinant: `BatchNorm` and `ActNorm`."""

from __future__ import annotations

import torch
from torch import Tensor, distributed, nn

from course_flows.calls import has_values
from course_flows.transforms.base import Transform

__all__ = ["ActNorm", "BatchNorm"]


class BatchNorm(Transform):
    r"""Normalize each feature by the mean and variance of the batch, then scale and shift it:

    .. math:: z = \frac{x - m}{\sqrt{v + \epsilon}} \odot e^{\gamma} + \beta, \qquad
        \log|\det J| = n \sum_i \left[\gamma_i - \tfrac12 \log(v_i + \epsilon)\right],

    with n values of each feature in a point: 1 in a vector, H·W in an image, whose features are its channels.

    In **training** mode ``forward`` takes m and v from the batch and moves the running averages a step towards them.
    Gradients flow through m and v; the log-determinant takes them as given, so that the densities of a training batch
    depend on each other and are right only as far as m and v are. In **eval** mode m and v are the running averages
    and everything is exact. ``inverse`` takes the running averages in both modes, also before any ``forward``: mean 0
    and variance 1 at the start. Hence it undoes ``forward`` in eval mode only. Variances are those of the batch itself
    (divided by its count, not by one less), also in the running average.

    Arguments:
        features: D of vectors ``(*batch, D)`` or C of images ``(*batch, C, H, W)``.
        event_ndim: 1 for vectors, 3 for images.
        momentum: how far the running averages move in a step: average += momentum · (batch − average).
        eps: keeps the variance away from 0.

    Raises ValueError for a training batch with one value a feature, which has no variance.

    Source: L. Dinh, J. Sohl-Dickstein and S. Bengio, *Density estimation using Real NVP* (2017), section 3.7, whose
    appendix E takes running averages in training too; with a learned scale and shift as in G. Papamakarios,
    T. Pavlakou and I. Murray, *Masked autoregressive flow for density estimation* (2017).
    """

    running_mean: Tensor
    running_variance: Tensor

    def __init__(self, features: int, event_ndim: int = 1, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        if event_ndim not in (1, 3):
            raise ValueError(f"BatchNorm expects event_ndim 1 (vectors) or 3 (images), found {event_ndim}")
        if features < 1 or not 0 < momentum <= 1 or not eps > 0:
            raise ValueError(
                "BatchNorm expects at least 1 feature, a momentum above 0 and up to 1, and an eps above 0, "
                f"found features={features}, momentum={momentum}, eps={eps}"
            )
        self.event_ndim = event_ndim
        self.momentum = momentum
        self.eps = eps
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.shift = nn.Parameter(torch.zeros(features))
        self.register_buffer("running_mean", torch.zeros(features))
        self.register_buffer("running_variance", torch.ones(features))

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._check(x)
        mean, variance = self._batch_statistics(x) if self.training else (self.running_mean, self.running_variance)
        log_scale = self.log_scale - 0.5 * (variance + self.eps).log()
        z = (x - self._spread(mean)) * self._spread(log_scale.exp()) + self._spread(self.shift)
        return z, self._log_det(x, log_scale)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._check(z)
        log_scale = self.log_scale - 0.5 * (self.running_variance + self.eps).log()
        x = (z - self._spread(self.shift)) * self._spread((-log_scale).exp()) + self._spread(self.running_mean)
        return x, -self._log_det(z, log_scale)

    def _batch_statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        count = x.numel() // len(self.shift)
        if count < 2:
            raise ValueError(f"BatchNorm in training mode expects at least 2 values a feature, found {count}")
        others = [d for d in range(-x.dim(), 0) if d != -self.event_ndim]
        variance, mean = torch.var_mean(x, dim=others, correction=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_variance.lerp_(variance, self.momentum)
        return mean, variance

    def _spread(self, per_feature: Tensor) -> Tensor:
        return per_feature if self.event_ndim == 1 else per_feature[:, None, None]

    def _log_det(self, x: Tensor, log_scale: Tensor) -> Tensor:
        pixels = x.shape[-1] * x.shape[-2] if self.event_ndim == 3 else 1
        return (pixels * log_scale.sum()).expand(x.shape[: x.dim() - self.event_ndim])

    def _check(self, x: Tensor) -> None:
        features = len(self.shift)
        if x.dim() < self.event_ndim or x.shape[-self.event_ndim] != features:
            expected = f"(*batch, {features})" if self.event_ndim == 1 else f"(*batch, {features}, H, W)"
            raise ValueError(f"BatchNorm expects an input of shape {expected}, found {tuple(x.shape)}")

    def extra_repr(self) -> str:
        return f"features={len(self.shift)}, event_ndim={self.event_ndim}, momentum={self.momentum}"


class ActNorm(Transform):
    r"""Scale and shift each feature, starting so that the first batch comes out with mean 0 and variance 1:

    .. math:: z = x \odot e^{s} + b, \qquad \log|\det J| = n \sum_i s_i,

    with n values of each feature in a point: 1 in a vector, H·W in an image, whose features are its channels.

    The first batch that ``forward`` meets in training mode sets :math:`s = -\log \sigma` and
    :math:`b = -\mu / \sigma` from its own mean and standard deviation; from then on both are ordinary parameters and
    no batch is looked at again. That it happened is a buffer, ``initialized``, so that a loaded flow stays as it was;
    a layer that has been set asks it no more until a state is loaded.
    Before, and in eval mode or by ``inverse`` at any time, the parameters are used as they are: the identity at the
    start. A feature that is constant in the first batch, as each is in a batch of one vector, keeps its scale of 1.
    Under `torch.distributed` the mean and deviation are those of the batches of all processes together.

    Arguments:
        features: D of vectors ``(*batch, D)`` or C of images ``(*batch, C, H, W)``.
        event_ndim: 1 for vectors, 3 for images.
        eps: added to the variance, so that a nearly constant feature is scaled by at most ``eps ** -0.5``.

    Raises RuntimeError where the first batch comes inside of torch.func or torch.compile, where it cannot be read, and
    ValueError where it holds no point, NaN or infinity.

    Source: D. P. Kingma and P. Dhariwal, *Glow* (2018), section 3.1.
    """

    initialized: Tensor

    def __init__(self, features: int, event_ndim: int = 1, eps: float = 1e-6) -> None:
        super().__init__()
        if event_ndim not in (1, 3) or features < 1 or not eps > 0:
            raise ValueError(
                "ActNorm expects at least 1 feature, event_ndim 1 (vectors) or 3 (images) and an eps above 0, "
                f"found features={features}, event_ndim={event_ndim}, eps={eps}"
            )
        self.event_ndim = event_ndim
        self.eps = eps
        self.log_scale = nn.Parameter(torch.zeros(features))
        self.shift = nn.Parameter(torch.zeros(features))
        self.register_buffer("initialized", torch.tensor(False))
        self._blank = True  # whether the buffer must still be asked; once set, the device is left alone
        self.register_load_state_dict_post_hook(_follow_the_buffer)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check(x)
        self.see(x)
        return x * self._spread(self.log_scale.exp()) + self._spread(self.shift), self._log_det(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self.check(z)
        return (z - self._spread(self.shift)) * self._spread((-self.log_scale).exp()), -self._log_det(z)

    @property
    def waits(self) -> bool:
        """Whether the next batch is the one that sets scale and shift."""
        if self.training and self._blank and has_values(self.initialized):
            self._blank = not bool(self.initialized)  # it may have been copied in, as averages of weights do
        return self.training and self._blank

    def see(self, x: Tensor) -> None:
        """Set scale and shift by ``x`` if it is the first batch of training, else do nothing."""
        if not self.waits or x.is_meta:
            return
        if not has_values(x):
            raise RuntimeError("ActNorm expects its first batch outside of torch.func and torch.compile: run one there")
        mean, variance = _moments_of_all(x.detach(), [d for d in range(-x.dim(), 0) if d != -self.event_ndim])
        if not bool((mean + variance).isfinite().all()):
            raise ValueError(
                f"ActNorm expects a first batch of finite numbers and at least one point, found shape {tuple(x.shape)} "
                f"with {int((~x.isfinite()).sum())} NaN or infinite numbers"
            )
        with torch.no_grad():
            rounding = 10 * torch.finfo(x.dtype).eps * mean.abs()  # what a constant feature seems to vary by
            log_scale = -0.5 * (variance + self.eps).log()
            self.log_scale.copy_(torch.where(variance > rounding.square(), log_scale, 0.0))
            self.shift.copy_(-mean * self.log_scale.exp())
            self.initialized.fill_(True)
        self._blank = False

    def check(self, x: Tensor) -> None:
        """Raise ValueError unless ``x`` has the features of this transform and a floating dtype."""
        features = len(self.shift)
        if not x.is_floating_point():
            raise ValueError(f"ActNorm expects floating-point numbers, found {x.dtype}")
        if x.dim() < self.event_ndim or x.shape[-self.event_ndim] != features:
            expected = f"(*batch, {features})" if self.event_ndim == 1 else f"(*batch, {features}, H, W)"
            raise ValueError(f"ActNorm expects an input of shape {expected}, found {tuple(x.shape)}")

    def _spread(self, per_feature: Tensor) -> Tensor:
        return per_feature if self.event_ndim == 1 else per_feature[:, None, None]

    def _log_det(self, x: Tensor) -> Tensor:
        pixels = x.shape[-1] * x.shape[-2] if self.event_ndim == 3 else 1
        return (pixels * self.log_scale.sum()).expand(x.shape[: x.dim() - self.event_ndim])

    def extra_repr(self) -> str:
        return f"features={len(self.shift)}, event_ndim={self.event_ndim}"


def _follow_the_buffer(norm: ActNorm, _: object) -> None:
    """Believe a loaded state. A function with a name, so that flows can be pickled."""
    norm._blank = norm.initialized.is_meta or not bool(norm.initialized)


def _moments_of_all(x: Tensor, dims: list[int]) -> tuple[Tensor, Tensor]:
    """Return mean and variance over `dims` and over all processes that train together."""
    together = distributed.is_available() and distributed.is_initialized()
    total = x.sum(dim=dims, keepdim=True)
    count = torch.tensor(x.numel() // total.numel(), device=x.device)
    if together:
        distributed.all_reduce(count)
        distributed.all_reduce(total)
    mean = total / count
    squares = (x - mean).square().sum(dim=dims)
    if together:
        distributed.all_reduce(squares)
    return mean.flatten(), squares / count
