"""Compare densities of tables: python book/results/measure_tables.py --data-dir DIR, as often as it takes.

Every model is trained on every table by ``course-flows train`` in a folder of its own, scored on the table's test part
and written to the JSON file; what is in that file is not done again, and a run that was stopped goes on. At the end,
and from a finished file at once, a table is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch

from course_flows import Flow
from course_flows.data import TabularSplit, load_split, load_tabular
from course_flows.data.source import data_folder, find_file
from course_flows.data.splits import PATCHES, PATCHES_FILE, SPLIT_SEED
from course_flows.data.tabular import BUNDLED, table_names
from course_flows.distributions import StandardNormal
from course_flows.training import commands, load_run
from course_flows.training.checkpoint import read_checkpoint, read_json, write_text
from course_flows.training.data_feed import Split
from course_flows.training.devices import describe_hardware
from course_flows.training.evaluation import score
from course_flows.training.records import describe_code, one_or_all
from course_flows.training.runs import find_checkpoint
from course_flows.transforms import Triangular

FOLDER = Path(__file__).resolve().parent
GAUSSIAN = "gaussian"
TITLES = {GAUSSIAN: "Gaussian", "made": "MADE", "maf": "MAF (5)", "real-nvp": "Real NVP (5)"}
# The paper on MAF has no bounds. Without any, rows far out overflow; with 8 in each of five layers a MAF still gave
# single rows of protein log-densities below -1e17 while it was trained. One MADE alone must reach the width of the
# noise, and e^-8 is less than that.
OPTIONS: dict[str, dict[str, Any]] = {
    "made": {"bound": 8.0},
    "maf": {"layers": 5, "norm": "batch", "bound": 3.0},
    "real-nvp": {"couplings": 5, "batch_norm": True, "bound": 3.0},
}
SAME_FOR_ALL = ("steps", "patience", "batch_size", "lr", "schedule", "weight_decay", "seed")
SUBSETS = {
    "miniboone_maf_subset": "the first 1,523 of the 36,488 rows of MINIBOONE as Papamakarios et al. (2017) have them",
    "power_subset": "40,959 of the 2,049,280 rows of POWER, from one month in winter, all 8 columns",
    PATCHES: "100,000 / 10,000 / 25,000 patches drawn anew; the published file has 1,000,000 / 50,000 / 250,000",
}
PROTOCOL = {
    "split": "rows shuffled with seed 42; the last tenth for testing, the last tenth of the rest for validation",
    "missing_values": "rows with a missing value are left out before everything else",
    "noise": "a column of which more than 1 in 20 rows repeat a value, or more than 1 in 200 share one, gets uniform "
    "noise as wide as the median distance of a row's value to the nearest other one",
    "standardization": "each column by mean and standard deviation of the training and validation part",
    PATCHES: "parts by photograph; (patch + noise) / 256, less its mean, without its last pixel; not standardized",
    "metric": "mean log-density of the test rows in nats, in float64; error: two standard errors of the mean over rows",
    "test_nats": "of standardized rows",
    "test_nats_original_units": "of rows in the units of the table: lower by the sum of the logarithms of deviations",
    "gaussian": "full covariance, maximum likelihood on the training part, exact, in float64",
    "flows": "float32; of the validations, one an epoch, the best one's weights are scored",
}
DECIMALS = 4


def gaussian_flow(x: torch.Tensor) -> Flow:
    r"""Return the normal density with mean and full covariance of rows ``(N, D)``, those of maximum likelihood.

    It is a linear flow: :math:`z = L^{-1}(x - \mu)` with the Cholesky factor of :math:`\Sigma = L L^\top`.
    """
    mean = x.mean(dim=0)
    factor = torch.linalg.cholesky(torch.cov(x.T, correction=0).reshape(len(mean), len(mean)))
    inverse = torch.linalg.solve_triangular(factor, torch.eye(len(mean), dtype=x.dtype), upper=False).tril()
    return Flow(Triangular.from_matrix(inverse, -inverse @ mean), StandardNormal(len(mean)).to(x)).eval()


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="folder of the tables; default: COURSE_FLOWS_DATA")
    parser.add_argument("--out", type=Path, default=FOLDER / "tables.json", help="the JSON file")
    parser.add_argument("--runs", type=Path, default=Path("runs/tables"), help="folder for the training runs")
    parser.add_argument("--sets", nargs="+", help="default: every table of the folder; without one, those bundled")
    parser.add_argument("--models", nargs="+", choices=TITLES, default=list(TITLES))
    parser.add_argument("--hidden", type=int, nargs="+", default=[100, 100], help="units of each network's layers")
    parser.add_argument("--steps", type=int, default=20_000, help="at most so many steps")
    parser.add_argument("--patience", type=int, default=30, help="epochs without a better validation; 0: no early end")
    parser.add_argument("--batch-size", type=int, default=200)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--schedule", choices=["constant", "cosine"], default="constant")
    parser.add_argument("--weight-decay", type=float, default=1e-6)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(words)


def sets_to_measure(given: argparse.Namespace) -> list[str]:
    """Return the names of the tables, by default all that there are."""
    if given.sets:
        return list(dict.fromkeys(given.sets))
    folder = data_folder(given.data_dir)
    patches = [PATCHES] if folder and find_file(folder, PATCHES_FILE, PATCHES) else []
    return [*table_names(given.data_dir), *patches] or list(BUNDLED)


def empty_record(given: argparse.Namespace) -> dict[str, Any]:
    """Return a record without cells: how they are measured."""
    usual = arguments([])
    words = ["python book/results/measure_tables.py"]
    for name in ("hidden", *SAME_FOR_ALL):
        if (value := getattr(given, name)) != getattr(usual, name):
            words.append(f"--{name.replace('_', '-')} {' '.join(map(str, value)) if name == 'hidden' else value}")
    return {
        "command": " ".join(words),
        "protocol": PROTOCOL,
        "architecture": {model: {**options, "hidden": given.hidden} for model, options in OPTIONS.items()},
        "training": {"optimizer": "adam", **{name: getattr(given, name) for name in SAME_FOR_ALL}},
        "sets": {},
        "cells": [],
    }


def describe_set(name: str, split: TabularSplit, given: argparse.Namespace) -> dict[str, Any]:
    """Return what a reader must know of a table."""
    parts = {part: len(getattr(split, part)) for part in ("train", "validation", "test")}
    found: dict[str, Any] = {
        "subset": SUBSETS.get(name, "as its name says" if "subset" in name else False),
        "columns": len(split.columns),
        "rows": parts,
        "rows_left_out": split.left_out,
        "log_scale": round(split.units.log_scale, DECIMALS),
        "noise_in_deviations": {
            column: float(f"{width:.2g}")
            for column, width in zip(split.columns, (split.noise / split.deviation).tolist())
            if width
        },
    }
    if name == PATCHES:
        found["noise"] = "a gray level, 1/256"
        del found["noise_in_deviations"]
    else:
        found |= repeated_rows(load_tabular(name, given.data_dir, drop_missing=True).x, split)
    return found


def repeated_rows(x: torch.Tensor, split: TabularSplit) -> dict[str, int]:
    """Count the rows that a table has before, and those of the test part that are known from the others."""
    generator = torch.Generator().manual_seed(SPLIT_SEED)
    x = x[torch.randperm(len(x), generator=generator)]
    seen = {tuple(row) for row in x[: -len(split.test)].tolist()}
    known = sum(tuple(row) in seen for row in x[-len(split.test) :].tolist())
    return {"repeated_rows": len(x) - len(x.unique(dim=0)), "test_rows_seen_before": known}


def measure_gaussian(split: TabularSplit) -> dict[str, Any]:
    """Fit and score the Gaussian."""
    started = time.perf_counter()
    flow = gaussian_flow(split.train)
    found = score(flow, Split(split.test, None, split.name, split.units)).named("test")
    size = len(split.columns)
    return {
        **with_two_errors(found),
        "parameters": size + size * (size + 1) // 2,
        "steps": 0,
        "seconds": round(time.perf_counter() - started, 2),
        "hardware": describe_hardware(torch.device("cpu")),
        **describe_code(),
    }


def measure_flow(name: str, model: str, split: TabularSplit, given: argparse.Namespace) -> dict[str, Any] | int:
    """Train and score one flow; return its numbers, or the exit status with which a run was stopped."""
    folder = given.runs / f"{name}-{model}"
    batch_size = min(given.batch_size, len(split.train))
    epoch = len(split.train) // batch_size
    hidden = ",".join(map(str, given.hidden)) + ","
    settings = {
        "model": model,
        "data": name,
        "options": [f"{key}={value}" for key, value in {**OPTIONS[model], "hidden": hidden}.items()],
        "drop_missing": True,
        **{key: getattr(given, key) for key in SAME_FOR_ALL},
        "batch_size": batch_size,
        "eval_every": epoch,
        "checkpoint_every": max(epoch, given.steps // 20),
        "log_every": epoch,
    }
    status = commands.train(folder, settings, resume=True, device="cpu", data_dir=given.data_dir)
    if status == 3:
        return {"error": "the likelihood stopped being finite"}
    if status == 0:
        status = commands.evaluate(folder, "test", dtype="float64", device="cpu", data_dir=given.data_dir)
    if status:
        return status
    last = read_checkpoint(folder / "last.json").content
    best = read_checkpoint(find_checkpoint(folder, "best")).content["progress"]
    progress, config = last["progress"], last["config"]
    return {
        **with_two_errors(read_json(folder / "evaluation-test.json")["metrics"]),
        "validation_nats": rounded(progress["best_nats"]),
        "parameters": sum(p.numel() for p in load_run(folder)[0].parameters()),
        "steps": progress["step"],
        "ended_by": "patience" if progress["step"] < config["steps"] else "steps",
        "best_step": best["step"],
        "epochs": round(progress["step"] / epoch, 1),
        "batch_size": config["batch_size"],
        "options": config["options"],
        "command": last["about"]["command"],
        "seconds": round(progress["seconds"], 1),
        **one_or_all(last["about"]["sessions"]),
    }


def with_two_errors(metrics: dict[str, float | None]) -> dict[str, float | None]:
    """Return the two metrics of a table and the two standard errors that they share."""
    error = metrics["test_nats_standard_error"]
    found = {
        "test_nats": metrics["test_nats"],
        "test_nats_original_units": metrics["test_nats_original_units"],
        "two_standard_errors": error and 2 * error,
    }
    return {name: rounded(value) for name, value in found.items()}


def rounded(value: float | None) -> float | None:
    """Return a number of the record; None stands for what is not finite."""
    return None if value is None else round(value, DECIMALS)


def read_record(given: argparse.Namespace) -> dict[str, Any]:
    """Return what was measured before, or an empty record; SystemExit where it was measured in another way."""
    empty = empty_record(given)
    if not given.out.is_file():
        return empty
    record = read_json(given.out)
    for name in ("protocol", "architecture", "training"):
        then, now = record.get(name, {}), empty[name]
        if other := [key for key in now if then.get(key) != now[key]]:
            raise SystemExit(
                f"{given.out} was measured with another {name} ({', '.join(other)}): name another --out and --runs"
            )
    return record


def as_table(record: dict[str, Any]) -> str:
    """Return the record as a Markdown table, tables down and models across."""
    cells = {(cell["set"], cell["model"]): cell for cell in record["cells"]}
    models = [model for model in TITLES if any(model == found for _, found in cells)]
    lines = ["| table | D | rows | " + " | ".join(TITLES[m] for m in models) + " |", "|---" * (3 + len(models)) + "|"]
    for name, about in record["sets"].items():
        title = f"{name} (subset)" if about["subset"] else name
        row = [title, str(about["columns"]), f"{sum(about['rows'].values()):,}"]
        lines.append("| " + " | ".join(row + [as_cell(cells.get((name, m))) for m in models]) + " |")
    notes = [f"{name}: a subset, {about['subset']}" for name, about in record["sets"].items() if about["subset"]]
    unit = "Test log-likelihood in nats, standardized rows, ± two standard errors."
    return "\n".join([*lines, "", unit, *notes])


def as_cell(cell: dict[str, Any] | None) -> str:
    """Return one number with its error."""
    if cell is None:
        return ""
    if cell.get("test_nats") is None:
        return "not finite"
    return f"{cell['test_nats']:.2f} ± {cell['two_standard_errors']:.2f}"


def main(words: list[str] | None = None) -> int:
    """Measure what is not measured yet; write after each cell."""
    given = arguments(words)
    record = read_record(given)
    for name in sets_to_measure(given):
        done = {cell["model"] for cell in record["cells"] if cell["set"] == name and "error" not in cell}
        missing = [model for model in given.models if model not in done]
        if not missing:
            continue
        split = load_split(name, given.data_dir, drop_missing=True)
        record["sets"][name] = describe_set(name, split, given)
        for model in missing:
            found = measure_gaussian(split) if model == GAUSSIAN else measure_flow(name, model, split, given)
            if isinstance(found, int):
                return found
            others = [cell for cell in record["cells"] if (cell["set"], cell["model"]) != (name, model)]
            record["cells"] = [*others, {"set": name, "model": model, **found}]
            write_text(given.out, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
            print(f"{name}, {TITLES[model]}: {as_cell(found)}", flush=True)
    print(as_table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
