"""The bodies of ``course-flows train``, ``evaluate``, ``sample`` and ``record``: they print and return a status."""

from __future__ import annotations

import json
import shlex
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any

import click
import torch
from tqdm import tqdm

from course_flows.data import DataError
from course_flows.training.checkpoint import Checkpoint, read_checkpoint, write_text
from course_flows.training.config import TrainConfig, build_flow, make_config, parse_settings
from course_flows.training.data_feed import Split, load_test, load_training
from course_flows.training.devices import choose_device, describe_hardware
from course_flows.training.errors import ConfigError, TrainingError
from course_flows.training.evaluation import score
from course_flows.training.processes import current_processes
from course_flows.training.records import describe_code, write_record
from course_flows.training.runs import alone_in, check_units, evaluation_file, find_checkpoint, flow_of, units_of
from course_flows.training.sheets import write_rows, write_sheet
from course_flows.training.signals import stop_wish
from course_flows.training.trainer import Outcome, Trainer, Watch

__all__ = ["evaluate", "record", "sample", "train"]

DTYPES = {"float32": torch.float32, "float64": torch.float64}
DONE, SIGNALLED = 0, 128


def _says_errors(command: Callable[..., int]) -> Callable[..., int]:
    """Print what a user can do something about as a sentence, without a traceback."""

    @wraps(command)
    def run(*args: Any, **options: Any) -> int:
        try:
            return command(*args, **options)
        except (TrainingError, DataError) as error:
            click.echo(f"course-flows: {error}", err=True)
            return error.status if isinstance(error, TrainingError) else TrainingError.status

    return run


@_says_errors
def train(
    folder: Path, given: Mapping[str, Any], *, resume: bool = False, device: str = "auto", data_dir: Path | None = None
) -> int:
    """Train in `folder`; `given` are the settings that the user named, ``options`` as ``key=value``."""
    processes = current_processes()
    where = choose_device(device)
    given = dict(given)
    if "options" in given:
        given["options"] = parse_settings(given["options"])
    checkpoint = _checkpoint_in(folder, resume)
    if checkpoint is None:
        config = make_config(given)
    else:
        config = TrainConfig.from_json(checkpoint.content["config"]).changed(given)
    train_part, validation = _parts(config, data_dir)
    config = config.for_sizes(len(train_part), len(validation) if validation else 0)
    trainer = Trainer(
        build_flow(config, train_part.event_shape).to(where),
        train_part.to(where),
        config,
        folder,
        validation=validation.to(where) if validation else None,
        about=_about(checkpoint, where, given, folder),
        checkpoint=checkpoint,
        processes=processes,
    )
    click.echo(_opening(trainer, checkpoint))
    with alone_in(folder), _Bar(config, trainer.progress.step, trainer.progress.seconds) as bar, stop_wish() as stop:
        outcome = trainer.run(bar, stop)
    click.echo(_closing(outcome, trainer))
    return DONE if outcome.signal is None else SIGNALLED + outcome.signal


def _checkpoint_in(folder: Path, resume: bool) -> Checkpoint | None:
    path = folder / "last.json"
    if not path.is_file():
        return None
    if not resume:
        raise ConfigError(f"{folder} holds a run already: go on with it by --resume, or name another folder by --out")
    return read_checkpoint(path)


def _about(
    checkpoint: Checkpoint | None, device: torch.device, given: Mapping[str, Any], folder: Path
) -> dict[str, Any]:
    """Return what a record says of the machine and the code; a run that goes on elsewhere lists all of them."""
    now = {"hardware": describe_hardware(device), **describe_code()}
    if checkpoint is None:
        return {"command": f"{command_of(given)} --out {shlex.quote(folder.name)}", "sessions": [now]}
    about = dict(checkpoint.content["about"])
    if now not in about["sessions"]:
        about["sessions"] = [*about["sessions"], now]
    stored = checkpoint.content["config"]
    lengths = ("epochs", "steps", "max_seconds", "patience")
    longer = {n: given[n] for n in lengths if n in given and given[n] != stored.get(n)}
    if longer:
        about["command"] = f"{about['command']} (gone on with{command_of(longer, '')})"
    return about


