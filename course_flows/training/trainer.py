"""The training loop: steps, records, validation, checkpoints, and the same bits after a stop as without one."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_flows.flow import Flow
from course_flows.training.checkpoint import Checkpoint, fill, write_checkpoint
from course_flows.training.config import TrainConfig
from course_flows.training.data_feed import Feed, Split
from course_flows.training.devices import conditioners_in, denormals_as_zero, load_random_state, random_state, seeded
from course_flows.training.evaluation import finite_or_none, score
from course_flows.training.non_finite import Batch, report_non_finite
from course_flows.training.optimization import (
    MovingAverage,
    learning_rate,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
)
from course_flows.training.processes import ONE_PROCESS, Processes, derived_seed
from course_flows.training.runs import Log, check_units
from course_flows.training.sheets import write_sheet
from course_flows.training.signals import StopWish

__all__ = ["Outcome", "Trainer", "Watch"]


class Watch:
    """What a trainer tells while it runs. This one does nothing with it."""

    def step(self, step: int, train: Mapping[str, float]) -> None:
        """Take notice that `step` steps are done, the last with these ``nats`` and ``bits_per_dim``."""

    def record(self, record: Mapping[str, Any]) -> None:
        """Take notice of a record of the log."""


@dataclass(frozen=True)
class Outcome:
    """How a call of `Trainer.run` ended.

    Attributes:
        step, seconds: of the run in all its parts.
        reason: ``done``, ``time`` (max_seconds are over), ``patience`` (validation got no better) or ``signal``.
        signal: number of the signal that asked for the end.
    """

    step: int
    seconds: float
    reason: str
    signal: int | None = None


@dataclass
class _Progress:
    """What a run carries from step to step beside tensors."""

    step: int = 0
    seconds: float = 0.0
    pending_loss: float = 0.0
    pending_count: int = 0
    best_step: int = -1
    best_nats: float = -math.inf
    waited: int = 0  # validations since the best one


class Trainer:
    """Maximum-likelihood training of a flow in a folder that a stopped run goes on from.

    Arguments:
        flow: on `device`, with the weights that it starts from.
        train, validation: on `device`; without a validation part there is no best checkpoint.
        config: with numbers of steps, see `TrainConfig.for_sizes`.
        folder: gets ``log.jsonl``, ``last.json`` and ``best.json`` with their tensors, and ``samples/`` unless the
            data are a table.
        about: further values for the checkpoints, such as the hardware.
        checkpoint: where to go on; None to start.

    Raises CheckpointError where the checkpoint does not fit the flow or the table.
    """

    def __init__(
        self,
        flow: Flow,
        train: Split,
        config: TrainConfig,
        folder: Path,
        *,
        validation: Split | None = None,
        about: Mapping[str, Any] | None = None,
        checkpoint: Checkpoint | None = None,
        processes: Processes = ONE_PROCESS,
    ) -> None:
        self.flow = flow
        self.config = config
        self.folder = folder
        self.validation = validation
        self.about = dict(about or {})
        self.processes = processes
        self.device = train.values.device
        self.feed = Feed(train, config.batch_size, config.seed, processes)
        self.optimizer = make_optimizer(flow, config)
        self.average = MovingAverage(flow, config.ema) if config.ema else None
        self.progress = _Progress()
        self._random: dict[str, Tensor] | None = None
        if checkpoint is not None:
            self._load(checkpoint)

    def run(self, watch: Watch | None = None, stop: StopWish | None = None) -> Outcome:
        """Train until steps, seconds or patience are over or `stop` asks for an end; save; return how it ended.

        Torch's random numbers are afterwards as they were before, and the flow is in eval mode.

        Raises NonFiniteError where the likelihood stops being finite.
        """
        watch, stop, flow = watch or Watch(), stop or StopWish(), self.flow
        checks = flow.validate
        with ExitStack() as stack:
            stack.enter_context(torch.enable_grad())
            stack.enter_context(denormals_as_zero())
            stack.enter_context(seeded(self.processes.noise_seed(self.config.seed), self.device))
            if self._random is not None:
                load_random_state(self._random, self.device)
            if self.processes.writes and self.progress.step == 0:
                (self.folder / "best.json").unlink(missing_ok=True)  # of a run that was killed early
            log = Log(self.folder, self.progress.step) if self.processes.writes else None
            if log is not None:
                stack.callback(log.close)
            flow.train()
            flow.validate = False  # the feed has looked at the data once
            try:
                return self._loop(watch, stop, log)
            finally:
                flow.validate = checks
                flow.eval()

    def _loop(self, watch: Watch, stop: StopWish, log: Log | None) -> Outcome:
        config, progress = self.config, self.progress
        clock = _Clock(progress.seconds)
        reason = self._reason_to_end()
        while reason is None:
            loss, norm = self._step(progress.step)
            progress.step += 1
            progress.pending_loss += loss
            progress.pending_count += 1
            progress.seconds = clock.seconds()
            watch.step(progress.step, self._in_units(loss))
            reason = self._reason_to_end()
            evaluate = reason is not None or progress.step % config.eval_every == 0
            if evaluate or progress.step % config.log_every == 0:
                record = self._record(norm, evaluate)
                progress.seconds = clock.seconds()
                if log is not None:
                    log.write(record)
                watch.record(record)
            if reason is None and self._patience_is_over():
                reason = "patience"
            due = reason is not None or progress.step % config.checkpoint_every == 0
            if due:
                self._draw_samples()
            if due or stop.signal is not None:
                self._save()
            if reason is None and stop.signal is not None:
                return Outcome(progress.step, progress.seconds, "signal", stop.signal)
        return Outcome(progress.step, progress.seconds, reason)

    def _reason_to_end(self) -> str | None:
        if self.progress.step >= self.config.steps:
            return "done"
        if self.config.max_seconds is not None and self.progress.seconds >= self.config.max_seconds:
            return "time"
        return "patience" if self._patience_is_over() else None

    def _patience_is_over(self) -> bool:
        return 0 < self.config.patience <= self.progress.waited

    def _step(self, step: int) -> tuple[float, float | None]:
        """Do one step; return the mean loss in nats and, with clipping, the norm of the gradient before it."""
        config = self.config
        points = self.feed.points(step)
        with conditioners_in(config.precision, self.flow, self.device):
            log_prob = self.flow.log_prob(points)
            loss = -log_prob.mean()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
        norm = nn.utils.clip_grad_norm_(self.flow.parameters(), config.clip) if config.clip else None
        self._batch = Batch(step, self.feed.indices(step), points, log_prob.detach(), norm)
        value = loss.item()
        if not math.isfinite(value) or not (norm is None or math.isfinite(norm)):
            report_non_finite(self.folder, self.flow, self._batch)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(config, step)
        self.optimizer.step()
        if self.average is not None:
            self.average.update(step)
        return value, None if norm is None else norm.item()

    def _in_units(self, loss: float) -> dict[str, float]:
        """Return the loss as log-likelihood in nats and, for images, in bits per dimension."""
        split = self.feed.split
        if split.levels is None:
            return {"nats": -loss}
        size = math.prod(split.event_shape)
        nats = -loss - size * math.log(split.levels)
        return {"nats": nats, "bits_per_dim": -nats / (size * math.log(2))}

    def _record(self, norm: float | None, evaluate: bool) -> dict[str, Any]:
        progress = self.progress
        record: dict[str, Any] = {
            "step": progress.step,
            "epoch": progress.step / self.feed.steps_per_epoch,
            "seconds": round(progress.seconds, 3),
            "lr": learning_rate(self.config, progress.step - 1),
        }
        train = self._in_units(progress.pending_loss / progress.pending_count)
        record |= {f"train_{unit}": value for unit, value in train.items()}
        progress.pending_loss, progress.pending_count = 0.0, 0
        if norm is not None:
            record["gradient_norm"] = norm
        if evaluate and self.validation is not None:
            record |= self._validate(self.validation)
        return record

    def _validate(self, validation: Split) -> dict[str, float | None]:
        """Score the validation part with noise that is the same every time; keep the weights where it is the best."""
        seed = derived_seed(self.config.seed, "validation")
        with self._averaged():
            found = score(self.flow, validation, seed=seed)
            if found.nats > self.progress.best_nats:
                self.progress.best_nats = found.nats
                self.progress.best_step = self.progress.step
                self.progress.waited = 0
                self._write("best", {f"weights/{k}": v for k, v in self.flow.state_dict().items()})
            elif self.progress.step % self.config.eval_every == 0:  # not the one more that a stop by the clock brings
                self.progress.waited += 1
        return found.named("validation")

    def _averaged(self) -> Any:
        return nullcontext() if self.average is None else self.average.in_place_of_the_weights()

    def _draw_samples(self) -> None:
        if self.config.samples and self.processes.writes and self.feed.split.units is None:
            path = self.folder / "samples" / f"step-{self.progress.step:07d}.png"
            seed = derived_seed(self.config.seed, "samples")
            with self._averaged():
                write_sheet(path, self.flow, self.feed.split.levels, self.config.samples, seed)

    def _save(self) -> None:
        """Write the checkpoint from which the run can go on."""
        if not all(bool(torch.isfinite(p).all()) for p in self.flow.parameters()):
            report_non_finite(self.folder, self.flow, self._batch)
        tensors = {f"weights/{k}": v for k, v in self.flow.state_dict().items()}
        if self.average is not None:
            tensors |= {f"ema/{k}": v for k, v in self.average.tensors.items()}
        tensors |= {f"optimizer/{k}": v for k, v in optimizer_tensors(self.flow, self.optimizer).items()}
        tensors |= {f"random/{k}": v for k, v in random_state(self.device).items()}
        self._write("last", tensors)

    def _write(self, name: str, tensors: Mapping[str, Tensor]) -> None:
        if not self.processes.writes:
            return
        epoch, batch = divmod(self.progress.step, self.feed.steps_per_epoch)
        content = {
            "config": self.config.to_json(),
            "event_shape": list(self.feed.split.event_shape),
            "levels": self.feed.split.levels,
            "train_data": self.feed.split.name,
            "train_size": len(self.feed.split),
            "progress": {**vars(self.progress), "best_nats": finite_or_none(self.progress.best_nats)},
            "position": {"epoch": epoch, "batch": batch},
            "about": self.about,
        }
        if self.feed.split.units is not None:
            content["units"] = self.feed.split.units.to_json()
        write_checkpoint(self.folder, name, tensors, content)

    def _load(self, checkpoint: Checkpoint) -> None:
        check_units(checkpoint, self.feed.split)
        fill(self.flow, checkpoint.part("weights"), "the checkpoint")
        if self.average is not None:
            self.average.load(checkpoint.part("ema"))
        load_optimizer_tensors(self.flow, self.optimizer, checkpoint.part("optimizer"))
        self._random = checkpoint.part("random")
        stored = dict(checkpoint.content["progress"])
        stored["best_nats"] = -math.inf if stored["best_nats"] is None else stored["best_nats"]
        self.progress = _Progress(**stored)


class _Clock:
    """Seconds of training, those before a stop included."""

    def __init__(self, before: float) -> None:
        self._start = time.perf_counter() - before

    def seconds(self) -> float:
        return time.perf_counter() - self._start
