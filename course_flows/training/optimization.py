"""Optimizer, learning rate and moving average of the weights of a training run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from course_flows.training.config import TrainConfig
from course_flows.training.errors import ConfigError

__all__ = ["MovingAverage", "learning_rate", "load_optimizer_tensors", "make_optimizer", "optimizer_tensors"]

FUSED = ("cpu", "cuda")


def make_optimizer(flow: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """Return Adam or AdamW over the trainable parameters, fused where torch has that."""
    parameters = [p for p in flow.parameters() if p.requires_grad]
    if not parameters:
        raise ConfigError("expected a flow with parameters to train, found none")
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(
        parameters,
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        weight_decay=config.weight_decay,
        fused=parameters[0].device.type in FUSED,
    )


def learning_rate(config: TrainConfig, step: int) -> float:
    r"""Return the learning rate of `step` (from 0): a linear rise over the warm-up, times the schedule.

    For ``cosine`` the schedule is :math:`\tfrac12 (1 + \cos \pi t)` with t from 0 to 1 over the run.
    """
    rise = min(1.0, (step + 1) / config.warmup) if config.warmup else 1.0
    fall = 0.5 * (1 + math.cos(math.pi * min(1.0, step / config.steps))) if config.schedule == "cosine" else 1.0
    return config.lr * rise * fall


def optimizer_tensors(flow: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as ``<entry>/<parameter name>``."""
    found = {}
    for name, parameter in flow.named_parameters():
        for entry, value in optimizer.state.get(parameter, {}).items():
            found[f"{entry}/{name}"] = torch.as_tensor(value)
    return found


def load_optimizer_tensors(flow: nn.Module, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Undo `optimizer_tensors`; learning rate and the like stay those of the optimizer.

    What is as large as its parameter is laid out in memory like it: fused optimizers go through both in memory order.
    """
    trained = {name: parameter for name, parameter in flow.named_parameters() if parameter.requires_grad}
    places = {name: place for place, name in enumerate(trained)}
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        entry, _, name = key.partition("/")
        like = trained[name]
        laid_out = torch.empty_like(like, dtype=value.dtype).copy_(value) if value.shape == like.shape else value
        state.setdefault(places[name], {})[entry] = laid_out
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


class MovingAverage:
    r"""Exponential moving average of the floating-point weights and buffers of a module:
    :math:`\bar w \leftarrow d\,\bar w + (1-d)\,w` with :math:`d = \min(\text{decay}, (1+t)/(10+t))` at step t.

    The smaller decay of the first steps forgets the random start.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live = {k: v.detach() for k, v in module.state_dict().items() if v.is_floating_point()}
        self.tensors = {k: v.clone() for k, v in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(decay)(list(self.tensors.values()), list(self._live.values()), step)

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Set the averages."""
        for name, value in self.tensors.items():
            value.copy_(tensors[name])

    @contextmanager
    def in_place_of_the_weights(self) -> Iterator[None]:
        """Put the averages into the module for a while."""
        before = {name: value.clone() for name, value in self._live.items()}
        try:
            for name, value in self.tensors.items():
                self._live[name].copy_(value)
            yield
        finally:
            for name, value in before.items():
                self._live[name].copy_(value)
