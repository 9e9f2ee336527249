"""Measure what the chapters draw as costs against size: python book/results/measure_costs.py [CHART …].

One process, one thread, processor time. A chart's calls take turns: in every round each call runs once, in a new order,
often enough to fill a few milliseconds; a machine that slows down slows down all of them. The record holds the median
and the quartiles over the rounds, in seconds for one call.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from torch import Tensor, nn
from train_two_moons import commit_of_this_run

from course_flows import Flow
from course_flows.made import MADE
from course_flows.models import build, iaf, maf, real_nvp
from course_flows.training.devices import describe_hardware
from course_flows.transforms import Conv1x1, InverseAutoregressive, MaskedAutoregressive

FILE = Path(__file__).resolve().with_name("costs.json")
ROUNDS, SHORTEST = 15, 2e-3  # seconds that a measurement takes at least
Call = Callable[[], Any]
Calls = Iterator[tuple[str, int, Call]]  # a line of a chart, a size, what is timed


def full_jacobian(net: nn.Module, x: Tensor) -> Tensor:
    """Return the Jacobian of ``net`` at one point, a backward pass for each row; (D,) to (D, D)."""
    x = x.requires_grad_()
    y = net(x)
    return torch.stack([torch.autograd.grad(y[i], x, retain_graph=True)[0] for i in range(len(x))])


def jacobians() -> Calls:
    """Chapter 1, float64: one point through a network of width D, its Jacobian, determinants."""
    for D in (16, 32, 64, 128, 256, 512, 1024):
        net = nn.Sequential(nn.Linear(D, D), nn.Tanh(), nn.Linear(D, D)).double()
        x, matrix = torch.randn(D, dtype=torch.float64), torch.randn(D, D, dtype=torch.float64)
        diagonal = torch.rand(D, dtype=torch.float64) + 0.5
        yield "full Jacobian", D, lambda net=net, x=x: full_jacobian(net, x)
        yield "determinant", D, lambda matrix=matrix: torch.linalg.slogdet(matrix)
        yield "forward pass", D, lambda net=net, x=x: net(x)
        yield "sum of logarithms", D, lambda diagonal=diagonal: diagonal.log().sum()


def linear_flows() -> Calls:
    """Chapter 2, float64: the inverse of 16 vectors at once through matrices of three shapes."""
    for D in (2**k for k in range(3, 15)):
        z = torch.randn(D, 16, dtype=torch.float64)
        d, x = torch.rand(D, 1, dtype=torch.float64) + 1, torch.empty_like(z)
        yield "diagonal", D, lambda d=d, z=z, x=x: torch.div(z, d, out=x)
        if D <= 2048:
            W = torch.randn(D, D, dtype=torch.float64) / D + torch.eye(D, dtype=torch.float64)
            yield "dense", D, lambda W=W, z=z: torch.linalg.solve(W, z)
            yield "triangular", D, lambda W=W, z=z: torch.linalg.solve_triangular(W, z, upper=False)


def couplings() -> Calls:
    """Chapter 4, float64: density and sampling of the Real NVP for digits, for batches of images."""
    flow = build("real-nvp-digits", (1, 8, 8)).double().eval()
    for n in (1, 8, 64, 256):
        x = torch.rand(n, *flow.event_shape, dtype=torch.float64)
        z = flow.encode(x)
        yield "density", n, lambda x=x: flow.log_prob(x)
        yield "sampling", n, lambda z=z: flow.decode(z)


def convolutions() -> Calls:
    """Chapter 5, float32: log-determinants and weights of 1×1 convolutions, and convolving a 16 × 16 image."""
    for kind, largest in (("plain", 1024), ("LU", 1024), ("QR", 256)):
        for c in (c for c in (16, 32, 64, 128, 256, 512, 1024) if c <= largest):
            layer = Conv1x1(c, kind.lower()).float().linear
            yield f"log-determinant, {kind}", c, layer.log_abs_det
            if kind != "plain":
                yield f"weight, {kind}", c, layer.weight
    for c in (16, 32, 64, 128, 256, 512, 1024):
        image, kernel = torch.randn(1, c, 16, 16), torch.randn(c, c, 1, 1)
        yield "convolution", c, lambda image=image, kernel=kernel: nn.functional.conv2d(image, kernel)


def autoregressive() -> Calls:
    """Chapter 6, float32: both directions of MAF and IAF and two shorter ways to the slow ones, for 64 points."""
    for D in (4, 8, 16, 32, 64, 128, 256):
        net = MADE(D, hidden=(256, 256)).float()
        v = torch.randn(64, D)
        by_passes = MaskedAutoregressive(net, method="sequential")
        mirrored = InverseAutoregressive(net, method="sequential")
        by_blocks = MaskedAutoregressive(net, method="incremental")
        by_repeating = MaskedAutoregressive(net, method="fixed point")
        yield "MAF density", D, lambda f=by_passes, v=v: f.forward(v)
        yield "IAF sampling", D, lambda f=mirrored, v=v: f.inverse(v)
        yield "MAF sampling", D, lambda f=by_passes, v=v: f.inverse(v)
        yield "IAF density", D, lambda f=mirrored, v=v: f.forward(v)
        yield "either, block by block", D, lambda f=by_blocks, v=v: f.inverse(v)
        yield "either, fixed point", D, lambda f=by_repeating, v=v: f.inverse(v)


def three_flows() -> Calls:
    """Chapter 6, float32: density and sampling of the three flows of the patches, for 1,000 points."""
    patches = json.loads(FILE.with_name("autoregressive_patches.json").read_text(encoding="utf-8"))
    for name, builder in {"Real NVP": real_nvp, "MAF": maf, "IAF": iaf}.items():
        flow: Flow = builder(patches["features"], **patches["options"][name]).float().eval()
        v = torch.randn(1000, patches["features"])
        yield f"{name}, density", 1000, lambda flow=flow, v=v: flow.log_prob(v)
        yield f"{name}, sampling", 1000, lambda flow=flow, v=v: flow.decode(v)


CHARTS = {
    "jacobians": jacobians,
    "linear_flows": linear_flows,
    "couplings": couplings,
    "convolutions": convolutions,
    "autoregressive": autoregressive,
    "three_flows": three_flows,
}
WITH_GRADIENTS = {"jacobians"}


def seconds_of(call: Call, repeats: int) -> float:
    """Return the processor seconds of one call, from ``repeats`` calls in a row."""
    started = time.process_time()
    for _ in range(repeats):
        call()
    return (time.process_time() - started) / repeats


def measure(calls: Calls, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Time every call in every round; return median and quartiles in seconds, by line, with their sizes."""
    everything = [(line, size, call, []) for line, size, call in calls]
    repeats = []
    for _, _, call, _ in everything:
        call()  # the first call pays for what is prepared once
        repeats.append(1 + int(SHORTEST / max(seconds_of(call, 1), 1e-6)))
    order = list(range(len(everything)))
    for _ in range(rounds):
        random.shuffle(order)
        for n in order:
            everything[n][3].append(seconds_of(everything[n][2], repeats[n]))
    found: dict[str, dict[str, list[float]]] = {}
    for line, size, _, times in everything:
        row = found.setdefault(line, {"size": [], "median": [], "quartiles": []})
        low, _, high = quantiles(times, n=4)
        row["size"].append(size)
        row["median"].append(float(f"{median(times):.3g}"))
        row["quartiles"].append([float(f"{low:.3g}"), float(f"{high:.3g}")])
    return found


def main() -> None:
    """Measure the charts that are asked for and write them into the record beside this file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("charts", nargs="*", metavar="CHART", help=", ".join(CHARTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--out", type=Path, default=FILE)
    chosen = parser.parse_args()
    if unknown := set(chosen.charts) - set(CHARTS):
        parser.error(f"the charts are {', '.join(CHARTS)}, found {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    record: dict[str, Any] = json.loads(chosen.out.read_text(encoding="utf-8")) if chosen.out.is_file() else {}
    commit = commit_of_this_run()
    for name in chosen.charts or CHARTS:
        torch.manual_seed(0)
        random.seed(0)
        with torch.set_grad_enabled(name in WITH_GRADIENTS):
            lines = measure(CHARTS[name](), chosen.rounds)
        record[name] = {
            "what": CHARTS[name].__doc__.strip(),
            "command": f"python book/results/measure_costs.py {name}",
            "times": "processor seconds of one call, one thread: median and quartiles",
            "rounds": chosen.rounds,
            **commit,
            "hardware": describe_hardware(torch.device("cpu")),
            "torch": torch.__version__,
            "lines": lines,
        }
        chosen.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
