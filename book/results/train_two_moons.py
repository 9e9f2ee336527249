"""Train the flow of the welcome page on two moons and record the run: python book/results/train_two_moons.py."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import torch
from safetensors.torch import save

from course_flows import Compose, Flow, fit
from course_flows.data import toy
from course_flows.distributions import StandardNormal
from course_flows.transforms import AffineCoupling

FOLDER = Path(__file__).resolve().parent
NAME = "intro_two_moons"
COUPLINGS, HIDDEN = 8, (64, 64)
SEED, STEPS, BATCH, LEARNING_RATE = 0, 4000, 512, 3e-3
TRAIN_POINTS, TEST_POINTS, TEST_SEED = 20_000, 10_000, 1


def build_flow() -> Flow:
    """Return the untrained flow: affine couplings that move the two coordinates in turn."""
    couplings = (AffineCoupling.mlp(2, hidden=HIDDEN, flip=bool(k % 2)) for k in range(COUPLINGS))
    return Flow(Compose(couplings), StandardNormal(2))


def commit_of_this_run() -> dict[str, str]:
    """Return the commit that the code comes from; nothing where git cannot tell or the code differs from the commit."""
    command = ["git", "-C", str(FOLDER), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return {}
    return {} if commit.endswith("-dirty") else {"commit": commit}


def main() -> None:
    """Train, score on fresh points, write the weights and the record beside this file."""
    torch.manual_seed(SEED)
    flow = build_flow()
    started = time.perf_counter()
    data = toy.two_moons(TRAIN_POINTS, seed=SEED)
    history = fit(flow, data, steps=STEPS, batch_size=BATCH, lr=LEARNING_RATE, seed=SEED)
    seconds = time.perf_counter() - started

    with torch.no_grad():
        test = flow.log_prob(toy.two_moons(TEST_POINTS, seed=TEST_SEED))
    record = {
        "model": f"{COUPLINGS} x AffineCoupling.mlp(2, hidden={HIDDEN}), flip alternating; standard normal base",
        "parameters": sum(p.numel() for p in flow.parameters()),
        "data": f"toy.two_moons({TRAIN_POINTS}, seed={SEED})",
        "test_data": f"toy.two_moons({TEST_POINTS}, seed={TEST_SEED})",
        "subset": False,
        "command": "python book/results/train_two_moons.py",
        "seed": SEED,
        **commit_of_this_run(),
        "hardware": f"{os.cpu_count()} CPU cores",
        "seconds": round(seconds, 1),
        "steps": STEPS,
        "epochs": round(STEPS * BATCH / TRAIN_POINTS, 1),
        "metrics": {
            "test_nll_nats": round(-test.mean().item(), 4),
            "test_nll_nats_standard_error": round(test.std().item() / TEST_POINTS**0.5, 4),
        },
        "train_nats_by_step": {str(k): round(history.train_nll[k], 3) for k in (0, 100, 500, 1000, 2000, STEPS - 1)},
    }
    (FOLDER / f"{NAME}.safetensors").write_bytes(save(flow.state_dict()))
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
