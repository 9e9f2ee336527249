"""A stack of couplings that exchange two halves, without taking points apart and putting them together in between."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from course_flows.transforms.base import Compose, Transform
from course_flows.transforms.coupling import Coupling
from course_flows.transforms.fused import can_be_fused, fused_couplings, runs_fused

__all__ = ["CouplingStack"]


class CouplingStack(Compose):
    """The same map as `Compose` of the couplings, for couplings whose masks are equal or each other's complement.

    The point is cut once, the parts change roles from coupling to coupling, and they are joined once: fewer copies
    and fewer steps for autograd, which is most of what small couplings cost beside their networks.

    Arguments:
        couplings: of vectors ``(D,)`` or of channels ``(C, 1, 1)``, all cut at the same place; either one by one or as
            one iterable.
        fused: train with one hand-written gradient for the whole stack, which is faster where the networks are small;
            for `AffineCoupling` of vectors with a number as bound and an `MLP` of ReLUs. The numbers are the same up
            to rounding, second derivatives work, forward-mode derivatives do not. Under torch.func, torch.compile,
            autocast and with hooks inside the networks the plain form runs.

    Raises ValueError for masks that do not fit together and for `fused` with couplings that cannot be, TypeError for
    transforms that are no couplings.
    """

    def __init__(self, *couplings: Transform | Iterable[Transform], fused: bool = False) -> None:
        super().__init__(*couplings)
        self._check_masks()
        self.fused = fused
        if fused and not all(can_be_fused(coupling) for coupling in self):
            raise ValueError(
                "CouplingStack with fused expects AffineCoupling with a number as bound and an MLP of ReLUs without "
                "context, found another coupling"
            )
        self.register_load_state_dict_post_hook(_check_loaded)

    def _check_masks(self) -> None:
        for coupling in self:
            if not isinstance(coupling, Coupling):
                raise TypeError(f"CouplingStack expects couplings, found {type(coupling).__name__}")
        masks = [coupling.mask for coupling in self]
        for coupling, mask in zip(self, masks):
            fits = torch.equal(mask, masks[0]) or torch.equal(mask, ~masks[0])
            if not fits or coupling.partition.in_place:
                raise ValueError(
                    "CouplingStack expects masks of coordinates or channels that are equal or each other's complement, "
                    f"found {masks[0].flatten().tolist()} and {mask.flatten().tolist()}"
                )

    def __iter__(self) -> Iterator[Coupling]:
        return iter(self.transforms)  # type: ignore[arg-type]  # a ModuleList gives any module

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._run(x, context, list(self), inverse=False)

    def inverse(self, z: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return self._run(z, context, list(self)[::-1], inverse=True)

    def _run(
        self, x: Tensor, context: Tensor | None, couplings: list[Coupling], inverse: bool
    ) -> tuple[Tensor, Tensor]:
        if not couplings:
            return x, self.zeros_like_batch(x)
        partition = couplings[0].partition
        partition.check(x, "CouplingStack")
        parts = partition.split(x)
        keeps = [int(coupling.partition.kept_first != partition.kept_first) for coupling in couplings]
        if self.fused and not inverse and context is None and runs_fused(couplings, x):
            rows = (part.reshape(-1, part.shape[-1]) for part in parts)
            first, second, log_det = fused_couplings(couplings, keeps, *rows)
            return partition.join(first, second).reshape(x.shape), log_det.reshape(x.shape[:-1])
        slopes = []
        for coupling, swap in zip(couplings, keeps):
            kept, moved = reversed(parts) if swap else parts
            moved, log_slope = (coupling.restore_part if inverse else coupling.transform_part)(kept, moved, context)
            parts = (moved, kept) if swap else (kept, moved)
            if log_slope is not None:
                slopes.append(log_slope)
        if not slopes:
            return partition.join(*parts), self.zeros_like_batch(x)
        dims = tuple(range(-self.event_ndim, 0))
        return partition.join(*parts), torch.cat(slopes, dim=-self.event_ndim).sum(dim=dims)


def _check_loaded(stack: CouplingStack, _: object) -> None:
    stack._check_masks()
