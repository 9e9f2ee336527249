"""What a flow is trained on: the splits of each data set, and the order in which a run goes through them."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from course_flows.data import ImageData, TabularSplit, Units, load_images, load_split, toy
from course_flows.data.splits import PATCHES
from course_flows.data.tabular import BUNDLED, table_names
from course_flows.training.errors import ConfigError
from course_flows.training.processes import ONE_PROCESS, Processes, derived_seed
from course_flows.transforms.preprocessing import check_levels, dequantize

__all__ = ["DATA_SETS", "Feed", "Split", "load_test", "load_training"]

IMAGES = {"digits": 300, "mnist": 10_000, "fashion-mnist": 10_000, "cifar10": 5_000}
TOYS: dict[str, Callable[..., Tensor]] = {
    "two-moons": toy.two_moons,
    "eight-gaussians": toy.eight_gaussians,
    "checkerboard": toy.checkerboard,
    "rings": toy.rings,
    "pinwheel": toy.pinwheel,
    "two-spirals": toy.two_spirals,
}
TOY_SIZES = {"train": 10_000, "validation": 2_000, "test": 10_000}
DATA_SETS = (*IMAGES, *TOYS, *BUNDLED, PATCHES)


@dataclass(frozen=True)
class Split:
    """One part of a data set.

    Attributes:
        values: uint8 images ``(N, C, H, W)`` or real points ``(N, D)``.
        levels: number of values that a pixel can take; None for points.
        name: such as ``"mnist, train, subset of 1000"``.
        units: what turns the rows of a table, which are standardized, into its units; None for what is no table.
    """

    values: Tensor
    levels: int | None
    name: str
    units: Units | None = None

    def __len__(self) -> int:
        return len(self.values)

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one image or point."""
        return tuple(self.values.shape[1:])

    def to(self, device: torch.device) -> Split:
        """Return the same values on `device`, images still as uint8."""
        return replace(self, values=self.values.to(device))


def load_training(
    data: str,
    data_dir: str | Path | None = None,
    subset: int | None = None,
    validation: int | None = None,
    drop_missing: bool = False,
) -> tuple[Split, Split | None]:
    """Load the training part of a data set and cut the validation part off it.

    Arguments:
        data: a name of `DATA_SETS`, or the stem of an ``.npz`` or ``.csv`` file, see `course_flows.data.load_split`.
        data_dir: folder of the files; default: the variable COURSE_FLOWS_DATA. Digits, toy sets and the tables that
            scikit-learn brings along need none.
        subset: train on the first so many images or rows only (toy sets: draw so many points).
        validation: how many of the *last* training images are kept for validation, whatever the subset. Default:
            10,000 of MNIST's and Fashion-MNIST's 60,000, 5,000 of CIFAR-10's 50,000, 300 of the 1,500 digits. Toy
            sets: how many points are drawn, 2,000. 0 for none, which gives None. The validation part of a table is as
            large as its documented split says: it can be left out, but not changed.
        drop_missing: leave out rows of a table with a missing value.

    Raises ConfigError for a name or a size that is not there, DataError where files are missing or broken.
    """
    _check_name(data, data_dir)
    if subset is not None and subset < 1:
        raise ConfigError(f"expected a subset of at least 1, found {subset}")
    if _is_table(data):
        return _table_for_training(load_split(data, data_dir, drop_missing), subset, validation)
    if data in TOYS:
        kept = TOY_SIZES["validation"] if validation is None else validation
        train = _toy(data, "train", subset or TOY_SIZES["train"], "" if subset is None else f", subset of {subset}")
        return train, _toy(data, "validation", kept) if kept else None
    found = load_images(data, "train", data_dir)
    kept = IMAGES[data] if validation is None else validation
    rest = len(found) - kept
    if kept < 0 or rest < 1:
        raise ConfigError(f"expected 0 to {len(found) - 1} validation images of {data}, found {kept}")
    if subset is not None and subset > rest:
        raise ConfigError(
            f"expected a subset of at most {rest} images ({len(found)} of {data} less {kept} for validation), "
            f"found {subset}"
        )
    name = found.name if subset is None else f"{found.name}, subset of {subset}"
    train = Split(found.images[:rest][:subset], found.levels, name)
    return train, Split(found.images[rest:], found.levels, f"{data}, validation") if kept else None


