"""Maps between images of different shapes, and the multi-scale architecture that is built from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from course_flows.transforms.base import Transform, sum_event

__all__ = ["Flatten", "MultiScale", "Squeeze"]


def squeeze(x: Tensor) -> Tensor:
    """Return ``(*batch, C, H, W)`` as ``(*batch, 4 C, H/2, W/2)``, ordered as `Squeeze` says."""
    *batch, channels, height, width = x.shape
    blocks = x.reshape(*batch, channels, height // 2, 2, width // 2, 2)
    return blocks.movedim((-3, -1), (-4, -3)).flatten(-5, -3)


def unsqueeze(z: Tensor) -> Tensor:
    """Undo `squeeze`."""
    *batch, channels, height, width = z.shape
    blocks = z.reshape(*batch, channels // 4, 2, 2, height, width)
    return blocks.movedim((-4, -3), (-3, -1)).flatten(-4, -3).flatten(-2)


class Squeeze(Transform):
    r"""Trade space for channels: ``(*batch, C, H, W)`` to ``(*batch, 4 C, H/2, W/2)``. The log-determinant is 0.

    Each 2 × 2 block of a channel becomes four channels of one pixel: output channel ``4c + 2i + j`` holds the pixels
    in row ``i`` and column ``j`` of the blocks of channel ``c``. No arithmetic; the inverse is exact.

    >>> Squeeze()(torch.arange(4.0).reshape(1, 2, 2))[0].flatten()
    tensor([0., 1., 2., 3.])

    Source: L. Dinh, J. Sohl-Dickstein and S. Bengio, *Density estimation using Real NVP* (2017), section 3.6.
    """

    event_ndim = 3

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if x.dim() < 3 or x.shape[-1] % 2 or x.shape[-2] % 2:
            raise ValueError(
                f"Squeeze expects images (*batch, C, H, W) of even height and width, found {tuple(x.shape)}"
            )
        return squeeze(x), self.zeros_like_batch(x)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        if z.dim() < 3 or z.shape[-3] % 4:
            raise ValueError(f"the inverse of Squeeze expects (*batch, 4 C, H, W), found {tuple(z.shape)}")
        return unsqueeze(z), self.zeros_like_batch(z)


class Flatten(Transform):
    """Apply a transform of vectors to images: the pixels in row order, one channel after the other.

    Arguments:
        transform: a transform of vectors ``(*batch, C·H·W)``.
        shape: ``(C, H, W)``, the shape of an image.
    """

    def __init__(self, transform: Transform, shape: Sequence[int]) -> None:
        super().__init__()
        if transform.event_ndim not in (0, 1):
            raise ValueError(f"Flatten expects a transform of vectors, found one of {transform.event_ndim} dimensions")
        self.transform = transform
        self.shape = tuple(shape)
        self.event_ndim = len(self.shape)

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z, log_det = self.transform(self._flat(x), context)
        return z.unflatten(-1, self.shape), log_det if self.transform.event_ndim else log_det.sum(dim=-1)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x, log_det = self.transform.inverse(self._flat(z), context)
        return x.unflatten(-1, self.shape), log_det if self.transform.event_ndim else log_det.sum(dim=-1)

    def _flat(self, x: Tensor) -> Tensor:
        if tuple(x.shape[-self.event_ndim :]) != self.shape:
            expected = ", ".join(map(str, ("*batch", *self.shape)))
            raise ValueError(f"Flatten expects an input of shape ({expected}), found {tuple(x.shape)}")
        return x.flatten(-self.event_ndim)

    def extra_repr(self) -> str:
        return f"shape={self.shape}"


class MultiScale(Transform):
    r"""Factor out half of the channels after each level, and carry on with the other half.

    .. math:: (h_1, z_1) = f_1(x), \quad (h_2, z_2) = f_2(h_1), \quad \dots, \quad z_L = f_L(h_{L-1})

    What is factored out is finished: later levels neither see nor change it, which saves their time and memory. The
    latent keeps the shape of the image. Each ``z_l`` goes back to where its values came from, so that ``inverse`` is
    exact; `split` returns the levels one by one and `join` puts them together.

    A prior for what is factored out, :math:`p(z_l \mid h_l) = N(\mu(h_l), \sigma(h_l)^2)`, is a coupling that keeps
    ``h_l`` and moves ``z_l`` to :math:`(z_l - \mu)/\sigma`: its log-determinant is the rest of the log-density. With
    a standard normal base that is the learned conditional prior of Glow, and sampling needs nothing else.

    Arguments:
        levels: transforms of images. Each but the last maps ``(C, H, W)`` to ``(4 C, H/2, W/2)``, of which the first
            2 C channels go on to the next level and the last 2 C are factored out. The last keeps its shape.
        priors: for each level but the last a transform of ``(4 C, H/2, W/2)``, usually a coupling with
            `channel_mask`; None for none.

    A context is handed to every level as it is: give it height and width 1 (see `ResidualConvNet`), so that it fits
    images of every size.

    Raises ValueError where a level gives images of another shape, or an image cannot be halved often enough.

    Source: L. Dinh, J. Sohl-Dickstein and S. Bengio, *Density estimation using Real NVP* (2017), section 3.6; the
    published code of D. Kingma and P. Dhariwal, *Glow* (2018), for learned priors.
    """

    event_ndim = 3

    def __init__(self, levels: Iterable[Transform], priors: Iterable[Transform] | None = None) -> None:
        super().__init__()
        self.levels = nn.ModuleList(levels)
        self.priors = nn.ModuleList(priors if priors is not None else [])
        if len(self.levels) < 1:
            raise ValueError("MultiScale expects at least one level, found none")
        for part in (*self.levels, *self.priors):
            if not isinstance(part, Transform):
                raise TypeError(f"MultiScale expects Transforms, found {type(part).__name__}")
            if part.event_ndim not in (0, 3):
                raise ValueError(f"MultiScale expects transforms of images, found one of {part.event_ndim} dimensions")
        if len(self.priors) not in (0, len(self.levels) - 1):
            raise ValueError(
                f"MultiScale of {len(self.levels)} levels expects {len(self.levels) - 1} priors or none, "
                f"found {len(self.priors)}"
            )

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        self._check(x)
        total, finished = self.zeros_like_batch(x), []
        last = len(self.levels) - 1
        for k, level in enumerate(self.levels):
            channels, height, width = x.shape[-3:]
            expected = (4 * channels, height // 2, width // 2) if k < last else (channels, height, width)
            x, log_det = level(x, context)
            total = total + _per_image(level, log_det)
            if x.shape[-3:] != expected:
                raise ValueError(f"level {k} of MultiScale should give images {expected}, found {tuple(x.shape[-3:])}")
            if k < last:
                if self.priors:
                    x, log_det = self.priors[k](x, context)
                    total = total + _per_image(self.priors[k], log_det)
                x, out = x.chunk(2, dim=-3)
                finished.append(out)
        return self.join([*finished, x]), total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = self.zeros_like_batch(z)
        *finished, x = self.split(z)
        for k in reversed(range(len(self.levels))):
            if k < len(finished):
                x = torch.cat([x, finished[k]], dim=-3)
                if self.priors:
                    x, log_det = self.priors[k].inverse(x, context)  # type: ignore[operator]  # for types any module
                    total = total + _per_image(self.priors[k], log_det)
            x, log_det = self.levels[k].inverse(x, context)  # type: ignore[operator]  # as above
            total = total + _per_image(self.levels[k], log_det)
        return x, total

    def split(self, z: Tensor) -> list[Tensor]:
        """Cut a latent ``(*batch, C, H, W)`` into its levels, finest first: ``(*batch, 2 C, H/2, W/2)``, and so on."""
        self._check(z)
        parts = []
        for _ in range(len(self.levels) - 1):
            z, out = squeeze(z).chunk(2, dim=-3)
            parts.append(out)
        return [*parts, z]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Undo `split`."""
        if len(parts) != len(self.levels):
            raise ValueError(f"join expects {len(self.levels)} levels, found {len(parts)}")
        *finished, z = parts
        for out in reversed(finished):
            z = unsqueeze(torch.cat([z, out], dim=-3))
        return z

    def _check(self, x: Tensor) -> None:
        factor = 2 ** (len(self.levels) - 1)
        if x.dim() < 3 or x.shape[-1] % factor or x.shape[-2] % factor:
            raise ValueError(
                f"MultiScale of {len(self.levels)} levels expects images (*batch, C, H, W) with H and W divisible by "
                f"{factor}, found {tuple(x.shape)}"
            )


def _per_image(transform: nn.Module, log_det: Tensor) -> Tensor:
    """Sum the log-determinants of scalars over their image."""
    return log_det if transform.event_ndim else sum_event(log_det, 3)
