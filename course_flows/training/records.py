"""Recorded runs: the JSON file and the picture that pages of the book read, so that nobody types a number."""

from __future__ import annotations

import contextlib
import json
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import course_flows
from course_flows.models import PRESETS
from course_flows.training.checkpoint import read_checkpoint, read_json, write_text
from course_flows.training.errors import CheckpointError, ConfigError
from course_flows.training.runs import evaluation_file, find_checkpoint, flow_of, read_log, units_of
from course_flows.training.sheets import write_rows, write_sheet

__all__ = ["describe_code", "one_or_all", "write_record"]

CURVE_POINTS = 200
DIGITS = 7
TRAINING = (
    "batch_size",
    "lr",
    "optimizer",
    "betas",
    "eps",
    "weight_decay",
    "warmup",
    "schedule",
    "clip",
    "ema",
    "precision",
    "patience",
)


def describe_code() -> dict[str, str]:
    """Return the versions of Python and torch and, in a git checkout, the commit of the code."""
    found = {"python": platform.python_version(), "torch": torch.__version__}
    folder = str(Path(course_flows.__file__).parent)
    command = [
        "git",
        "--no-optional-locks",
        "-C",
        folder,
        "describe",
        "--always",
        "--abbrev=12",
        "--dirty",
        "--exclude=*",
    ]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        found["commit"] = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    return found


def write_record(
    run: Path,
    target: Path,
    references: Iterable[Mapping[str, Any]] = (),
    samples: int = 64,
    temperature: float = 1.0,
    seed: int = 0,
) -> dict[str, Any]:
    """Write ``target`` and a sheet of samples (of a table: a CSV file) beside it; return the record.

    Arguments:
        run: folder of a run whose test part has been evaluated.
        target: the JSON file; the samples have the same name with ``.png`` or ``.csv``.
        references: published numbers beside those of the preset, each with ``metric``, ``value`` and ``source``.
        samples, temperature, seed: of the sheet.

    Raises CheckpointError where the run was not evaluated, or has gone on since.
    """
    evaluation = _evaluation_of(run)
    checkpoint = read_checkpoint(find_checkpoint(run, evaluation["checkpoint"]))
    content = checkpoint.content
    if content["tensors"]["sha256"] != evaluation["sha256"]:
        raise CheckpointError(f"{run} has gone on since it was evaluated: run course-flows evaluate {run} again")
    last = read_checkpoint(find_checkpoint(run, "last")).content
    flow, config = flow_of(checkpoint)
    log = read_log(run)
    if target.suffix != ".json":
        raise ConfigError(f"expected the record to be a .json file, found {target}")
    preset = PRESETS.get(config.preset or "")
    known = preset.published if preset and preset.data == config.data else ()
    published = [dict(zip(("metric", "value", "source"), reference)) for reference in known]
    published += [dict(reference) for reference in references]
    for reference in published:
        if reference["metric"] not in evaluation["metrics"]:
            metrics = ", ".join(evaluation["metrics"])
            raise ConfigError(f"expected a reference for one of {metrics}, found {reference['metric']!r}")
    units = units_of(checkpoint)
    picture = target.with_suffix(".png" if units is None else ".csv")
    if units is None:
        write_sheet(picture, flow, content["levels"], samples, seed, temperature)
    else:
        write_rows(picture, flow, units, samples, seed, temperature)
    sessions = last["about"]["sessions"]
    record = {
        "model": config.model,
        "options": config.options,
        "parameters": sum(p.numel() for p in flow.parameters()),
        "preset": config.preset,
        "data": config.data,
        "train_size": content["train_size"],
        "subset": config.subset or False,
        "command": last["about"]["command"],
        "seed": config.seed,
        **one_or_all(sessions),
        "seconds": round(last["progress"]["seconds"], 1),
        "steps": last["progress"]["step"],
        "epochs": _rounded(last["progress"]["step"] / (content["train_size"] // config.batch_size)),
        "training": {name: getattr(config, name) for name in TRAINING},
        "checkpoint": {"which": evaluation["checkpoint"], "step": content["progress"]["step"]},
        "evaluation": {k: evaluation[k] for k in ("data", "count", "samples", "dtype", "seed")},
        "metrics": {name: _rounded(value) for name, value in evaluation["metrics"].items()},
        "published": published,
        "curve": {part: _curve(log, part) for part in ("train", "validation")},
        "samples": {"file": picture.name, "count": samples, "temperature": temperature, "seed": seed},
    }
    write_text(target, _dumps(record) + "\n")
    return record


def _dumps(record: Mapping[str, Any]) -> str:
    """Return JSON with one line for each list of numbers."""
    text = json.dumps(record, indent=1, ensure_ascii=False)
    return re.sub(
        r"\[\s[-+.,\w\s]*\]", lambda found: re.sub(r"\s+", " ", found[0]).replace("[ ", "[").replace(" ]", "]"), text
    )


def _evaluation_of(run: Path) -> dict[str, Any]:
    path = evaluation_file(run, "test")
    if not path.is_file():
        raise CheckpointError(f"{run} has no {path.name}: run course-flows evaluate {run} --split test first")
    return read_json(path)


def one_or_all(sessions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return commit, versions and hardware of a run; as lists where a run went on elsewhere or with other code."""
    return {
        name: sessions[0].get(name)
        if all(s.get(name) == sessions[0].get(name) for s in sessions)
        else [s.get(name) for s in sessions]
        for name in ("commit", "python", "torch", "hardware")
    }


def _curve(log: Sequence[Mapping[str, Any]], part: str) -> dict[str, list[Any]]:
    """Return columns of at most 200 records that have numbers of `part`, evenly spaced, the first and the last kept."""
    records = [r for r in log if f"{part}_nats" in r]
    if len(records) > CURVE_POINTS:
        spots = [round(i * (len(records) - 1) / (CURVE_POINTS - 1)) for i in range(CURVE_POINTS)]
        records = [records[i] for i in spots]
    columns = ["step", "epoch", "seconds", *(f"{part}_{unit}" for unit in ("nats", "bits_per_dim"))]
    return {c: [_rounded(r[c]) for r in records] for c in columns if all(c in r for r in records)}


def _rounded(value: float | None) -> float | None:
    return value if value is None or isinstance(value, int) else float(f"{value:.{DIGITS}g}")
