"""Train Real NVP on the 8 × 8 digits, and four masks at one budget: python book/results/train_real_nvp_digits.py."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from train_two_moons import commit_of_this_run

from course_flows import Compose, Flow, bits_per_dim, dequantize
from course_flows.data import load_images
from course_flows.distributions import StandardNormal
from course_flows.models import build
from course_flows.nets import ResidualConvNet
from course_flows.training.metrics import evaluation
from course_flows.transforms import AffineCoupling, LearnedTanh, Logit, checkerboard_mask

FOLDER = Path(__file__).resolve().parent
NAME = "real_nvp_digits"
PRESET = "real-nvp-digits"
SEED, STEPS, BATCH, LEARNING_RATE, WEIGHT_DECAY = 0, 2000, 100, 4e-3, 0.1
MASK_STEPS, COUPLINGS, CHANNELS = 600, 6, 16
ROW = torch.arange(8)[:, None].expand(8, 8)
MASKS: dict[str, Callable[[int], Tensor]] = {  # which pixels coupling k keeps, (8, 8)
    "checkerboard, flipped in turn": lambda k: checkerboard_mask(8, 8, flip=bool(k % 2))[0],
    "every other row, in turn": lambda k: (ROW + k) % 2 == 0,
    "upper and lower half, in turn": lambda k: (ROW < 4) == (k % 2 == 0),
    "checkerboard, never flipped": lambda k: checkerboard_mask(8, 8)[0],
}


def build_masked(keep: Callable[[int], Tensor]) -> Flow:
    """Return six couplings at one scale whose masks `keep` says; the networks are the same for every choice."""
    couplings = (
        AffineCoupling(keep(k)[None], ResidualConvNet(1, 2, CHANNELS, 1), LearnedTanh((1, 1, 1)))
        for k in range(COUPLINGS)
    )
    return Flow(Compose(Logit(0.05, event_ndim=3), *couplings), StandardNormal((1, 8, 8)))


def train(flow: Flow, images: Tensor, test: Tensor, levels: int, steps: int) -> list[list[float]]:
    """Train in place with Adam and decoupled weight decay; return rows of step, training and test nats of densities."""
    optimizer = torch.optim.AdamW(flow.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    generator = torch.Generator().manual_seed(SEED)
    curve = []
    flow.train()
    for step in range(steps):
        chosen = torch.randint(len(images), (BATCH,), generator=generator)
        loss = -flow.log_prob(dequantize(images[chosen], levels, generator)).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(flow.parameters(), 500.0)
        optimizer.step()
        schedule.step()
        if step % 150 == 0 or step == steps - 1:
            with torch.no_grad(), evaluation(flow):
                nats = [-flow.log_prob(dequantize(x, levels, generator)).mean().item() for x in (images, test)]
            curve.append([step, *(round(n, 2) for n in nats)])
    flow.eval()
    return curve


def score(flow: Flow, images: Tensor, levels: int) -> dict[str, float]:
    """Return what the record says of a trained flow."""
    found = bits_per_dim(flow, images, levels, samples=10, generator=torch.Generator().manual_seed(SEED))
    return {
        "parameters": sum(p.numel() for p in flow.parameters()),
        "test_log_probability_nats": round(found.nats, 2),
        "test_bits_per_dim": round(found.bits, 4),
        "test_bits_per_dim_standard_error": round(found.standard_error, 4),
    }


def main() -> None:
    """Train the preset and the four masks, score them on the test digits, write weights and the record."""
    torch.set_num_threads(1)
    commit = commit_of_this_run()  # before files are written over
    data, held_out = load_images("digits"), load_images("digits", split="test")
    started = time.process_time()
    torch.manual_seed(SEED)
    flow = build(PRESET, (1, 8, 8))
    curve = train(flow, data.images, held_out.images, data.levels, STEPS)
    run = {**score(flow, held_out.images, data.levels), "density_nats_by_step": curve}
    (FOLDER / f"{NAME}.safetensors").write_bytes(save(flow.state_dict()))
    masks: dict[str, Any] = {}
    weights: dict[str, Tensor] = {}
    for k, (name, keep) in enumerate(MASKS.items()):
        torch.manual_seed(SEED)
        masked = build_masked(keep)
        train(masked, data.images, held_out.images, data.levels, MASK_STEPS)
        masks[name] = score(masked, held_out.images, data.levels)
        weights |= {f"{k}.{key}": tensor for key, tensor in masked.state_dict().items()}
    (FOLDER / f"{NAME}_masks.safetensors").write_bytes(save(weights))
    record = {
        "model": f"build({PRESET!r}, (1, 8, 8))",
        "preset": PRESET,
        "data": data.name,
        "test_data": held_out.name,
        "subset": False,
        "command": "python book/results/train_real_nvp_digits.py",
        "seed": SEED,
        **commit,
        "hardware": f"1 of {os.cpu_count()} CPU cores",
        "cpu_seconds_all_runs": round(time.process_time() - started, 1),
        "steps": STEPS,
        "epochs": round(STEPS * BATCH / len(data), 1),
        "training": f"Adam, learning rate {LEARNING_RATE} falling to 0, weight decay {WEIGHT_DECAY} (decoupled), "
        f"gradients clipped at length 500, batches of {BATCH}",
        **run,
        "masks": {
            "model": f"{COUPLINGS} affine couplings of pixels, residual networks of {CHANNELS} channels and 1 block",
            "steps": MASK_STEPS,
            "runs": masks,
        },
    }
    (FOLDER / f"{NAME}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
