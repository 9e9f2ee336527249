"""Train Real NVP of several depths on two moons and record the runs: python book/results/train_real_nvp_moons.py."""

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

from course_flows import Flow
from course_flows.data import toy
from course_flows.models import real_nvp

FOLDER = Path(__file__).resolve().parent
NAME = "real_nvp_moons"
DEPTHS = (1, 2, 4, 8, 16, 50)
MODEL: dict[str, Any] = {"hidden": (32, 32), "activation": "silu"}
SEED, STEPS, BATCH, LEARNING_RATE, CLIP = 0, 3000, 256, 2e-3, 5.0
TRAIN_POINTS, TEST_POINTS, TEST_SEED = 20_000, 10_000, 1
WINDOW = 50  # training steps that one point of a curve is the mean of


def train(flow: Flow, data: Tensor) -> list[float]:
    """Train in place with Adam, gradients cut off at length `CLIP`; return mean losses of `WINDOW` steps each."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    generator = torch.Generator().manual_seed(SEED)
    losses = []
    for _ in range(STEPS):
        loss = -flow.log_prob(data[torch.randint(len(data), (BATCH,), generator=generator)]).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return [round(value, 3) for value in torch.tensor(losses).reshape(-1, WINDOW).mean(1).tolist()]


def main() -> None:
    """Train every depth, score it on fresh points, write the weights of all and the record beside this file."""
    torch.set_num_threads(1)
    commit = commit_of_this_run()  # before files are written over
    data, test = toy.two_moons(TRAIN_POINTS, seed=SEED), toy.two_moons(TEST_POINTS, seed=TEST_SEED)
    runs: dict[str, Any] = {}
    weights: dict[str, torch.Tensor] = {}
    started = time.process_time()
    for couplings in DEPTHS:
        before = time.process_time()
        torch.manual_seed(SEED)
        flow = real_nvp(2, couplings=couplings, **MODEL)
        curve = train(flow, data)
        seconds = time.process_time() - before
        with torch.no_grad():
            nats = -flow.log_prob(test)
        runs[str(couplings)] = {
            "parameters": sum(p.numel() for p in flow.parameters()),
            "test_nll_nats": round(nats.mean().item(), 4),
            "test_nll_nats_standard_error": round(nats.std().item() / math.sqrt(TEST_POINTS), 4),
            "cpu_seconds": round(seconds, 1),
            "train_nll_nats": curve,
        }
        weights |= {f"{couplings}.{name}": tensor for name, tensor in flow.state_dict().items()}
    record = {
        "model": f"real_nvp(2, couplings, hidden={MODEL['hidden']}, activation={MODEL['activation']!r})",
        "data": f"toy.two_moons({TRAIN_POINTS}, seed={SEED})",
        "test_data": f"toy.two_moons({TEST_POINTS}, seed={TEST_SEED})",
        "subset": False,
        "command": "python book/results/train_real_nvp_moons.py",
        "seed": SEED,
        **commit,
        "hardware": f"1 of {os.cpu_count()} CPU cores",
        "cpu_seconds_all_runs": round(time.process_time() - started, 1),
        "steps": STEPS,
        "epochs": round(STEPS * BATCH / TRAIN_POINTS, 1),
        "training": f"Adam, learning rate {LEARNING_RATE} falling to 0, gradients clipped at length {CLIP}, "
        f"batches of {BATCH}",
        "window": WINDOW,
        "runs": runs,
    }
    (FOLDER / f"{NAME}.safetensors").write_bytes(save(weights))
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
