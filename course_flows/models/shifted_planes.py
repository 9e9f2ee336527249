"""Convolutions of 3 × 3 pixels as products of matrices, for images that lie as planes: one row for each channel.

Tap t stands for one of the 9 places of a kernel, in row order.
"""

from __future__ import annotations

from torch import Tensor

__all__ = ["neighbors", "sum_of_neighbors"]


def neighbors(planes: Tensor, images: tuple[int, int, int], out: Tensor, flip: bool = False) -> None:
    """Find for every pixel the values of the 9 pixels around it, with zeros outside.

    A convolution is the product of its weights, seen as a matrix ``(out, 9 C)``, and these values, ``(9 C, N·H·W)``.

    Arguments:
        planes: ``(C, N·H·W)``.
        images: ``(N, H, W)``.
        out: where the values go, ``(9, C, N·H·W)``.
        flip: look to the opposite side, as gradients do.
    """
    count, height, width = images
    framed = planes.new_zeros(len(planes), count, height + 2, width + 2)
    framed[..., 1:-1, 1:-1] = planes.view(len(planes), *images)
    of_plane, of_image, of_row, of_pixel = framed.stride()
    taps = out.view(3, 3, len(planes), *images)
    windows = framed.as_strided(taps.shape, (of_row, of_pixel, of_plane, of_image, of_row, of_pixel))
    if not flip:
        taps.copy_(windows)
        return
    for row, window_row in zip(taps.unbind(), reversed(windows.unbind())):
        for tap, window in zip(row.unbind(), reversed(window_row.unbind())):
            tap.copy_(window)


def sum_of_neighbors(taps: Tensor, images: tuple[int, int, int], flip: bool = False) -> Tensor:
    """Return at every pixel the sum over taps of what each holds at the neighbor in its place: ``(C, N·H·W)``.

    A convolution is also this sum after a product of matrices: of the weights, ``(9 out, C)``, and the planes. The
    neighbor at one place is equally far away in memory for all pixels; what would cross an edge is cleared before.

    Arguments:
        taps: ``(9, C, N·H·W)``; the memory is used up.
        images: ``(N, H, W)``.
        flip: look to the opposite side, as gradients do.
    """
    before, after = (2, 0) if flip else (0, 2)
    rows = taps.view(3, 3, taps.shape[1], taps.shape[2])
    grid = rows.view(*rows.shape[:3], *images)
    grid[:, before, ..., -1].zero_()
    grid[:, after, ..., 0].zero_()
    of_row = _add_shifted(rows[:, 1], rows[:, before], rows[:, after], 1)
    grid[before, 1, ..., -1, :].zero_()
    grid[after, 1, ..., 0, :].zero_()
    return _add_shifted(of_row[1], of_row[before], of_row[after], images[2])


def _add_shifted(total: Tensor, before: Tensor, after: Tensor, distance: int) -> Tensor:
    """Add what lies `distance` before and after, in place."""
    if distance < total.shape[-1]:
        total[..., distance:].add_(before[..., :-distance])
        total[..., :-distance].add_(after[..., distance:])
    return total
