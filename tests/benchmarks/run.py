"""Measures couplings against other libraries and against the limit; writes book/results/benchmarks.json.

``python tests/benchmarks/run.py [--rounds N] [--out FILE] [WORKLOAD …]``. One process, one thread, CPU time, float32,
equal networks and parameter counts. In every round each candidate does each piece of work once, in a new order;
ratios are taken within a round, so that a machine that slows down slows down everybody. A library is timed only
after its inverse and its log-determinant agree with autograd in float64. Peak memory is that of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from candidates import Candidate, Stack
from glow_peers import GlowStack
from peers import builders
from torch import nn

from course_flows.conv_nets import ConvNet
from course_flows.nets import MLP, ResidualConvNet

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "book" / "results" / "benchmarks.json"
Work = Callable[[], Any]


def perceptron(*hidden: int) -> dict[str, Callable[[int, int], nn.Module]]:
    """Return builders of a ReLU network: plain, and the course's own."""

    def plain(a: int, b: int) -> nn.Module:
        layers: list[nn.Module] = []
        for inside, outside in pairwise([a, *hidden]):
            layers += [nn.Linear(inside, outside), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(hidden[-1], b))

    return {"net": plain, "own_net": lambda a, b: MLP(a, b, hidden, activation="relu")}


class Residual(nn.Module):
    """The network of `ResidualConvNet` in plain torch: no parametrization, no activation in place."""

    def __init__(self, a: int, b: int, channels: int, blocks: int) -> None:
        super().__init__()
        self.enter = nn.Conv2d(a, channels, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.skips = nn.ModuleList(nn.Conv2d(channels, channels, 1) for _ in range(blocks + 1))
        self.leave = nn.Sequential(nn.ReLU(), nn.Conv2d(channels, b, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.enter(x)
        out = self.skips[0](h)
        for block, skip in zip(self.blocks, self.skips[1:]):
            h = h + block(h)
            out = out + skip(h)
        return self.leave(out)


def residual(channels: int, blocks: int) -> dict[str, Callable[[int, int], nn.Module]]:
    """Return builders of a residual network: plain, and the course's own."""
    return {
        "net": lambda a, b: Residual(a, b, channels, blocks),
        "own_net": lambda a, b: ResidualConvNet(a, b, channels=channels, blocks=blocks, weight_norm=False),
    }


def three_convolutions(channels: int) -> dict[str, Callable[[int, int], nn.Module]]:
    """Return builders of the network of Glow without normalizations: plain, and the course's own."""

    def plain(a: int, b: int) -> nn.Module:
        first, second = nn.Conv2d(a, channels, 3, padding=1), nn.Conv2d(channels, channels, 1)
        return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Conv2d(channels, b, 3, padding=1))

    return {"net": plain, "own_net": lambda a, b: ConvNet(a, b, channels, zero_init=False, normalize=False)}


WORKLOADS: dict[str, tuple[Stack | GlowStack, dict[str, int]]] = {
    "Real NVP, 2-D, 8 couplings, MLP 2 x 128": (
        Stack((2,), 8, True, **perceptron(128, 128)),
        {"train": 512, "sample": 10_000, "log_prob": 10_000},
    ),
    "NICE, 784-D, 4 couplings, MLP 5 x 1000": (Stack((784,), 4, False, **perceptron(*[1000] * 5)), {"train": 200}),
    "Real NVP, 12 x 16 x 16, 6 couplings, residual 32 channels": (
        Stack((12, 16, 16), 6, True, **residual(channels=32, blocks=2)),
        {"train": 16, "sample": 16, "log_prob": 16},
    ),
    "Glow, 3 x 32 x 32, L = 3, K = 8, 128 channels": (
        GlowStack((3, 32, 32), 3, 8, **three_convolutions(128)),
        {"train": 16, "sample": 16, "log_prob": 16},
    ),
}


# A check takes one backward pass for each value of a point, so it is made on smaller points: the code is the same.
def small(stack: Stack | GlowStack) -> Stack | GlowStack:
    """Return the same for the smallest points that it takes."""
    if isinstance(stack, GlowStack):
        return replace(stack, event=(1, 2**stack.levels, 2**stack.levels))
    return replace(stack, event=(6,) if len(stack.event) == 1 else (4, 3, 3))


def build(builder: Callable[[Stack], Candidate], stack: Stack, dtype: torch.dtype = torch.float32) -> Candidate:
    """Build a candidate with moderate random weights, so that no log-determinant is zero by accident."""
    torch.manual_seed(0)
    candidate = builder(stack)
    candidate.module.to(dtype)
    with torch.no_grad():
        for p in candidate.module.parameters():
            if p.dim() < 2:
                p.uniform_(-0.1, 0.1)
    return candidate


def check(candidate: Candidate, points: int = 2) -> dict[str, float]:
    """Compare inverse and log-determinant with autograd in float64; raise AssertionError where they disagree."""
    with torch.no_grad():
        candidate.encode(
            torch.randn(64, *candidate.event, dtype=torch.float64)
        )  # the batch that normalizations wait for
    x = torch.randn(points, *candidate.event, dtype=torch.float64)
    z, log_det = candidate.encode(x)
    inverse_error = (candidate.decode(z) - x).abs().max().item()
    log_det = torch.as_tensor(log_det, dtype=x.dtype).expand(points)
    log_det_error = 0.0
    for i in range(points):
        jacobian = torch.autograd.functional.jacobian(lambda v: candidate.encode(v[None])[0][0], x[i], vectorize=False)
        exact = torch.linalg.slogdet(jacobian.reshape(x[i].numel(), -1)).logabsdet
        log_det_error = max(log_det_error, (exact - log_det[i]).abs().item())
    found = {"inverse_error": inverse_error, "log_det_error": log_det_error}
    if not max(found.values()) < 1e-8:
        raise AssertionError(f"{candidate.library} fails its float64 check and is not timed: {found}")
    return found


def pieces_of_work(candidate: Candidate, sizes: dict[str, int]) -> dict[str, Work]:
    """Return what is timed: a training step, sampling, scoring."""
    generator = torch.Generator().manual_seed(1)
    parameters = list(candidate.module.parameters())
    optimizer = torch.optim.Adam(parameters, lr=1e-5, fused=True)
    batches = {what: torch.randn(size, *candidate.event, generator=generator) for what, size in sizes.items()}

    def train() -> None:
        optimizer.zero_grad(set_to_none=True)
        if candidate.is_flow:
            (-candidate.log_prob(batches["train"]).mean()).backward()
        else:
            candidate.encode(batches["train"])[1].mean().backward()
        optimizer.step()

    @torch.no_grad()
    def sample() -> None:
        if candidate.is_flow:
            candidate.sample(sizes["sample"])
        else:
            candidate.encode(batches["sample"])

    @torch.no_grad()
    def log_prob() -> None:
        if candidate.is_flow:
            candidate.log_prob(batches["log_prob"])
        else:
            candidate.encode(batches["log_prob"])

    works = {"train": train, "sample": sample, "log_prob": log_prob}
    return {what: works[what] for what in sizes}


def cpu_seconds(work: Work, repeats: int) -> float:
    """Return the CPU time of one run of ``work``."""
    start = time.process_time()
    for _ in range(repeats):
        work()
    return (time.process_time() - start) / repeats


def measure(name: str, rounds: int, budget: float = 0.25) -> dict[str, Any]:
    """Measure one workload; return for each piece of work and library its times and its ratios."""
    stack, sizes = WORKLOADS[name]
    checks, works, counts = {}, {}, {}
    for builder in builders(stack):
        exact = build(builder, small(stack), torch.float64)
        if exact.is_flow:
            checks[exact.library] = check(exact)
        candidate = build(builder, stack)
        counts[candidate.library] = sum(p.numel() for p in candidate.module.parameters() if p.requires_grad)
        works[candidate.library] = pieces_of_work(candidate, sizes)
    beside = {library: count - counts["limit"] for library, count in counts.items()}
    if min(beside.values()) < 0 or max(beside.values()) > stack.parameters_beside_networks:
        raise AssertionError(f"{name}: the networks differ, parameter counts are {counts}")
    found: dict[str, Any] = {"parameters": counts, "checks": checks, "work": {}}
    rng = random.Random(0)
    for what, size in sizes.items():
        times: dict[str, list[float]] = {library: [] for library in works}
        once = cpu_seconds(works["limit"][what], 2)
        repeats = max(1, round(budget / once))
        for _ in range(rounds + 1):
            for library in rng.sample(list(works), len(works)):
                times[library].append(cpu_seconds(works[library][what], repeats))
        found["work"][what] = {"batch": size, "repeats": repeats, **summary({k: v[1:] for k, v in times.items()})}
    found["peak_megabytes"] = {library: peak_memory(name, library) for library in works}
    return found


def summary(times: dict[str, list[float]]) -> dict[str, Any]:
    """Return median times, and ratios to the fastest peer and to the limit with their quartiles."""
    middle = {library: median(values) for library, values in times.items()}
    peers = {k: v for k, v in middle.items() if k not in ("limit", "course_flows")}
    fastest = min(peers, key=lambda k: peers[k])
    return {
        "milliseconds": {library: round(1e3 * value, 3) for library, value in middle.items()},
        "fastest_peer": fastest,
        "ours_to_fastest_peer": ratio(times["course_flows"], times[fastest]),
        "ours_to_limit": ratio(times["course_flows"], times["limit"]),
        "fastest_peer_to_limit": ratio(times[fastest], times["limit"]),
    }


def ratio(above: list[float], below: list[float]) -> dict[str, float]:
    """Return the median of the ratios of equal rounds, with their quartiles."""
    ratios = [a / b for a, b in zip(above, below, strict=True)]
    low, _, high = quantiles(ratios, n=4)
    return {"median": round(median(ratios), 3), "low": round(low, 3), "high": round(high, 3), "rounds": len(ratios)}


def peak_memory(name: str, library: str) -> float:
    """Return the megabytes that a training step, gradients included, adds at most to weights and optimizer state.

    What the process frees goes back to the system at once there: else a step lives in what the one before it left.
    """
    command = [sys.executable, __file__, "--memory-of", library, name]
    give_back = {"MALLOC_MMAP_THRESHOLD_": "4096", "MALLOC_TRIM_THRESHOLD_": "0"}
    env = {**os.environ, **give_back}
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)


def added_memory(name: str, library: str) -> float:
    """Run in a process of its own: build the candidate, then train; return what the training added at most."""
    stack, sizes = WORKLOADS[name]
    for builder in builders(stack):
        candidate = build(builder, stack)
        if candidate.library == library:
            break
    train = pieces_of_work(candidate, sizes)["train"]
    train()  # the optimizer's state is there
    candidate.module.zero_grad(set_to_none=True)
    Path("/proc/self/clear_refs").write_text("5")  # start the peak anew
    before = status("VmRSS")
    train()
    return (status("VmHWM") - before) / 1024


def status(what: str) -> int:
    """Return a number of kilobytes from the kernel's account of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1])


def main() -> None:
    """Measure the workloads that are asked for and write the file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="any part of a workload's name")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--memory-of", metavar="LIBRARY", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.memory_of:
        sys.stdout.write(f"{added_memory(chosen.workloads[0], chosen.memory_of):.1f}")
        return
    names = [n for n in WORKLOADS if not chosen.workloads or any(part in n for part in chosen.workloads)]
    results = json.loads(chosen.out.read_text(encoding="utf-8")) if chosen.out.is_file() else {"workloads": {}}
    results |= {
        "command": "make bench",
        "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, one thread",
        "torch": torch.__version__,
        "load_before": round(os.getloadavg()[0], 1),
    }
    for name in names:
        results["workloads"][name] = measure(name, chosen.rounds)
        chosen.out.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        sys.stdout.write(f"{name}\n{table(results['workloads'][name])}\n")


def table(found: dict[str, Any]) -> str:
    """Return one line for each piece of work."""
    lines = []
    for what, row in found["work"].items():
        ours, limit = row["ours_to_fastest_peer"], row["ours_to_limit"]
        lines.append(
            f"  {what:9s} {row['milliseconds']['course_flows']:9.2f} ms, {ours['median']:.3f} "
            f"({ours['low']:.3f} to {ours['high']:.3f}) of {row['fastest_peer']}, {limit['median']:.3f} of the limit"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
