"""Train MAFs of the digits, given their class, with three kinds of normalization: book/results/train_maf_digits.py."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import one_hot
from train_two_moons import commit_of_this_run

from course_flows import Flow, dequantize
from course_flows.data import load_images
from course_flows.models import maf
from course_flows.training.metrics import evaluation

FOLDER = Path(__file__).resolve().parent
NAME = "maf_digits"
OPTIONS: dict[str, Any] = {"layers": 4, "hidden": (128, 128), "context_features": 10, "alpha": 0.05}
NORMS, KEPT = (None, "act", "batch"), "batch"
SEEDS, STEPS, BATCH, LEARNING_RATE, EVERY = (0, 1, 2), 600, 100, 2e-3, 50


def train(flow: Flow, seed: int) -> dict[str, list[float]]:
    """Train in place with Adam; return steps, and nats of densities of training and of test images there."""
    data, held_out = load_images("digits"), load_images("digits", split="test")
    names, test_names = (one_hot(part.labels, 10).float() for part in (data, held_out))
    optimizer = torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(seed)
    curve: dict[str, list[float]] = {"step": [], "train_nats": [], "test_nats": []}

    def nats(images: Tensor, context: Tensor) -> float:
        noise = torch.Generator().manual_seed(0)  # the same for every flow and step
        with torch.no_grad(), evaluation(flow):
            return -flow.log_prob(dequantize(images, data.levels, noise, torch.float32), context).mean().item()

    flow.train()
    for step in range(STEPS + 1):
        chosen = torch.randint(len(data), (BATCH,), generator=generator)
        points = dequantize(data.images[chosen], data.levels, generator, torch.float32)
        loss = -flow.log_prob(points, names[chosen]).mean()
        if step % EVERY == 0:
            values = (step, nats(data.images[:300], names[:300]), nats(held_out.images, test_names))
            for key, value in zip(curve, values):
                curve[key].append(round(value, 2))
        if step == STEPS:
            break
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 500.0)
        optimizer.step()
        schedule.step()
    return curve


def main() -> None:
    """Train with every normalization and seed; write the record, and the weights of one run, beside this file."""
    torch.set_num_threads(1)
    commit = commit_of_this_run()
    started = time.process_time()
    runs = []
    for norm in NORMS:
        for seed in SEEDS:
            torch.manual_seed(seed)
            flow = maf((1, 8, 8), norm=norm, **OPTIONS)
            before = time.process_time()
            curve = train(flow, seed)
            run = {"norm": norm, "seed": seed, "cpu_seconds": round(time.process_time() - before, 1), **curve}
            print(norm, seed, run["cpu_seconds"], curve["train_nats"], curve["test_nats"], flush=True)
            runs.append(run)
            if (norm, seed) == (KEPT, SEEDS[0]):
                (FOLDER / f"{NAME}.safetensors").write_bytes(save(flow.state_dict()))
                parameters = sum(p.numel() for p in flow.parameters())
    record = {
        "model": "maf((1, 8, 8), norm=..., " + ", ".join(f"{k}={v}" for k, v in OPTIONS.items()) + ")",
        "options": {**OPTIONS, "norm": KEPT},
        "parameters": parameters,
        "data": "digits",
        "test_data": "digits, test",
        "subset": False,
        "command": f"python book/results/train_{NAME}.py",
        **commit,
        "hardware": f"1 of {os.cpu_count()} CPU cores",
        "cpu_seconds_all_runs": round(time.process_time() - started, 1),
        "steps": STEPS,
        "training": f"Adam, learning rate {LEARNING_RATE} falling to 0, gradients clipped at 500, batches of {BATCH}",
        "noise": "one draw for each image",
        "weights": f"{NAME}.safetensors, norm {KEPT!r}, seed {SEEDS[0]}",
        "runs": runs,
    }
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
