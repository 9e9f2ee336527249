"""Draw samples of a recorded MNIST run, and what its levels hold: python book/results/draw_real_nvp_mnist.py RUN."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import Tensor

from course_flows import Flow, dequantize, quantize
from course_flows.data import load_images
from course_flows.plotting import figure, show_images, use_style
from course_flows.training import load_run
from course_flows.transforms import MultiScale

FOLDER = Path(__file__).resolve().parent
NAME = "real_nvp_mnist"
SEED, COLUMNS, ROWS, LEVELS = 0, 8, 6, 256


def to_images(points: Tensor) -> Tensor:
    """Return integer images of points in [0, 1]."""
    return quantize(points.clamp(0, 1 - 1e-6), LEVELS)


def draw_samples(flow: Flow, real: Tensor) -> None:
    """Draw test images beside samples."""
    generator = torch.Generator().manual_seed(SEED)
    codes = torch.randn(len(real), *flow.event_shape, generator=generator)
    fig, axes = figure(2, size=(4.0, 3.2))
    fig.get_layout_engine().set(wspace=0.06)
    for ax, images, name in zip(axes, (real, to_images(flow.decode(codes))), ("real", "sampled")):
        show_images(ax, images, columns=COLUMNS, levels=LEVELS, pad=2)
        ax.set_title(name)
    fig.savefig(FOLDER / f"{NAME}_samples.png", dpi=110)
    plt.close(fig)


def redraw_each_level(flow: Flow, real: Tensor) -> tuple[list[str], list[Tensor]]:
    """Return names and sheets of images: the real ones, then each part of the code drawn anew in turn."""
    scales = next(part for part in flow.modules() if isinstance(part, MultiScale))
    generator = torch.Generator().manual_seed(SEED)
    points = dequantize(real, LEVELS, generator, torch.float32)
    parts = scales.split(flow.encode(points))
    names, sheets = ["real"], [real]
    for level, part in enumerate(parts):
        changed = list(parts)
        changed[level] = torch.randn(part.shape, generator=generator)
        names.append(f"$z_{level + 1}$ anew ({part[0].numel()} numbers)")
        sheets.append(to_images(flow.decode(scales.join(changed))))
    return names, sheets


def draw_levels(names: Sequence[str], sheets: Sequence[Tensor]) -> None:
    """Draw the rows one below the other, their names above."""
    fig, axes = figure(1, len(sheets), size=(8.0, 0.95))
    for ax, name, images in zip(axes, names, sheets):
        show_images(ax, images, columns=len(images), levels=LEVELS, pad=2)
        ax.set_title(name, loc="left", fontsize=10)
    fig.savefig(FOLDER / f"{NAME}_resampled.png", dpi=110)
    plt.close(fig)


@torch.no_grad()
def main(run: str) -> None:
    """Draw both pictures beside this file."""
    use_style()
    flow = load_run(run)[0].float()
    real = load_images("mnist", split="test").images
    draw_samples(flow, real[: COLUMNS * ROWS])
    draw_levels(*redraw_each_level(flow, real[:12]))


if __name__ == "__main__":
    main(sys.argv[1])
