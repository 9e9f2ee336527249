"""Compare Real NVP, MAF and IAF on pieces of photographs: python book/results/train_autoregressive_patches.py."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_sample_image
from torch import Tensor
from train_two_moons import commit_of_this_run

from course_flows import Flow, fit
from course_flows.made import MaskedLinear
from course_flows.models import iaf, maf, real_nvp
from course_flows.training.metrics import evaluation

FOLDER = Path(__file__).resolve().parent
NAME = "autoregressive_patches"
PHOTOS, SIDE, STRIPE, TILE_ROWS = ("china.jpg", "flower.jpg"), 3, 64, 61
LAYERS, HIDDEN, COUPLINGS = 4, 64, 8
SEEDS, STEPS, BATCH, LEARNING_RATE = (0, 1, 2), 1500, 200, 2e-3


def patches() -> tuple[Tensor, Tensor, Tensor]:
    """Return training pieces ``(N, 8)``, test pieces ``(M, 8)`` and the tile that each test piece is cut from ``(M,)``.

    The green channel with uniform noise in place of rounding, cut into squares of 3 × 3 pixels; minus the mean of the
    square, without the last pixel, which is then known; each column with mean 0 and deviation 1 in training. Every
    fourth vertical stripe of a photograph is for testing.
    """
    generator = torch.Generator().manual_seed(0)
    train, test, tiles = [], [], []
    for number, name in enumerate(PHOTOS):
        photo = torch.from_numpy(load_sample_image(name).copy())[..., 1].double()
        photo = photo + torch.rand(photo.shape, generator=generator, dtype=photo.dtype)
        for stripe in range(photo.shape[1] // STRIPE):
            part = photo[:, stripe * STRIPE : (stripe + 1) * STRIPE]
            cut = part.unfold(0, SIDE, SIDE).unfold(1, SIDE, SIDE)
            rows = torch.arange(cut.shape[0])[:, None].expand(cut.shape[:2]) * SIDE // TILE_ROWS
            if stripe % 4 == 3:
                test.append(cut.reshape(-1, SIDE**2))
                tiles.append(rows.reshape(-1) + 100 * stripe + 10_000 * number)
            else:
                train.append(cut.reshape(-1, SIDE**2))
    known, unknown = ((x - x.mean(dim=1, keepdim=True))[:, :-1] for x in (torch.cat(train), torch.cat(test)))
    mean, deviation = known.mean(dim=0), known.std(dim=0)
    return ((known - mean) / deviation).float(), ((unknown - mean) / deviation).float(), torch.cat(tiles)


def weights_in_use(flow: Flow) -> int:
    """Return how many trained numbers a flow uses: what a mask removes is not counted."""
    masked = (part for part in flow.modules() if isinstance(part, MaskedLinear))
    return sum(p.numel() for p in flow.parameters()) - sum(int((~part.mask).sum()) for part in masked)


def models(features: int) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return the builder and the options of each model; the width of Real NVP is the one nearest to MAF's budget."""
    options: dict[str, Any] = {"layers": LAYERS, "hidden": (HIDDEN, HIDDEN)}
    budget = weights_in_use(maf(features, norm=None, **options))

    def excess(width: int) -> int:
        return abs(weights_in_use(real_nvp(features, couplings=COUPLINGS, hidden=(width, width))) - budget)

    width = min(range(16, 128), key=excess)
    return {
        "Real NVP": (real_nvp, {"couplings": COUPLINGS, "hidden": (width, width)}),
        "MAF": (maf, {**options, "norm": None}),
        "IAF": (iaf, options),
    }


def main() -> None:
    """Train every model with every seed and write the record beside this file."""
    torch.set_num_threads(1)
    commit = commit_of_this_run()
    train, test, tiles = patches()
    tiles = tiles.unique(return_inverse=True)[1]
    counts = torch.bincount(tiles)
    started = time.process_time()
    runs = []
    for name, (builder, options) in models(train.shape[1]).items():
        for seed in SEEDS:
            torch.manual_seed(seed)
            flow = builder(train.shape[1], **options)
            before = time.process_time()
            fit(flow, train, steps=STEPS, batch_size=BATCH, lr=LEARNING_RATE, seed=seed)
            seconds = time.process_time() - before
            with torch.no_grad(), evaluation(flow):
                nats, of_train = flow.log_prob(test).double(), flow.log_prob(train[:5000]).double()
            by_tile = torch.zeros(len(counts), dtype=torch.float64).index_add(0, tiles, nats) / counts
            run = {
                "model": name,
                "seed": seed,
                "parameters_in_use": weights_in_use(flow),
                "cpu_seconds": round(seconds, 1),
                "train_nats": round(of_train.mean().item(), 3),
                "test_nats": round(nats.mean().item(), 3),
                "test_nats_by_tile": [round(v, 3) for v in by_tile.tolist()],
            }
            print(name, seed, run["cpu_seconds"], run["train_nats"], run["test_nats"], flush=True)
            runs.append(run)
    record = {
        "models": {name: f"{b.__name__}({train.shape[1]}, {o})" for name, (b, o) in models(train.shape[1]).items()},
        "options": {name: options for name, (_, options) in models(train.shape[1]).items()},
        "features": train.shape[1],
        "data": f"{len(train)} pieces of {SIDE} x {SIDE} pixels of {' and '.join(PHOTOS)}, mean and last pixel removed",
        "test_data": f"{len(test)} pieces from every fourth stripe of {STRIPE} pixels, in {len(counts)} tiles",
        "subset": False,
        "command": f"python book/results/train_{NAME}.py",
        **commit,
        "hardware": f"1 of {os.cpu_count()} CPU cores",
        "cpu_seconds_all_runs": round(time.process_time() - started, 1),
        "training": f"Adam, learning rate {LEARNING_RATE} falling to 0, {STEPS} steps, batches of {BATCH}",
        "pieces_by_tile": counts.tolist(),
        "runs": runs,
    }
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
