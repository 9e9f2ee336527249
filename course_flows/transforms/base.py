"""The invertible map and the ways to combine it: `Transform`, `Compose`, `Inverse`, `TorchTransform`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

__all__ = ["Compose", "Inverse", "TorchTransform", "Transform", "sum_event"]


def sum_event(values: Tensor, event_ndim: int) -> Tensor:
    """Sum the last `event_ndim` dimensions: ``(*batch, *event) -> (*batch)``.

    >>> sum_event(torch.ones(5, 2, 3), 2)
    tensor([6., 6., 6., 6., 6.])
    """
    return values.sum(dim=tuple(range(-event_ndim, 0))) if event_ndim else values


class Transform(nn.Module):
    r"""An invertible, differentiable map :math:`f` with a log-determinant that is cheap to compute.

    The direction is that of the papers: calling the transform, or ``forward``, goes from **data to latent**
    (normalizes), ``inverse`` goes from latent to data (generates). Each returns the pair
    ``(output, log_det)`` where ``log_det`` is :math:`\log|\det \partial\,\text{output}/\partial\,\text{input}|`
    of *its own* direction, one number for each element of the batch.

    A subclass implements both methods and sets `event_ndim`, the number of trailing dimensions that form one
    point: 1 for vectors ``(*batch, D)``, 3 for images ``(*batch, C, H, W)``, 0 for scalars.

    Dtype and device follow the input; the parameters must have the same ones.
    """

    event_ndim: int = 1

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data ``x (*batch, *event)`` to latent ``z (*batch, *event)`` and ``log_det (*batch)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward (data to latent)")

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map latent ``z (*batch, *event)`` to data ``x (*batch, *event)`` and ``log_det (*batch)``."""
        raise NotImplementedError(f"{type(self).__name__} does not define inverse (latent to data)")

    def check_features(self, x: Tensor, features: int) -> None:
        """Raise ValueError unless ``x`` has shape ``(*batch, features)``."""
        if x.dim() == 0 or x.shape[-1] != features:
            raise ValueError(
                f"{type(self).__name__} expects an input of shape (*batch, {features}), found {tuple(x.shape)}"
            )

    def zeros_like_batch(self, x: Tensor) -> Tensor:
        """Return zeros of the batch shape of ``x``: the log-determinant of a map that keeps volume."""
        return x.new_zeros(x.shape[: x.dim() - self.event_ndim])


class Compose(Transform):
    r"""Apply transforms one after the other: :math:`f = f_K \circ \dots \circ f_1`.

    ``forward`` runs from the first to the last, ``inverse`` from the last to the first. The chain rule turns the
    determinant of a product into a sum: :math:`\log|\det J_f| = \sum_k \log|\det J_{f_k}|`.

    Arguments:
        transforms: the transforms, either one by one or as one iterable. Their `event_ndim` may differ by
            nothing but scalars (0), which act on every coordinate alike.

    >>> from course_flows.transforms import Diagonal, Permutation
    >>> f = Compose(Diagonal(2), Permutation.reversal(2))
    >>> z, log_det = f(torch.tensor([[1.0, 2.0]]))
    >>> z
    tensor([[2., 1.]], grad_fn=<IndexSelectBackward0>)
    """

    def __init__(self, *transforms: Transform | Iterable[Transform]) -> None:
        super().__init__()
        if len(transforms) == 1 and not isinstance(transforms[0], nn.Module):
            transforms = tuple(transforms[0])
        for t in transforms:
            if not isinstance(t, Transform):
                raise TypeError(f"Compose expects Transforms, found {type(t).__name__}")
        self.transforms = nn.ModuleList(transforms)  # type: ignore[arg-type]  # one iterable became its items
        ndims = {t.event_ndim for t in self} - {0}
        if len(ndims) > 1:
            raise ValueError(f"Compose expects transforms of one kind of event, found event dimensions {sorted(ndims)}")
        self.event_ndim = ndims.pop() if ndims else 0

    def __iter__(self) -> Iterator[Transform]:
        return iter(self.transforms)  # type: ignore[arg-type]  # a ModuleList gives any module

    def __len__(self) -> int:
        return len(self.transforms)

    def __getitem__(self, index: int | slice) -> Transform:
        if isinstance(index, slice):
            return Compose(list(self)[index])
        return self.transforms[index]  # type: ignore[return-value]  # as in __iter__

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = self.zeros_like_batch(x)
        for t in self:
            x, log_det = t(x, context)
            total = total + sum_event(log_det, self.event_ndim - t.event_ndim)
        return x, total

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = self.zeros_like_batch(z)
        for t in reversed(list(self)):
            z, log_det = t.inverse(z, context)
            total = total + sum_event(log_det, self.event_ndim - t.event_ndim)
        return z, total


class Inverse(Transform):
    r"""The same map read backwards: ``Inverse(t).forward`` is ``t.inverse`` and the other way round.

    Both log-determinants are those of the direction that is called; at matching points they are each other's
    negative, since :math:`J_{f^{-1}}(f(x)) = J_f(x)^{-1}`.
    """

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        if not isinstance(transform, Transform):
            raise TypeError(f"Inverse expects a Transform, found {type(transform).__name__}")
        self.transform = transform
        self.event_ndim = transform.event_ndim

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform.inverse(x, context)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self.transform(z, context)


class TorchTransform(Transform):
    """Wrap a `torch.distributions.Transform`, whose call becomes ``forward`` (data to latent).

    Its parameters are constants of the wrapped object: they are not trained, and ``.to(device)`` does not move them.

    Arguments:
        transform: any bijective `torch.distributions.Transform` that keeps the shape of its input.
        event_ndim: number of dimensions of one point; at least that of the wrapped transform.

    >>> from torch.distributions.transforms import ExpTransform
    >>> z, log_det = TorchTransform(ExpTransform(), event_ndim=1)(torch.tensor([0.0, 1.0]))
    >>> log_det
    tensor(1.)
    """

    def __init__(self, transform: torch.distributions.Transform, event_ndim: int = 1) -> None:
        super().__init__()
        if not isinstance(transform, torch.distributions.Transform):
            raise TypeError(f"TorchTransform expects a torch.distributions.Transform, found {type(transform).__name__}")
        if not transform.bijective:
            raise ValueError(f"TorchTransform expects a bijective transform, found {transform}")
        if transform.domain.event_dim > event_ndim:
            raise ValueError(
                f"{transform} acts on events of {transform.domain.event_dim} dimensions, found event_ndim={event_ndim}"
            )
        self.transform = transform
        self.event_ndim = event_ndim

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        z = self.transform(x)
        if z.shape != x.shape:
            raise ValueError(f"{self.transform} changes the shape of its points: {tuple(x.shape)} to {tuple(z.shape)}")
        return z, self._log_det(x, z)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        x = self.transform.inv(z)
        if z.shape != x.shape:
            raise ValueError(f"{self.transform} changes the shape of its points: {tuple(x.shape)} to {tuple(z.shape)}")
        return x, -self._log_det(x, z)

    def _log_det(self, x: Tensor, z: Tensor) -> Tensor:
        log_det = self.transform.log_abs_det_jacobian(x, z)
        return sum_event(log_det, self.event_ndim - self.transform.domain.event_dim)

    def extra_repr(self) -> str:
        return f"{self.transform}, event_ndim={self.event_ndim}"
