"""Train a small Glow on the 8 × 8 digits: python book/results/train_glow_digits.py."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from train_real_nvp_digits import score
from train_two_moons import commit_of_this_run

from course_flows import Flow, dequantize
from course_flows.data import load_images
from course_flows.models import build
from course_flows.training.metrics import evaluation

FOLDER = Path(__file__).resolve().parent
NAME = "glow_digits"
PRESET = "glow-digits"
OPTIONS: dict[str, Any] = {"steps": 8, "channels": 48, "alpha": 0.05}
SEED, STEPS, BATCH, LEARNING_RATE, EVERY = 0, 1000, 100, 3e-3, 100
WEIGHT_DECAY = 4.0  # chosen among 0.1, 1 and 4 by training on 1,200 images and scoring the other 300


def train(flow: Flow, images: Tensor, test: Tensor, levels: int) -> list[list[float]]:
    """Train in place with Adam, the convolutions with weight decay; return rows of step, training and test nats."""
    convolutions = [p for p in flow.parameters() if p.dim() == 4]
    others = [p for p in flow.parameters() if p.dim() != 4]
    groups = [{"params": convolutions, "weight_decay": WEIGHT_DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(SEED)
    curve = []
    flow.train()
    for step in range(STEPS):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        loss = -flow.log_prob(dequantize(images[chosen], levels, generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 500.0)
        optimizer.step()
        schedule.step()
        if step % EVERY == EVERY - 1:
            with torch.no_grad(), evaluation(flow):
                nats = [-flow.log_prob(dequantize(x, levels, generator)).mean().item() for x in (images, test)]
            curve.append([step + 1, *(round(n, 2) for n in nats)])
    flow.eval()
    return curve


def main() -> None:
    """Train the preset with more steps of flow, score it on the test digits, write weights and the record."""
    torch.set_num_threads(1)
    commit = commit_of_this_run()
    data, held_out = load_images("digits"), load_images("digits", split="test")
    started = time.process_time()
    torch.manual_seed(SEED)
    flow = build(PRESET, (1, 8, 8), **OPTIONS)
    curve = train(flow, data.images, held_out.images, data.levels)
    options = ", ".join(f"{key}={value}" for key, value in OPTIONS.items())
    record = {
        "model": f"build({PRESET!r}, (1, 8, 8), {options})",
        "preset": PRESET,
        "options": OPTIONS,
        "data": data.name,
        "test_data": held_out.name,
        "subset": False,
        "command": f"python book/results/train_{NAME}.py",
        "seed": SEED,
        **commit,
        "hardware": f"1 of {os.cpu_count()} CPU cores",
        "cpu_seconds": round(time.process_time() - started, 1),
        "steps": STEPS,
        "epochs": round(STEPS * BATCH / len(data), 1),
        "training": f"Adam, learning rate {LEARNING_RATE} falling to 0, weight decay {WEIGHT_DECAY} of convolutions "
        f"(decoupled), gradients clipped at length 500, batches of {BATCH}",
        **score(flow, held_out.images, data.levels),
        "density_nats_by_step": curve,
    }
    weights = {name: tensor.contiguous() for name, tensor in flow.state_dict().items()}
    (FOLDER / f"{NAME}.safetensors").write_bytes(save(weights))
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
