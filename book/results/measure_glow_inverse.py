"""Measure how exactly a Glow of the size of the paper undoes itself: python book/results/measure_glow_inverse.py.

It needs CIFAR-10 (``--data-dir`` or COURSE_FLOWS_DATA). With ``--run FOLDER`` a trained flow is measured as well.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from train_two_moons import commit_of_this_run

from course_flows import Flow, dequantize, quantize
from course_flows.conv_nets import ConvNet, ZeroConv
from course_flows.data import load_images
from course_flows.models import build
from course_flows.training import load_run

FOLDER = Path(__file__).resolve().parent
NAME = "glow_inverse"
PRESET, SEED, IMAGES, LEVELS = "glow-cifar10", 0, 8, 256
DEVIATIONS = {"last layers zero, as built": 0.0, **{f"last layers random, {d:g}": d for d in (0.001, 0.003, 0.01)}}


def random_flow(deviation: float, first_batch: Tensor) -> Flow:
    """Return the preset in float32; last layers drawn with a deviation, each ActNorm set by the first batch."""
    torch.manual_seed(SEED)
    flow = build(PRESET, (3, 32, 32))
    with torch.no_grad():
        for network in flow.modules():
            if isinstance(network, (ConvNet, ZeroConv)):
                last = network.last if isinstance(network, ConvNet) else network.conv
                nn.init.normal_(last.weight, std=deviation)
        flow.train()
        flow.log_prob(first_batch)
    return flow.eval()


@torch.no_grad()
def measure(flow: Flow, images: Tensor) -> dict[str, Any]:
    """Return errors of ``decode(encode(x))`` in both dtypes, in units of a gray level; None for what is not finite."""
    x = dequantize(images, LEVELS, torch.Generator().manual_seed(SEED))
    found: dict[str, Any] = {}
    for name, dtype in (("float32", torch.float32), ("float64", torch.float64)):
        flow, points = flow.to(dtype), x.to(dtype)
        z = flow.encode(points)
        back = flow.decode(z)
        error = (back - points).abs() * LEVELS
        changed = quantize(back.clamp(0, 1 - 1e-6), LEVELS) != images
        found[name] = {
            "largest_error_gray_levels": _plain(error.max()),
            "median_error_gray_levels": _plain(error.median()),
            "changed_values": int(changed.sum()),
            "largest_latent": _plain(z.abs().max()),
            "bits_per_dim": round(_bits(flow, points), 6),
        }
    flow.float()
    return {"values": images.numel(), **found}


def _bits(flow: Flow, points: Tensor) -> float:
    """Return bits per dimension of points in [0, 1], the same noise in both dtypes."""
    nats = flow.log_prob(points).double().mean().item() / points[0].numel()
    return math.log2(LEVELS) - nats / math.log(2)


def _plain(value: Tensor) -> float | None:
    number = value.item()
    return float(f"{number:.3e}") if math.isfinite(number) else None


def main() -> None:
    """Measure every flow and write the record beside this file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="folder of a training run of Glow on CIFAR-10")
    parser.add_argument("--data-dir", type=Path, help="folder of CIFAR-10, else COURSE_FLOWS_DATA")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    commit = commit_of_this_run()
    started = time.process_time()
    train = load_images("cifar10", data_dir=arguments.data_dir)
    test = load_images("cifar10", split="test", data_dir=arguments.data_dir)
    first_batch = dequantize(train.images[:16], LEVELS, torch.Generator().manual_seed(SEED), torch.float32)
    images = test.images[:IMAGES]
    rows: dict[str, Any] = {}
    for name, deviation in DEVIATIONS.items():
        rows[name] = measure(random_flow(deviation, first_batch), images)
        print(name, rows[name], flush=True)
    if arguments.run:
        flow, config = load_run(arguments.run)
        rows["trained"] = {**measure(flow, images), "options": dict(config.options)}
        print("trained", rows["trained"], flush=True)
    record = {
        "model": f"build({PRESET!r}, (3, 32, 32)), last layers drawn with a standard deviation",
        "preset": PRESET,
        "data": test.name,
        "subset": True,
        "command": "python book/results/measure_glow_inverse.py" + " --run FOLDER" * bool(arguments.run),
        "seed": SEED,
        **commit,
        "hardware": f"1 of {os.cpu_count()} CPU cores",
        "cpu_seconds": round(time.process_time() - started, 1),
        "images": IMAGES,
        "rows": rows,
    }
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
