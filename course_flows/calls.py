"""What goes on around a call: whether numbers can be read, modules are watched, gradients can be written by hand."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

__all__ = ["by_hand", "gradients_of", "has_values", "is_watched"]


def is_watched(module: nn.Module) -> bool:
    """Return whether somebody waits for calls of a module or of a part of it: by a hook, or in place of ``forward``."""
    if nn.modules.module._has_any_global_hook():  # for calls of all modules
        return True
    parts = [module]
    while parts:
        own = vars(parts.pop())
        if own["_forward_hooks"] or own["_forward_pre_hooks"] or "forward" in own:
            return True
        if own["_backward_hooks"] or own["_backward_pre_hooks"]:
            return True
        parts += [part for part in own["_modules"].values() if part is not None]
    return False


def has_values(x: Tensor) -> bool:
    """Return whether numbers can be read from ``x`` now.

    Not while compiling, on the meta device, in torch.func, and where many gradients are taken at once
    (``is_grads_batched``, ``vectorize=True``) and ``x`` is one of them.
    """
    if torch.compiler.is_compiling() or x.is_meta:
        return False
    return torch._C._functorch.maybe_current_level() is None and not torch._C._functorch.is_legacy_batchedtensor(x)


def by_hand(x: Tensor) -> bool:
    """Return whether a function with a gradient written by hand may take ``x``.

    Not where numbers cannot be read, under autocast, and while forward-mode derivatives are taken, also of weights.
    """
    if not has_values(x) or torch.is_autocast_enabled(x.device.type):
        return False
    return forward_ad._current_level < 0


def gradients_of(
    outputs: Sequence[Tensor], inputs: Sequence[Tensor], wanted: Sequence[bool], gradients: Sequence[Tensor]
) -> list[Tensor | None]:
    """Return what a ``backward`` returns, by autograd: for each input its gradient, None for those not wanted.

    Further derivatives are possible where gradients are enabled.
    """
    asked = [value for value, is_asked in zip(inputs, wanted) if is_asked]
    found = iter(torch.autograd.grad(outputs, asked, gradients, create_graph=torch.is_grad_enabled()))
    return [next(found) if is_asked else None for is_asked in wanted]
