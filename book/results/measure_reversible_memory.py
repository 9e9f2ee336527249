"""Measure memory and time of deep stacks in training: python book/results/measure_reversible_memory.py."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils.checkpoint import checkpoint
from train_two_moons import commit_of_this_run

from course_flows import Compose
from course_flows.nets import MLP
from course_flows.transforms import AffineCoupling, ReversibleCompose, half_mask

FOLDER = Path(__file__).resolve().parent
NAME = "reversible_memory"
DEPTHS, REPEATS, SEED = (8, 32, 128), 5, 0
FEATURES, HIDDEN, BATCH = 64, (64, 64), 1024


class CheckpointedCompose(Compose):
    """Keep the input of every transform and run it again in the backward pass: torch's own way to save memory."""

    def forward(self, x: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        total = self.zeros_like_batch(x)
        for t in self:
            x, log_det = checkpoint(t, x, context, use_reentrant=False)
            total = total + log_det
        return x, total


STACKS: dict[str, type[Compose]] = {
    "plain": Compose,
    "checkpoint": CheckpointedCompose,
    "reversible": ReversibleCompose,
}


def build(kind: str, depth: int) -> tuple[Compose, Tensor]:
    """Return a stack of affine couplings and a batch."""
    torch.manual_seed(SEED)
    kept = FEATURES // 2
    layers = (AffineCoupling(half_mask(FEATURES, bool(k % 2)), MLP(kept, FEATURES, HIDDEN)) for k in range(depth))
    return STACKS[kind](layers), torch.randn(BATCH, FEATURES)


def step(stack: Compose, x: Tensor) -> None:
    """One step of training without the update."""
    stack.zero_grad(set_to_none=True)
    z, log_det = stack(x)
    (z.square().sum() - log_det.sum()).backward()


def peak_of_allocations(run: Callable[[], None]) -> int:
    """Return the largest number of bytes that torch holds at once beyond those held before, from its own allocator."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        run()
    events = sorted(found.profiler.kineto_results.events(), key=lambda event: event.start_ns())
    held = peak = 0
    for event in events:
        if event.name() == "[memory]":
            held += event.nbytes()
            peak = max(peak, held)
    return peak


def resident() -> int:
    """Return the largest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(kind: str, depth: int) -> dict[str, Any]:
    """Measure one stack in this process."""
    step(*build(kind, 2))  # torch's own buffers
    stack, x = build(kind, depth)
    before = resident()
    step(stack, x)
    grown = resident() - before
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        step(stack, x)
        times.append(time.process_time() - started)
    stack.zero_grad(set_to_none=True)
    gradients = sum(p.numel() * p.element_size() for p in stack.parameters())
    return {
        "kind": kind,
        "couplings": depth,
        "peak_bytes": peak_of_allocations(lambda: step(stack, x)) - gradients,
        "resident_bytes": grown - gradients,
        "gradient_bytes": gradients,
        "cpu_seconds": round(statistics.median(times), 4),
    }


def main() -> None:
    """Measure each stack in a process of its own, one after the other, and write the record beside this file."""
    started = time.perf_counter()
    rows = []
    for depth in DEPTHS:
        for kind in STACKS:
            run = subprocess.run(
                [sys.executable, __file__, kind, str(depth)], capture_output=True, text=True, check=True
            )
            rows.append(json.loads(run.stdout))
        plain = next(row for row in rows if row["kind"] == "plain" and row["couplings"] == depth)
        for row in rows[-len(STACKS) :]:
            row["time_ratio"] = round(row["cpu_seconds"] / plain["cpu_seconds"], 2)
    record = {
        "model": f"affine couplings of {FEATURES} values, networks with hidden layers {HIDDEN}, float32",
        "batch": BATCH,
        "command": "python book/results/measure_reversible_memory.py",
        "seed": SEED,
        **commit_of_this_run(),
        "hardware": f"{os.cpu_count()} CPU cores, {torch.get_num_threads()} threads",
        "seconds": round(time.perf_counter() - started, 1),
        "peak_bytes": "largest sum of torch's own allocations in a forward and a backward pass, without the gradients",
        "resident_bytes": "growth of the process's largest resident size in the first such pass, without the gradients",
        "cpu_seconds": f"of a forward and a backward pass, median of {REPEATS}",
        "rows": rows,
    }
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
    else:
        main()
