"""Train NICE on the 8 × 8 digits in four variants and record the runs: python book/results/train_nice_digits.py."""

from __future__ import annotations

import json
import math
import os
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from train_two_moons import commit_of_this_run

from course_flows import Flow, bits_per_dim, dequantize
from course_flows.data import load_images
from course_flows.models import nice
from course_flows.transforms import Diagonal

FOLDER = Path(__file__).resolve().parent
NAME = "nice_digits"
SEED, STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 0, 4000, 100, 2e-3, 2.0
MODEL: dict[str, Any] = {"couplings": 4, "hidden": (160, 160)}
SPREAD = {"logistic": math.pi / math.sqrt(3), "normal": 1.0}  # standard deviation of each prior
VARIANTS: dict[str, dict[str, Any]] = {  # the weights of the first are kept
    "every other column, logistic": {},
    "upper and lower half, logistic": {"mask": "half"},
    "every other column, normal": {"base": "normal"},
    "every other column, logistic, no scaling": {"scaling": False},
}


def build_flow(points: Tensor, scaling: bool = True, base: str = "logistic", mask: str = "alternating") -> Flow:
    """Return the untrained flow; its scaling gives every pixel of `points` (N, 1, 8, 8) the spread of the prior."""
    torch.manual_seed(SEED)
    flow = nice(points.shape[1:], base=base, mask=mask, **MODEL)
    layer = next(part for part in flow.modules() if isinstance(part, Diagonal))
    if scaling:
        layer.log_scale.data = (SPREAD[base] / points.flatten(1).std(0)).log()
    else:
        layer.log_scale.requires_grad_(False)
    return flow


def train(flow: Flow, images: Tensor, test: Tensor, levels: int) -> list[list[float]]:
    """Train in place with Adam, decoupled weight decay on the networks; return rows of step, training and test nats."""
    scales = [p for name, p in flow.named_parameters() if name.endswith("log_scale") and p.requires_grad]
    networks = [p for name, p in flow.named_parameters() if not name.endswith("log_scale")]
    groups = [{"params": networks, "weight_decay": WEIGHT_DECAY}, {"params": scales, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(SEED)
    curve = []
    for step in range(STEPS):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        loss = -flow.log_prob(dequantize(images[chosen], levels, generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 200 == 0 or step == STEPS - 1:
            with torch.no_grad():
                nats = [-flow.log_prob(dequantize(x, levels, generator)).mean().item() for x in (images, test)]
            curve.append([step, *(round(n, 2) for n in nats)])
    return curve


def main() -> None:
    """Train every variant, score each on the test digits, write the weights of the first and the record."""
    torch.set_num_threads(1)
    commit = commit_of_this_run()  # before the weights are written over
    data, held_out = load_images("digits"), load_images("digits", split="test")
    points = dequantize(data.images, data.levels, torch.Generator().manual_seed(SEED))
    runs: dict[str, Any] = {}
    started = time.process_time()
    for name, options in VARIANTS.items():
        flow = build_flow(points, **options)
        curve = train(flow, data.images, held_out.images, data.levels)
        generator = torch.Generator().manual_seed(SEED)
        test = bits_per_dim(flow, held_out.images, data.levels, samples=10, generator=generator)
        runs[name] = {
            "test_log_probability_nats": round(test.nats, 2),
            "test_bits_per_dim": round(test.bits, 4),
            "test_bits_per_dim_standard_error": round(test.standard_error, 4),
            "density_nats_by_step": curve,
        }
        if name == next(iter(VARIANTS)):
            (FOLDER / f"{NAME}.safetensors").write_bytes(save(flow.state_dict()))
            parameters = sum(p.numel() for p in flow.parameters())
    record = {
        "model": f"nice((1, 8, 8), couplings={MODEL['couplings']}, hidden={MODEL['hidden']})",
        "parameters": parameters,
        "data": data.name,
        "test_data": held_out.name,
        "subset": False,
        "command": "python book/results/train_nice_digits.py",
        "seed": SEED,
        **commit,
        "hardware": f"1 of {os.cpu_count()} CPU cores",
        "cpu_seconds_all_runs": round(time.process_time() - started, 1),
        "steps": STEPS,
        "epochs": round(STEPS * BATCH / len(data), 1),
        "training": f"Adam, learning rate {LEARNING_RATE} falling to 0, weight decay {WEIGHT_DECAY} (decoupled), "
        f"batches of {BATCH}",
        "runs": runs,
    }
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
