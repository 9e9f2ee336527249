"""Compare ways to mix the channels of Glow on the digits: python book/results/train_glow_permutations.py."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from train_two_moons import commit_of_this_run

from course_flows import Flow, dequantize
from course_flows.data import load_images
from course_flows.models import glow
from course_flows.training.metrics import evaluation
from course_flows.transforms import Conv1x1

FOLDER = Path(__file__).resolve().parent
NAME = "glow_permutations"
OPTIONS: dict[str, Any] = {"levels": 2, "steps": 8, "channels": 24, "alpha": 0.05}
MIXINGS = ("reverse", "shuffle", "fixed rotation", "lu")
COUPLINGS = {"affine": True, "additive": False}
SEEDS, STEPS, BATCH, LEARNING_RATE, EVERY = (0, 1, 2), 450, 100, 2e-3, 50


def build_mixed(mixing: str, affine: bool, seed: int) -> Flow:
    """Return the flow with one way of mixing; a fixed rotation is the 1 × 1 convolution as it starts, not trained."""
    kind = "lu" if mixing == "fixed rotation" else mixing
    flow = glow((1, 8, 8), affine=affine, mixing=kind, seed=1000 * seed, **OPTIONS)
    if mixing == "fixed rotation":
        for part in flow.modules():
            if isinstance(part, Conv1x1):
                part.requires_grad_(False)
    return flow


def train(flow: Flow, images: Tensor, test: Tensor, levels: int, seed: int) -> dict[str, list[float]]:
    """Train in place with Adam; return steps, and nats of densities of a training and of the test images there."""
    optimizer = torch.optim.Adam([p for p in flow.parameters() if p.requires_grad], lr=LEARNING_RATE)
    generator = torch.Generator().manual_seed(seed)
    curve: dict[str, list[float]] = {"step": [], "train_nats": [], "test_nats": []}
    flow.train()
    for step in range(STEPS + 1):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        loss = -flow.log_prob(dequantize(images[chosen], levels, generator)).mean()
        if step % EVERY == 0:
            noise = torch.Generator().manual_seed(0)  # the same for every flow and step
            with torch.no_grad(), evaluation(flow):
                nats = [-flow.log_prob(dequantize(x, levels, noise)).mean().item() for x in (images[:300], test)]
            for key, value in zip(curve, (step, *nats)):
                curve[key].append(round(value, 2))
        if step == STEPS:
            break
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 500.0)
        optimizer.step()
    return curve


def main() -> None:
    """Train every combination with every seed and write the record beside this file."""
    torch.set_num_threads(1)
    commit = commit_of_this_run()
    data, held_out = load_images("digits"), load_images("digits", split="test")
    started = time.process_time()
    runs = []
    for coupling, affine in COUPLINGS.items():
        for seed in SEEDS:
            for mixing in MIXINGS:
                torch.manual_seed(seed)
                flow = build_mixed(mixing, affine, seed)
                before = time.process_time()
                curve = train(flow, data.images, held_out.images, data.levels, seed)
                run = {
                    "coupling": coupling,
                    "mixing": mixing,
                    "seed": seed,
                    "parameters": sum(p.numel() for p in flow.parameters() if p.requires_grad),
                    "cpu_seconds": round(time.process_time() - before, 1),
                    **curve,
                }
                print(coupling, mixing, seed, run["cpu_seconds"], curve["test_nats"], flush=True)
                runs.append(run)
    record = {
        "model": "glow((1, 8, 8), affine=..., mixing=..., " + ", ".join(f"{k}={v}" for k, v in OPTIONS.items()) + ")",
        "data": data.name,
        "test_data": held_out.name,
        "subset": False,
        "command": f"python book/results/train_{NAME}.py",
        **commit,
        "hardware": f"1 of {os.cpu_count()} CPU cores",
        "cpu_seconds_all_runs": round(time.process_time() - started, 1),
        "steps": STEPS,
        "epochs": round(STEPS * BATCH / len(data), 1),
        "training": f"Adam, learning rate {LEARNING_RATE}, gradients clipped at length 500, batches of {BATCH}",
        "noise": "one draw for each image",
        "runs": runs,
    }
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