def command_of(given: Mapping[str, Any], program: str = "course-flows train") -> str:
    """Return the command with the settings that were named; where the data were is left out."""
    words = [program]
    for name, value in given.items():
        if value is True:
            words.append(f"--{name.replace('_', '-')}")
        elif name == "options":
            words += [f"--set {shlex.quote(f'{k}={_as_text(v)}')}" for k, v in value.items()]
        else:
            words.append(f"--{name.replace('_', '-')} {shlex.quote(_as_text(value))}")
    return " ".join(words)


def _as_text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(map(_as_text, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _opening(trainer: Trainer, checkpoint: Checkpoint | None) -> str:
    config, feed = trainer.config, trainer.feed
    size = sum(p.numel() for p in trainer.flow.parameters())
    name = config.preset or config.model
    start = "" if checkpoint is None else f", going on from step {trainer.progress.step}"
    return (
        f"{name}: {size:,} parameters on {len(feed.split):,} of {feed.split.name}, {config.steps:,} steps of "
        f"{config.batch_size} ({config.steps / feed.steps_per_epoch:.4g} epochs) on {trainer.device.type}{start}"
    )


def _closing(outcome: Outcome, trainer: Trainer) -> str:
    config, folder = trainer.config, trainer.folder
    if outcome.reason == "done":
        return f"done: {outcome.step:,} steps in {outcome.seconds:.0f} s, in {folder}"
    if outcome.reason == "patience":
        return (
            f"ended at step {outcome.step:,} of {config.steps:,}, since validation was no better than at step "
            f"{trainer.progress.best_step:,} for {trainer.progress.waited} times: {outcome.seconds:.0f} s, in {folder}"
        )
    why = "max-seconds are over"
    if outcome.signal is not None:
        why = f"stopped by {signal.Signals(outcome.signal).name}"
    again = f"course-flows train --resume --out {shlex.quote(str(folder))}"
    return f"{why} at step {outcome.step:,} of {config.steps:,}; saved in {folder}; to go on: {again}"


class _Bar(Watch):
    """A progress bar over the whole run on a terminal; a line for each validation there and elsewhere."""

    def __init__(self, config: TrainConfig, step: int, seconds: float) -> None:
        self._config = config
        self._seconds_before = seconds
        self._bar = tqdm(total=config.steps, initial=step, unit="step", disable=None, dynamic_ncols=True)

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def step(self, step: int, train: Mapping[str, float]) -> None:
        if self._bar.disable:
            return
        words = _in_best_unit(train)
        if self._config.max_seconds is not None:
            left = self._config.max_seconds - self._seconds_before - self._bar.format_dict["elapsed"]
            words += f", at most {tqdm.format_interval(max(0, left))} left"
        self._bar.set_postfix_str(words, refresh=False)
        self._bar.update()

    def record(self, record: Mapping[str, Any]) -> None:
        parts = [part for part in ("train", "validation") if f"{part}_nats" in record]
        if len(parts) == 1 and (self._config.validation or record["step"] % self._config.eval_every):
            return
        shown = ", ".join(f"{part} {_in_best_unit(record, f'{part}_')}" for part in parts)
        line = f"step {record['step']:,}, epoch {record['epoch']:.2f}, {record['seconds']:.0f} s: {shown}"
        (click.echo if self._bar.disable else self._bar.write)(line)  # echo also reaches a file at once


def _in_best_unit(numbers: Mapping[str, Any], prefix: str = "") -> str:
    """Return bits per dimension where there are any, else nats."""
    bits = f"{prefix}bits_per_dim" in numbers
    return f"{_number(numbers[prefix + ('bits_per_dim' if bits else 'nats')])} {'bits/dim' if bits else 'nats'}"


def _number(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4f}"


@_says_errors
def evaluate(
    run: Path,
    split: str = "test",
    *,
    samples: int = 1,
    dtype: str = "float32",
    which: str = "best",
    seed: int = 0,
    device: str = "auto",
    data_dir: Path | None = None,
) -> int:
    """Print the numbers of a run on a split and write them into the folder of the run."""
    if samples < 1:
        raise ConfigError(f"expected at least 1 noise sample, found {samples}")
    where = choose_device(device)
    if where.type == "mps" and dtype == "float64":
        raise ConfigError("device mps has no float64: use --device cpu or --dtype float32")
    path = find_checkpoint(run, which)
    checkpoint = read_checkpoint(path)
    flow, config = flow_of(checkpoint)
    part = _part(config, split, data_dir)
    check_units(checkpoint, part)
    start = time.perf_counter()
    found = score(flow.to(where, DTYPES[dtype]), part.to(where), samples, seed, logits=True)
    metrics = found.named(split)
    result = {
        "split": split,
        "data": part.name,
        "count": found.count,
        "samples": samples,
        "dtype": dtype,
        "seed": seed,
        "checkpoint": path.stem,
        "step": checkpoint.content["progress"]["step"],
        "sha256": checkpoint.content["tensors"]["sha256"],
        "seconds": round(time.perf_counter() - start, 2),
        "hardware": describe_hardware(where),
        "metrics": metrics,
    }
    target = evaluation_file(run, split)
    write_text(target, json.dumps(result, indent=1) + "\n")
    what = f"images, {samples} noise sample{'s' * (samples > 1)} an image"
    if part.levels is None:
        what = "points" if part.units is None else "rows"
    click.echo(f"{part.name}: {found.count:,} {what}, {dtype}, checkpoint {path.stem} of step {result['step']:,}")
    for name in (name for name in metrics if not name.endswith("_standard_error")):
        click.echo(f"{name:>22} {_with_error(metrics, name, part)}")
    click.echo(f"written to {target}")
    return DONE


def _with_error(metrics: Mapping[str, float | None], name: str, part: Split) -> str:
    """Return a number with its standard error; for tables with two of them, as the tables of the literature have."""
    error = metrics[f"{name}_standard_error"]
    if part.units is None:
        return f"{_number(metrics[name])} ± {_number(error)}"
    words = "in the units of the table" if name.endswith("_original_units") else "standardized"
    return f"{_number(metrics[name])} ± {_number(error and 2 * error)} (two standard errors; {words})"


def _part(config: TrainConfig, split: str, data_dir: Path | None) -> Split:
    if split == "test":
        return load_test(config.data, data_dir, config.drop_missing)
    train_part, validation = _parts(config, data_dir)
    if split == "train":
        return train_part
    if validation is None:
        raise ConfigError("the run kept no validation part: expected --split test or train")
    return validation


def _parts(config: TrainConfig, data_dir: Path | None) -> tuple[Split, Split | None]:
    return load_training(config.data, data_dir, config.subset, config.validation, config.drop_missing)


@_says_errors
def sample(
    run: Path,
    target: Path,
    count: int = 64,
    *,
    temperature: float = 1.0,
    seed: int = 0,
    which: str = "best",
    device: str = "auto",
) -> int:
    """Write a sheet of samples of a run; for a run on a table, rows in the units of the table."""
    where = choose_device(device)
    checkpoint = read_checkpoint(find_checkpoint(run, which))
    flow, _ = flow_of(checkpoint)
    units = units_of(checkpoint)
    if units is None:
        write_sheet(target, flow.to(where), checkpoint.content["levels"], count, seed, temperature)
    else:
        write_rows(target, flow.to(where), units, count, seed, temperature)
    click.echo(f"{count} samples of step {checkpoint.content['progress']['step']:,} in {target}")
    return DONE


@_says_errors
def record(
    run: Path, target: Path, references: Sequence[tuple[str, float, str]] = (), *, temperature: float = 1.0
) -> int:
    """Write the record of an evaluated run and a sheet of samples beside it."""
    named = [dict(zip(("metric", "value", "source"), reference)) for reference in references]
    found = write_record(run, target, named, temperature=temperature)
    for reference in found["published"]:
        metric = reference["metric"]
        click.echo(f"{metric}: {found['metrics'][metric]}, published {reference['value']} ({reference['source']})")
    click.echo(f"recorded in {target} and {found['samples']['file']}")
    return DONE
