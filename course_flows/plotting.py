"""Every figure style of the book: one look, colors that survive grayscale and color blindness."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from cycler import cycler
from matplotlib.animation import Animation
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from course_flows.diagnostics.report import Diagnosis

__all__ = [
    "COLORS",
    "animation_html",
    "figure",
    "show_deformed_grid",
    "show_density_2d",
    "show_diagnosis",
    "show_images",
    "show_matrix",
    "show_samples",
    "use_style",
]

# Okabe and Ito (2008), ordered so that neighbors differ in lightness
COLORS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
}

Bounds = tuple[float, float, float, float]


def use_style() -> None:
    """Set matplotlib's defaults for the book: white background, readable sizes, no top and right spines."""
    lines = cycler(color=[COLORS[c] for c in ("blue", "orange", "green", "red", "purple", "black")])
    dashes = cycler(linestyle=["-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1))])
    plt.rcParams.update(
        {
            "figure.facecolor": "white",
            "figure.dpi": 100,
            "savefig.facecolor": "white",
            "figure.constrained_layout.use": True,
            "axes.prop_cycle": lines + dashes,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.labelsize": 11,
            "axes.titlesize": 11,
            "font.size": 10.5,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "image.cmap": "viridis",
            "mathtext.fontset": "cm",
        }
    )


def figure(ncols: int = 1, nrows: int = 1, size: tuple[float, float] = (3.4, 3.0), **kwargs: Any) -> tuple[Figure, Any]:
    """Return a figure and its axes; `size` is the width and height of one panel in inches."""
    return plt.subplots(nrows, ncols, figsize=(size[0] * ncols, size[1] * nrows), **kwargs)


def _grid(bounds: Bounds, resolution: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor, Tensor]:
    x0, x1, y0, y1 = bounds
    xs = torch.linspace(x0, x1, resolution, dtype=dtype)
    ys = torch.linspace(y0, y1, resolution, dtype=dtype)
    gx, gy = torch.meshgrid(xs, ys, indexing="xy")
    return gx, gy, torch.stack([gx.flatten(), gy.flatten()], dim=1)


@torch.no_grad()
def show_density_2d(
    ax: Axes,
    log_prob: Callable[[Tensor], Tensor],
    bounds: Bounds = (-3.0, 3.0, -3.0, 3.0),
    resolution: int = 120,
    dtype: torch.dtype = torch.float32,
    **kwargs: Any,
) -> Any:
    """Paint the density ``exp(log_prob(points))`` over ``bounds = (x0, x1, y0, y1)``; `points` is ``(n, 2)``."""
    gx, gy, points = _grid(bounds, resolution, dtype)
    density = log_prob(points).exp().reshape(gx.shape)
    mesh = ax.pcolormesh(gx.numpy(), gy.numpy(), density.cpu().numpy(), shading="gouraud", **kwargs)
    ax.set_aspect("equal")
    return mesh


def show_samples(ax: Axes, x: Tensor, color: str = "blue", size: float = 4.0, **kwargs: Any) -> Any:
    """Scatter points ``(n, 2)``."""
    points = x.detach().cpu().numpy()
    dots = ax.scatter(points[:, 0], points[:, 1], s=size, color=COLORS.get(color, color), linewidths=0, **kwargs)
    ax.set_aspect("equal")
    return dots


@torch.no_grad()
def show_deformed_grid(
    ax: Axes,
    fn: Callable[[Tensor], Tensor],
    bounds: Bounds = (-2.0, 2.0, -2.0, 2.0),
    lines: int = 13,
    resolution: int = 200,
    color: str = "blue",
    dtype: torch.dtype = torch.float32,
) -> None:
    """Draw the images under `fn` ``(n, 2) -> (n, 2)`` of the lines of a regular grid over `bounds`."""
    x0, x1, y0, y1 = bounds
    t = torch.linspace(0, 1, resolution, dtype=dtype)
    for share in torch.linspace(0, 1, lines, dtype=dtype).tolist():
        for vertical in (True, False):
            if vertical:
                line = torch.stack([torch.full_like(t, x0 + share * (x1 - x0)), y0 + t * (y1 - y0)], dim=1)
            else:
                line = torch.stack([x0 + t * (x1 - x0), torch.full_like(t, y0 + share * (y1 - y0))], dim=1)
            image = fn(line).cpu().numpy()
            style = "-" if vertical else "--"
            ax.plot(image[:, 0], image[:, 1], color=COLORS.get(color, color), linewidth=0.8, linestyle=style)
    ax.set_aspect("equal")


def show_images(ax: Axes, images: Tensor, columns: int = 8, levels: int = 256, pad: int = 1) -> None:
    """Show integer images ``(N, C, H, W)`` as one sheet with `columns` columns; gray for C = 1, color for C = 3."""
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.ones((rows * (height + pad) - pad, columns * (width + pad) - pad, channels))
    for k, image in enumerate(images.detach().cpu().double().numpy() / (levels - 1)):
        top, left = (k // columns) * (height + pad), (k % columns) * (width + pad)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    ax.imshow(sheet.squeeze(-1) if channels == 1 else sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    ax.set_axis_off()


def show_matrix(ax: Axes, matrix: Tensor, labels: Sequence[str] | None = None, numbers: bool = False) -> Any:
    """Show a matrix ``(rows, columns)`` in colors that are symmetric about 0; `numbers` writes the entries too."""
    values = matrix.detach().cpu().double().numpy()
    limit = float(np.abs(values).max()) or 1.0
    image = ax.imshow(values, cmap="PuOr", vmin=-limit, vmax=limit)
    ax.set_xticks(range(values.shape[1]), labels)
    ax.set_yticks(range(values.shape[0]), labels)
    if numbers:
        for (i, j), v in np.ndenumerate(values):
            ax.text(j, i, f"{v:.2g}", ha="center", va="center", color="white" if abs(v) > 0.6 * limit else "black")
    return image


def show_diagnosis(ax: Axes, diagnosis: Diagnosis) -> None:
    """Draw the errors and the condition number of each layer of a `course_flows.diagnostics.Diagnosis` on a log scale.

    The layers go from the top to the bottom. Those with a warning have a cross at the left; one that gives NaN or
    infinite numbers has nothing else.
    """
    layers = diagnosis.layers
    places = np.arange(len(layers))
    smallest = 1e-17  # where an error of 0 is drawn
    curves = (
        ("condition number", [layer.condition for layer in layers], "black", "^", "--"),
        ("inverse error", [layer.reconstruction for layer in layers], "blue", "o", "-"),
        ("log-det error", [layer.log_det_error for layer in layers], "orange", "s", ":"),
    )
    for label, values, color, marker, line in curves:
        known = [np.nan if v is None or not np.isfinite(v) else max(v, smallest) for v in values]
        ax.plot(known, places, label=label, color=COLORS[color], marker=marker, linestyle=line, markersize=4)
    ill = [k for k, layer in enumerate(layers) if layer.warnings]
    at = smallest / 5  # beside an error of 0, not on it
    ax.plot([at] * len(ill), ill, label="warning", color=COLORS["red"], marker="X", markersize=9, linestyle="")
    ax.set_xscale("log")
    ax.set_xlim(smallest / 20, None)
    ax.set_yticks(places, [f"{layer.kind} {k}" for k, layer in enumerate(layers)])
    ax.invert_yaxis()
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)


def animation_html(animation: Animation, alt: str, fps: int = 10) -> str:
    """Return HTML with play buttons for an animation, its frames inside and nothing loaded from elsewhere.

    Close the animation's figure afterwards, else a notebook shows its last frame once more.
    """
    page = animation.to_jshtml(fps=fps, default_mode="loop")
    page = re.sub(r"<link[^>]*font-awesome[^>]*>", "", page)
    page = page.replace("<img id=", f'<img alt="{html.escape(alt)}" id=')
    return page.replace('<input id="_anim_slider', '<input aria-label="Animation frame" id="_anim_slider')
