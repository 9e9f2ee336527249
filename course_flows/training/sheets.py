"""Samples to look at: a sheet of images, dots in the plane, or rows of a table."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_flows.data import Units
from course_flows.flow import Flow
from course_flows.training.devices import denormals_as_zero, seeded
from course_flows.training.errors import ConfigError
from course_flows.training.metrics import evaluation
from course_flows.transforms.preprocessing import quantize

__all__ = ["draw", "write_rows", "write_sheet"]

SMALLEST_SHEET = 256
DOTS = 2000


@torch.no_grad()
def draw(flow: Flow, count: int, seed: int = 0, temperature: float = 1.0) -> Tensor:
    """Draw ``(count, *event)`` from latents that are multiplied by `temperature`; the same seed, the same samples."""
    if count < 1 or temperature <= 0:
        raise ConfigError(f"expected at least 1 sample and a positive temperature, found {count} and {temperature}")
    with seeded(seed, flow.base.anchor.device), denormals_as_zero(), evaluation(flow):
        return flow.sample(count, temperature=temperature)


def write_sheet(
    path: Path, flow: Flow, levels: int | None, count: int = 64, seed: int = 0, temperature: float = 1.0
) -> None:
    """Write a PNG of samples.

    Arguments:
        levels: of the pixels; None for points in the plane, of which at least 2,000 are drawn as dots.
        count: images on the sheet.
        seed, temperature: see `draw`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if levels is None:
        _write_dots(path, draw(flow, max(count, DOTS), seed, temperature))
    else:
        _write_images(path, draw(flow, count, seed, temperature), levels)


def write_rows(path: Path, flow: Flow, units: Units, count: int = 64, seed: int = 0, temperature: float = 1.0) -> None:
    """Write samples of a flow of standardized rows, in the units of their table, to a file that `load_tabular` reads.

    Arguments:
        path: a ``.csv`` or ``.npz`` file.
        units: of the table.
        count, seed, temperature: see `draw`.

    Raises ConfigError for other files.
    """
    if path.suffix not in (".csv", ".npz"):
        raise ConfigError(f"expected samples of a table to go into a .csv or .npz file, found {path.name}")
    rows = units.restore(draw(flow, count, seed, temperature))
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez_compressed(path, x=rows.numpy(), columns=np.array(units.columns))
        return
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(units.columns)
        writer.writerows(rows.tolist())


def _write_images(path: Path, samples: Tensor, levels: int) -> None:
    from matplotlib.image import imsave

    images = quantize(samples.nan_to_num(), levels).cpu().numpy() / (levels - 1)
    count, channels, height, width = images.shape
    columns = math.ceil(math.sqrt(count))
    rows = -(-count // columns)
    sheet = np.ones((rows * (height + 1) - 1, columns * (width + 1) - 1, channels))
    for k, image in enumerate(images):
        top, left = (k // columns) * (height + 1), (k % columns) * (width + 1)
        sheet[top : top + height, left : left + width] = image.transpose(1, 2, 0)
    zoom = max(1, -(-SMALLEST_SHEET // max(sheet.shape[:2])))
    sheet = np.kron(sheet, np.ones((zoom, zoom, 1)))
    imsave(path, np.repeat(sheet, 3, axis=2) if channels == 1 else sheet)


def _write_dots(path: Path, points: Tensor) -> None:
    from matplotlib.figure import Figure

    from course_flows.plotting import show_samples

    figure = Figure(figsize=(4, 4))
    show_samples(figure.add_subplot(), points[:, :2])
    figure.savefig(path, dpi=100)
