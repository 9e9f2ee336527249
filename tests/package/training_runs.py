"""What the tests of training share: tiny runs, and what it means that two runs are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from course_flows.training.checkpoint import Checkpoint, read_checkpoint
from course_flows.training.config import TrainConfig, build_flow, make_config
from course_flows.training.data_feed import load_training
from course_flows.training.runs import read_log
from course_flows.training.signals import StopWish
from course_flows.training.trainer import Trainer, Watch

DIGITS: dict[str, Any] = {
    "preset": "nice-digits",
    "options": {"couplings": 2, "hidden": (8,)},
    "subset": 200,
    "validation": 100,
    "batch_size": 40,
    "lr": 1e-3,
    "schedule": "constant",
    "ema": 0,
    "steps": 23,
    "eval_every": 9,
    "checkpoint_every": 7,
    "log_every": 4,
    "samples": 0,
}
MOONS: dict[str, Any] = {
    "preset": "real-nvp-2d",
    "options": {"couplings": 2, "hidden": (16,)},
    "subset": 300,
    "validation": 100,
    "batch_size": 50,
    "steps": 20,
    "samples": 0,
}


def trainer_of(folder: Path, given: dict[str, Any], checkpoint: Checkpoint | None = None) -> Trainer:
    """A trainer that starts, or goes on from a checkpoint."""
    if checkpoint is None:
        config = make_config(given)
    else:
        config = TrainConfig.from_json(checkpoint.content["config"]).changed(given)
    train, validation = load_training(config.data, None, config.subset, config.validation)
    config = config.for_sizes(len(train), len(validation) if validation else 0)
    flow = build_flow(config, train.event_shape)
    return Trainer(flow, train, config, folder, validation=validation, checkpoint=checkpoint)


class StopAt(Watch):
    """Wishes for a stop after a step, as a signal does."""

    def __init__(self, step: int, stop: StopWish) -> None:
        self.at, self.stop = step, stop

    def step(self, step, train):
        if step == self.at:
            self.stop.signal = 15


def run_with_stop(folder: Path, given: dict[str, Any], at: int) -> None:
    """Train until a step, stop, and go on to the end."""
    stop = StopWish()
    outcome = trainer_of(folder, given).run(StopAt(at, stop), stop)
    assert (outcome.step, outcome.reason, outcome.signal) == (at, "signal", 15)
    torch.randn(7)  # whatever happens to torch's random numbers in between
    outcome = trainer_of(folder, {}, read_checkpoint(folder / "last.json")).run()
    assert (outcome.step, outcome.reason) == (given["steps"], "done")


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, averages, optimizer, random numbers, position, best and log are the same to the last bit."""
    for name in ("last", "best"):
        a, b = (read_checkpoint(folder / f"{name}.json") for folder in (one, other))
        assert a.tensors.keys() == b.tensors.keys()
        assert [k for k in a.tensors if not torch.equal(a.tensors[k], b.tensors[k])] == []
        for content in (a.content, b.content):
            content.pop("about")
            content["progress"].pop("seconds")
        assert a.content == b.content
    logs = [[{k: v for k, v in record.items() if k != "seconds"} for record in read_log(f)] for f in (one, other)]
    assert logs[0] == logs[1]
    assert logs[0]
