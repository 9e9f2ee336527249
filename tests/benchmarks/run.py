"""Measures flows against other libraries and against the limit; writes book/results/benchmarks.json.

``python tests/benchmarks/run.py [--rounds N] [--out FILE] [WORKLOAD …]``. One process, one thread, CPU time, float32,
equal networks and parameter counts. In every round each candidate does each piece of work once, in a new order;
ratios are taken within a round, so that a machine that slows down slows down everybody. A library is timed only
after its inverse and its log-determinant agree with autograd in float64. Peak memory is that of a process of its own.
What takes seconds (other libraries' inverses of masked networks: one pass for each coordinate) is done in every tenth
round; ``rounds`` says how often. Weights that masks remove count as parameters, for everybody and stored or not.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from candidates import Candidate
from peers import builders
from workloads import WORKLOADS, small

HERE = Path(__file__).resolve().parent
OUT = HERE.parents[1] / "book" / "results" / "benchmarks.json"
SLOW, SELDOM = 2.0, 10  # what takes more seconds than that is done in the first of so many rounds
Work = Callable[[], Any]


def build(builder: Callable[[Any], Candidate], stack: Any, dtype: torch.dtype = torch.float32) -> Candidate:
    """Build a candidate with moderate random weights, so that no log-determinant is zero by accident."""
    torch.manual_seed(0)
    candidate = builder(stack)
    candidate.module.to(dtype)
    with torch.no_grad():
        for name, p in candidate.module.named_parameters():
            if p.dim() < 2 and not name.endswith("weight"):  # matrices may be stored as one row
                p.uniform_(-0.1, 0.1)
    return candidate


def check(candidate: Candidate, points: int = 2) -> dict[str, float]:
    """Compare inverse and log-determinant with autograd in float64; raise AssertionError where they disagree."""
    with torch.no_grad():
        candidate.encode(
            torch.randn(64, *candidate.event, dtype=torch.float64)
        )  # the batch that normalizations wait for
    x = torch.randn(points, *candidate.event, dtype=torch.float64)
    exact = torch.zeros(points, dtype=torch.float64)
    for i in range(points):
        jacobian = torch.autograd.functional.jacobian(lambda v: candidate.encode(v[None])[0][0], x[i], vectorize=False)
        exact[i] = torch.linalg.slogdet(jacobian.reshape(x[i].numel(), -1)).logabsdet
    of_inverse, of_log_det = [], []
    for with_gradients in (True, False):  # some libraries take other ways without
        with torch.set_grad_enabled(with_gradients):
            z, log_det = candidate.encode(x)
            of_inverse.append(candidate.decode(z) - x)
            of_log_det.append(log_det - exact)
            if candidate.draw is not None:
                of_log_det.append(candidate.draw(z)[1] + exact)
    found = {
        "inverse_error": torch.stack(of_inverse).abs().max().item(),
        "log_det_error": torch.stack(of_log_det).abs().max().item(),
    }
    if not all(error < 1e-8 for error in found.values()):
        raise AssertionError(f"{candidate.library} fails its float64 check and is not timed: {found}")
    return found


@contextmanager
def double_precision() -> Iterator[None]:
    """Make float64 what libraries get that ask for no dtype."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


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

    @torch.no_grad()
    def sample_and_log_prob() -> None:
        if candidate.is_flow:
            candidate.sample_and_log_prob(sizes["sample_and_log_prob"])
        else:
            candidate.encode(batches["sample_and_log_prob"])

    works = {"train": train, "sample": sample, "log_prob": log_prob, "sample_and_log_prob": sample_and_log_prob}
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
        with double_precision():
            exact = build(builder, small(stack), torch.float64)
            if exact.is_flow:
                checks[exact.library] = check(exact)
        candidate = build(builder, stack)
        counts[candidate.library] = candidate.parameters()
        works[candidate.library] = pieces_of_work(candidate, sizes)
    beside = {library: count - counts["limit"] for library, count in counts.items()}
    if min(beside.values()) < 0 or max(beside.values()) > stack.parameters_beside_networks:
        raise AssertionError(f"{name}: the networks differ, parameter counts are {counts}")
    found: dict[str, Any] = {"parameters": counts, "checks": checks, "work": {}}
    rng = random.Random(0)
    for what, size in sizes.items():
        repeats, every = {}, {}
        for library, work in works.items():
            once = cpu_seconds(work[what], 1)
            repeats[library] = max(1, round(budget / (once if once > 1 else cpu_seconds(work[what], 1))))
            every[library] = SELDOM if once > SLOW else 1
        times: list[dict[str, float]] = [{} for _ in range(rounds)]
        for k, of_round in enumerate(times):
            for library in rng.sample(list(works), len(works)):
                if k % every[library] == 0:
                    of_round[library] = cpu_seconds(works[library][what], repeats[library])
        found["work"][what] = {"batch": size, "repeats": repeats, **summary(times)}
    if "train" in sizes:
        found["peak_megabytes"] = {library: peak_memory(name, library) for library in works}
    return found


def summary(times: list[dict[str, float]]) -> dict[str, Any]:
    """Return median times, and ratios to the fastest peer and to the limit with their quartiles."""
    middle = {library: median(t[library] for t in times if library in t) for library in times[0]}
    peers = {k: v for k, v in middle.items() if k not in ("limit", "course_flows")}
    fastest = min(peers, key=lambda k: peers[k])
    return {
        "milliseconds": {library: round(1e3 * value, 3) for library, value in middle.items()},
        "rounds": {library: sum(library in t for t in times) for library in middle},
        "fastest_peer": fastest,
        "ours_to_fastest_peer": ratio(times, "course_flows", fastest),
        "ours_to_limit": ratio(times, "course_flows", "limit"),
        "fastest_peer_to_limit": ratio(times, fastest, "limit"),
    }


def ratio(times: list[dict[str, float]], above: str, below: str) -> dict[str, float]:
    """Return the median of the ratios of the rounds in which both took part, with their quartiles."""
    ratios = [t[above] / t[below] for t in times if above in t and below in t]
    low, _, high = quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return {"median": digits(median(ratios)), "low": digits(low), "high": digits(high), "rounds": len(ratios)}


def digits(value: float) -> float:
    """Round to three decimals, or to three digits where that says more."""
    return round(value, 3) if value > 0.1 else float(f"{value:.3g}")


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
            f"  {what:19s} {row['milliseconds']['course_flows']:9.2f} ms, {ours['median']:.3g} "
            f"({ours['low']:.3g} to {ours['high']:.3g}) of {row['fastest_peer']}, {limit['median']:.3f} of the limit"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
