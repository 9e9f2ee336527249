"""Where training runs and in which precision; the state of the random numbers there."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from course_flows.training.errors import DeviceError
from course_flows.transforms.base import Transform

__all__ = [
    "DEVICES",
    "PRECISIONS",
    "choose_device",
    "conditioners_in",
    "denormals_as_zero",
    "describe_hardware",
    "load_random_state",
    "random_state",
    "seeded",
]

DEVICES = ("auto", "cpu", "cuda", "mps")
PRECISIONS = ("float32", "bf16")


def choose_device(name: str = "auto") -> torch.device:
    """Return the device of that name; ``auto`` takes the first of CUDA, Apple's MPS and the CPU that is there."""
    available: dict[str, Callable[[], bool]] = {
        "cuda": torch.cuda.is_available,
        "mps": torch.backends.mps.is_available,
        "cpu": lambda: True,
    }
    if name == "auto":
        return torch.device(next(kind for kind, there in available.items() if there()))
    if name not in available:
        raise DeviceError(f"expected a device of {', '.join(DEVICES)}, found {name!r}")
    if not available[name]():
        raise DeviceError(f"device {name} was asked for and is not there: use --device auto or --device cpu")
    return torch.device(name)


@contextmanager
def conditioners_in(precision: str, flow: nn.Module, device: torch.device) -> Iterator[None]:
    """Run the networks inside a flow in `precision` for a while; everything else stays in the flow's own precision.

    A conditioner is the module ``net`` of a transform. It only chooses the map: the map and its log-determinant are
    computed from what it returns, in full precision, so that the density stays exact for the map that is used.

    Arguments:
        precision: ``float32`` changes nothing; ``bf16`` runs under autocast to bfloat16.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"expected a precision of {', '.join(PRECISIONS)}, found {precision!r}")
    nets = [] if precision == "float32" else _conditioners(flow)
    with ExitStack() as undo:
        for net in nets:
            setattr(net, "forward", torch.autocast(device.type, dtype=torch.bfloat16)(net.forward))  # noqa: B010  (types refuse a method as a target)
            undo.callback(net.__dict__.pop, "forward")
        yield


def _conditioners(flow: nn.Module) -> list[nn.Module]:
    found = (getattr(part, "net", None) for part in flow.modules() if isinstance(part, Transform))
    return list({id(net): net for net in found if isinstance(net, nn.Module)}.values())


def random_state(device: torch.device) -> dict[str, Tensor]:
    """Return the states of torch's random number generators that work on `device` uses, as tensors of bytes."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = _module_of(device).get_rng_state().cpu()
    return states


def load_random_state(states: dict[str, Tensor], device: torch.device) -> None:
    """Undo `random_state`; a state that was not saved, since the run was on another device, stays as it is."""
    torch.set_rng_state(states["cpu"])
    if device.type in states and device.type != "cpu":
        _module_of(device).set_rng_state(states[device.type])


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Start torch's random numbers from `seed` for a while and leave them afterwards as they were."""
    before = random_state(device)
    torch.random.default_generator.manual_seed(seed)
    if device.type != "cpu":
        _module_of(device).manual_seed(seed)
    try:
        yield
    finally:
        load_random_state(before, device)


@contextmanager
def denormals_as_zero() -> Iterator[None]:
    """Let a CPU that can do so take numbers nearer to zero than 1e-38 (in float32) as zero for a while.

    Weights of units that have died drift there in long runs, and arithmetic with them takes a processor many times as
    long: a step of a trained Real NVP was 2.7 times as slow as one of a new one.
    """
    before = (torch.tensor(1e-38) * 1e-3).item() == 0
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(before)


def _module_of(device: torch.device) -> Any:
    return {"cuda": torch.cuda, "mps": torch.mps}[device.type]


def describe_hardware(device: torch.device) -> dict[str, Any]:
    """Return what a reader needs to judge a running time: processor, cores, threads, accelerator."""
    found: dict[str, Any] = {
        "device": device.type,
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }
    if device.type == "cuda":
        found["accelerator"] = torch.cuda.get_device_name(device)
    return found


def _cpu_model(read: Callable[[], str] = lambda: Path("/proc/cpuinfo").read_text(encoding="utf-8")) -> str:
    try:
        names = [line.partition(":")[2].strip() for line in read().splitlines() if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()
