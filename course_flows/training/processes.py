"""The one place that knows how many processes train together: today one."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass

from torch import Tensor

from course_flows.training.errors import ConfigError

__all__ = ["ONE_PROCESS", "Processes", "current_processes", "derived_seed"]


@dataclass(frozen=True)
class Processes:
    """Which process this is and what depends on it: its part of a batch, its noise, and whether it writes files.

    Attributes:
        rank: number of this process, from 0.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def writes(self) -> bool:
        """Whether this process writes the log, checkpoints and sample sheets."""
        return self.rank == 0

    def part_of(self, batch: Tensor) -> Tensor:
        """Return this process's rows of a whole batch."""
        return batch[self.rank :: self.count]

    def noise_seed(self, seed: int) -> int:
        """Return the seed of what must differ between processes, such as dequantization noise."""
        return derived_seed(seed, "noise", self.rank)


ONE_PROCESS = Processes()


def current_processes() -> Processes:
    """Return the processes that a launcher such as torchrun has started.

    Raises ConfigError where there are several, which would overwrite each other's files.
    """
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        raise ConfigError(f"expected one process, found WORLD_SIZE={count}: training in several is not written yet")
    return ONE_PROCESS


def derived_seed(*parts: int | str) -> int:
    """Return a seed for one purpose that has nothing to do with the seeds for others.

    >>> derived_seed(0, "order", 1) == derived_seed(0, "order", 1) != derived_seed(0, "order", 2)
    True
    """
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1
