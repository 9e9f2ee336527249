"""A run's folder: its log, its checkpoints, and the flow that comes out of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch

from course_flows.data import Units
from course_flows.flow import Flow
from course_flows.training.checkpoint import Checkpoint, fill, read_checkpoint, write_text
from course_flows.training.config import TrainConfig, build_flow
from course_flows.training.data_feed import Split
from course_flows.training.errors import CheckpointError, ConfigError

__all__ = [
    "Log",
    "alone_in",
    "check_units",
    "evaluation_file",
    "find_checkpoint",
    "flow_of",
    "load_run",
    "read_log",
    "units_of",
]

LOG = "log.jsonl"
WHICH = ("best", "last")


def load_run(path: str | Path, which: str = "best", device: str | torch.device = "cpu") -> tuple[Flow, TrainConfig]:
    """Load the flow of a training run, ready to be evaluated and sampled.

    Arguments:
        path: the folder of the run, or the JSON file of one of its checkpoints.
        which: ``best`` on the validation part (``last`` where there was none) or ``last``.
        device: where the flow shall live.

    Returns the flow in eval mode, with the moving average of the weights where the run kept one, and the configuration.
    A flow of a table is one of standardized rows, see `units_of`.
    Raises CheckpointError where the files are missing or damaged. Nothing is unpickled.
    """
    checkpoint = read_checkpoint(find_checkpoint(path, which))
    flow, config = flow_of(checkpoint)
    return flow.to(device), config


def find_checkpoint(path: str | Path, which: str = "best") -> Path:
    """Return the JSON file of a checkpoint, see `load_run`."""
    if which not in WHICH:
        raise ValueError(f"expected one of the checkpoints {', '.join(WHICH)}, found {which!r}")
    path = Path(path)
    if path.suffix == ".json":
        return path
    best, last = path / "best.json", path / "last.json"
    if which == "best" and best.is_file():
        return best
    if last.is_file():
        return last
    raise CheckpointError(f"{path} holds no checkpoint: expected the folder of a training run, with last.json in it")


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other trainers out of the folder of a run for a while; the system lets go when this process ends.

    Raises ConfigError where another process is in it. Windows has no such lock: there nobody is kept out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("a") as file:
        with suppress(ImportError):
            import fcntl

            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ConfigError(
                    f"another process is training in {folder}: wait for it, or name another --out"
                ) from error
        yield


def evaluation_file(run: str | Path, split: str) -> Path:
    """Return where the numbers of a split are kept, given the folder of a run or the file of a checkpoint."""
    run = Path(run)
    return (run.parent if run.suffix == ".json" else run) / f"evaluation-{split}.json"


def flow_of(checkpoint: Checkpoint) -> tuple[Flow, TrainConfig]:
    """Build the flow of a checkpoint and give it its weights."""
    config = TrainConfig.from_json(checkpoint.content["config"])
    flow = build_flow(config, checkpoint.content["event_shape"])
    weights = {**checkpoint.part("weights"), **checkpoint.part("ema")}
    fill(flow, weights, "the checkpoint")
    return flow.eval(), config


def units_of(checkpoint: Checkpoint) -> Units | None:
    """Return what turns points of a flow into the units of the table that it was trained on; None for no table."""
    content = checkpoint.content.get("units")
    return None if content is None else Units.from_json(content)


def check_units(checkpoint: Checkpoint, split: Split) -> None:
    """Raise CheckpointError where a table is not the one that a run was trained on."""
    then, now = units_of(checkpoint), split.units
    if then is None or now is None or then.agrees_with(now):
        return
    what = f"columns {', '.join(then.columns)}, found {', '.join(now.columns)}"
    if then.columns == now.columns:
        what = "the same means and deviations, found others"
    raise CheckpointError(f"{split.name} is not the table that the run was trained on: expected {what}")


class Log:
    """The records of a run, one JSON object a line.

    Arguments:
        folder: of the run.
        step: where the run goes on; later records, and a last line that was cut off, are dropped.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / LOG
        kept = [json.dumps(record) + "\n" for record in read_log(folder) if record["step"] <= step] if step else []
        write_text(path, "".join(kept))
        self._file = path.open("a", encoding="utf-8")

    def write(self, record: Mapping[str, Any]) -> None:
        """Append a record."""
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the records of a run, without a last one that was cut off."""
    path = folder / LOG
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            break
    return records
