"""Masks for couplings: True where a value is kept and conditions, False where it is moved.

The shape says what the mask is for: ``(D,)`` vectors, ``(1, H, W)`` pixels of an image, ``(C, 1, 1)`` its channels.
``flip`` exchanges the two parts; a stack alternates it, so that every value is moved by some layer.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["alternating_mask", "channel_mask", "checkerboard_mask", "half_mask"]


def half_mask(features: int, flip: bool = False) -> Tensor:
    """Keep the first ``features // 2`` coordinates: bool ``(features,)``.

    >>> half_mask(5)
    tensor([ True,  True, False, False, False])
    """
    return (torch.arange(features) < features // 2) != flip


def alternating_mask(features: int, flip: bool = False) -> Tensor:
    """Keep every other coordinate, the first one included: bool ``(features,)``.

    >>> alternating_mask(5)
    tensor([ True, False,  True, False,  True])
    """
    return (torch.arange(features) % 2 == 0) != flip


def checkerboard_mask(height: int, width: int, flip: bool = False) -> Tensor:
    """Keep the pixels whose row and column add up to an even number: bool ``(1, height, width)``.

    >>> checkerboard_mask(2, 3)
    tensor([[[ True, False,  True],
             [False,  True, False]]])
    """
    rows, columns = torch.arange(height)[:, None], torch.arange(width)
    return ((rows + columns) % 2 == 0)[None] != flip


def channel_mask(channels: int, flip: bool = False) -> Tensor:
    """Keep the first ``channels // 2`` channels at every pixel: bool ``(channels, 1, 1)``.

    >>> channel_mask(4).flatten()
    tensor([ True,  True, False, False])
    """
    return half_mask(channels, flip)[:, None, None]
