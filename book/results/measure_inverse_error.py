"""Measure how exactly stacks of affine couplings undo themselves: python book/results/measure_inverse_error.py."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from train_two_moons import commit_of_this_run

from course_flows import Flow, fit
from course_flows.data import toy
from course_flows.models import real_nvp
from course_flows.nets import MLP

FOLDER = Path(__file__).resolve().parent
NAME = "inverse_error"
SEED, POINTS, HIDDEN, BATCH, LEARNING_RATE = 0, 1000, (32, 32), 256, 2e-3
STEPS = {8: 600, 32: 250, 128: 60}  # couplings -> training steps: about equal times
BOUNDS = {"bounded by 3": 3.0, "not bounded": None}
RANDOM = {"random (torch's default)": 1.0, "random, last layers 4 times as large": 4.0}


def random_flow(couplings: int, bound: float | None, factor: float) -> Flow:
    """Return a flow of the plane in float32 with random weights, those of each network's last layer times `factor`."""
    torch.manual_seed(SEED)
    flow = real_nvp(2, couplings=couplings, hidden=HIDDEN, bound=bound, zero_init=False)
    with torch.no_grad():
        for network in (part for part in flow.modules() if isinstance(part, MLP)):
            for p in network.layers[-1].parameters():
                p.mul_(factor)
    return flow


def trained_flow(couplings: int, bound: float | None) -> tuple[Flow, str]:
    """Return a flow of the plane in float32 that was trained for a short while, and how."""
    torch.manual_seed(SEED)
    flow, steps = real_nvp(2, couplings=couplings, hidden=HIDDEN, bound=bound), STEPS[couplings]
    try:
        fit(flow, toy.two_moons(10_000, seed=SEED), steps=steps, batch_size=BATCH, lr=LEARNING_RATE, seed=SEED)
    except RuntimeError as error:
        return flow, f"training stopped: {error}"
    return flow.eval(), f"trained for {steps} steps on two moons"


@torch.no_grad()
def measure(flow: Flow, x: torch.Tensor) -> dict[str, Any]:
    """Return errors of ``decode(encode(x))`` and of the density in both dtypes; None for what is not finite."""
    exact = flow.double().log_prob(x)
    found: dict[str, Any] = {"mean_log_prob": _plain(exact.mean())}
    for name, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        flow, points = flow.to(dtype), x.to(dtype)
        z = flow.encode(points)
        error = (flow.transform.inverse(z)[0] - points).abs().amax(dim=1).double()
        found[name] = {
            "largest_error": _plain(error.max()),
            "median_error": _plain(error.median()),
            "largest_log_prob_error": _plain((flow.log_prob(points).double() - exact).abs().max()),
            "largest_latent": _plain(z.abs().max()),
        }
    return found


def _plain(value: torch.Tensor) -> float | None:
    number = value.item()
    return float(f"{number:.3e}") if math.isfinite(number) else None


def main() -> None:
    """Measure every combination and write the record beside this file."""
    started = time.perf_counter()
    x = toy.two_moons(POINTS, seed=SEED + 1, dtype=torch.float64)
    rows = []
    for couplings in STEPS:
        for bound_name, bound in BOUNDS.items():
            flows = {name: random_flow(couplings, bound, factor) for name, factor in RANDOM.items()}
            trained, how = trained_flow(couplings, bound)
            for weights, flow in {**flows, how: trained}.items():
                rows.append({"couplings": couplings, "scale": bound_name, "weights": weights, **measure(flow, x)})
    record = {
        "model": f"real_nvp(2, couplings, hidden={HIDDEN}), normal base",
        "data": f"toy.two_moons({POINTS}, seed={SEED + 1}), the same points in float32 and float64",
        "command": "python book/results/measure_inverse_error.py",
        "seed": SEED,
        **commit_of_this_run(),
        "hardware": f"{os.cpu_count()} CPU cores",
        "seconds": round(time.perf_counter() - started, 1),
        "errors": "of a point: largest absolute error of its coordinates; null: not finite",
        "rows": rows,
    }
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