def load_test(data: str, data_dir: str | Path | None = None, drop_missing: bool = False) -> Split:
    """Load the test part of a data set, see `load_training`."""
    _check_name(data, data_dir)
    if _is_table(data):
        table = load_split(data, data_dir, drop_missing)
        return _table_part(table, "test", table.test)
    if data in TOYS:
        return _toy(data, "test", TOY_SIZES["test"])
    found: ImageData = load_images(data, "test", data_dir)
    return Split(found.images, found.levels, found.name)


def _check_name(data: str, data_dir: str | Path | None) -> None:
    if data in DATA_SETS:
        return
    tables = table_names(data_dir)
    if data in tables:
        return
    close = difflib.get_close_matches(data, [*DATA_SETS, *tables], n=1)
    there = ", ".join(tables) or "none is there"
    raise ConfigError(
        f"expected data to be one of {', '.join(DATA_SETS)}, or a table of the folder of data ({there}), found {data!r}"
        + (f"; did you mean {close[0]!r}?" if close else "")
    )


def _is_table(data: str) -> bool:
    return data not in IMAGES and data not in TOYS


def _table_for_training(table: TabularSplit, subset: int | None, validation: int | None) -> tuple[Split, Split | None]:
    size, kept = len(table.train), len(table.validation)
    if validation not in (None, 0, kept):
        raise ConfigError(
            f"expected {kept} validation rows of {table.name}, as its split is documented, or 0 for none, found "
            f"{validation}"
        )
    if subset is not None and subset > size:
        raise ConfigError(f"expected a subset of at most {size} rows ({table.name}), found {subset}")
    train = _table_part(table, "train", table.train[:subset], "" if subset is None else f", subset of {subset}")
    return train, None if validation == 0 else _table_part(table, "validation", table.validation)


def _table_part(table: TabularSplit, part: str, rows: Tensor, note: str = "") -> Split:
    """Return rows in float32, as flows are trained."""
    if table.left_out:
        note += f", without {table.left_out} rows with missing values"
    return Split(rows.float(), None, f"{table.name}, {part}{note}", table.units)


def _toy(data: str, split: str, size: int, note: str = "") -> Split:
    points = TOYS[data](size, seed=list(TOY_SIZES).index(split))
    return Split(points, None, f"{data}, {split}{note}")


class Feed:
    """Batches in an order that a seed and the number of the step decide, so that a run can start at any step.

    Every epoch visits the split in a new random order; what is left at its end and is less than a batch is not used
    in that epoch. The values stay where the split is, images as uint8; each batch is dequantized there with fresh
    noise from torch's random numbers.

    Arguments:
        split: where the batches come from.
        batch_size: images a step, over all processes.
        seed: of the order.
        processes: says which part of each batch is this process's.
    """

    def __init__(self, split: Split, batch_size: int, seed: int, processes: Processes = ONE_PROCESS) -> None:
        if not 1 <= batch_size <= len(split):
            raise ConfigError(f"expected a batch size of 1 to {len(split)} ({split.name}), found {batch_size}")
        if split.levels is not None:
            check_levels(split.values, split.levels)
        elif not torch.isfinite(split.values).all():
            raise ConfigError(f"expected finite points, found NaN or infinite ones in {split.name}")
        self.split = split
        self.batch_size = batch_size
        self.seed = seed
        self.processes = processes
        self.steps_per_epoch = len(split) // batch_size
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def indices(self, step: int) -> Tensor:
        """Return which images of the split this process sees at `step`."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
            self._order = torch.randperm(len(self.split), generator=generator).to(self.split.values.device)
            self._epoch = epoch
        batch = self._order[place * self.batch_size : (place + 1) * self.batch_size]
        return self.processes.part_of(batch)

    def points(self, step: int) -> Tensor:
        """Return the batch of `step` as points of a flow: images dequantized to [0, 1), points as they are."""
        values = self.split.values[self.indices(step)]
        return values if self.split.levels is None else dequantize(values, self.split.levels)
