"""How a mask cuts a point into the part that is kept and the part that is moved, and puts it together again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

__all__ = ["Partition"]


class Partition(nn.Module):
    """Cut points at a mask.

    Vectors ``(D,)`` and channels ``(C, 1, 1)`` are cut into two smaller tensors; where each part lies in one piece
    these are views, without a copy. Pixels, ``(1, H, W)`` or ``(C, H, W)``, keep their places in the image: the kept
    part has zeros where the image is moved, the moved part is the whole image, and `moved_only` zeroes what would move
    kept pixels.

    Arguments:
        mask: bool, True for what is kept, False for what is moved; neither may be empty. A buffer: a saved flow keeps
            its masks.
    """

    mask: Tensor
    kept_weight: Tensor
    moved_weight: Tensor
    kept: Tensor
    moved: Tensor
    back: Tensor

    def __init__(self, mask: Tensor | Sequence[bool]) -> None:
        super().__init__()
        mask = torch.as_tensor(mask)
        if mask.is_meta:
            raise ValueError("a coupling expects a mask with values, found one on the meta device: move it there later")
        whole = mask.dtype == torch.bool and mask.dim() in (1, 3)
        if not whole or bool(mask.all()) or not bool(mask.any()):
            raise ValueError(
                "a coupling expects a bool mask that keeps some and moves some, of shape (D,), (C, 1, 1), (1, H, W) or "
                f"(C, H, W), found {mask.dtype} of shape {tuple(mask.shape)} that keeps {int(mask.sum())}"
            )
        self.register_buffer("mask", mask)
        self.register_load_state_dict_post_hook(_prepare_again)
        self._prepare()

    def _prepare(self) -> None:
        """Derive from the mask what `split` and `join` need."""
        self.dim = -self.mask.dim()
        self.in_place = self.mask.dim() == 3 and self.mask.shape[1:] != (1, 1)
        dtype = self.kept_weight.dtype if "kept_weight" in self._buffers else torch.get_default_dtype()
        flat = self.mask.flatten()
        kept, moved = flat.nonzero()[:, 0], (~flat).nonzero()[:, 0]
        derived = {
            "kept_weight": self.mask.to(dtype),
            "moved_weight": (~self.mask).to(dtype),
            "kept": kept,
            "moved": moved,
            "back": torch.cat([kept, moved]).argsort(),
        }
        for name, tensor in derived.items():
            self.register_buffer(name, tensor, persistent=False)
        self.sizes = len(kept), len(moved)
        self.in_one_piece = int((flat[1:] != flat[:-1]).sum()) == 1
        self.kept_first = bool(flat[0])

    def check(self, x: Tensor, name: str) -> None:
        """Raise ValueError, naming the transform, unless the mask fits the last dimensions of ``x``."""
        event = self.mask.shape
        found = x.shape[-len(event) :]
        free = (False,) if len(event) == 1 else (event[0] == 1, not self.in_place, not self.in_place)
        if len(found) != len(event) or any(a != b and not any_size for a, b, any_size in zip(found, event, free)):
            wanted = ", ".join(["*batch", *(letter if f else str(n) for letter, n, f in zip("CHW", event, free))])
            raise ValueError(f"{name} expects an input of shape ({wanted}), found {tuple(x.shape)}")

    def split(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is kept and what is moved."""
        if self.in_place:
            return x * self.kept_weight, x
        if not self.in_one_piece:
            return x.index_select(self.dim, self.kept), x.index_select(self.dim, self.moved)
        kept, moved = self.sizes
        if self.kept_first:
            return x.narrow(self.dim, 0, kept), x.narrow(self.dim, kept, moved)
        return x.narrow(self.dim, moved, kept), x.narrow(self.dim, 0, moved)

    def join(self, kept: Tensor, moved: Tensor) -> Tensor:
        """Undo `split`."""
        if self.in_place:
            return moved
        if self.in_one_piece:
            return torch.cat([kept, moved] if self.kept_first else [moved, kept], dim=self.dim)
        return torch.cat([kept, moved], dim=self.dim).index_select(self.dim, self.back)

    def moved_only(self, parameters: Tensor) -> Tensor:
        """Zero the parameters of kept values, where there are any."""
        return parameters * self.moved_weight if self.in_place else parameters

    def extra_repr(self) -> str:
        return f"mask of shape {tuple(self.mask.shape)}, keeps {self.sizes[0]}, moves {self.sizes[1]}"


def _prepare_again(partition: Partition, _: object) -> None:
    """Follow a mask that was loaded. A function with a name, so that flows can be pickled."""
    partition._prepare()
