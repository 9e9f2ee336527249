"""Named models: the architectures of the papers and small ones for laptops, each with how it is trained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from course_flows.flow import Flow
from course_flows.models.autoregressive import iaf, made, maf
from course_flows.models.glow import glow
from course_flows.models.nice import nice
from course_flows.models.real_nvp import real_nvp, real_nvp_flat

__all__ = ["MODELS", "PRESETS", "Preset", "build"]

MODELS: dict[str, Callable[..., Flow]] = {
    "nice": nice,
    "real-nvp": real_nvp,
    "real-nvp-flat": real_nvp_flat,
    "glow": glow,
    "made": made,
    "maf": maf,
    "iaf": iaf,
}


@dataclass(frozen=True)
class Preset:
    """A model with its options, and how it is trained unless the command line says otherwise.

    Attributes:
        model: a name of `MODELS`.
        options: what the builder gets beside the event shape.
        training: defaults of the trainer: ``epochs``, ``lr`` and others of `course_flows.training.config.TrainConfig`.
        data: the data set that it was made for.
        source: where architecture and training come from.
        published: numbers to compare with, each a metric of ``course-flows evaluate``, its value and its source.
    """

    model: str
    data: str
    options: Mapping[str, Any] = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict)
    source: str = ""
    published: tuple[tuple[str, float, str], ...] = ()


# how Papamakarios et al. (2017) train on MNIST, but for early stopping, which needs no number of epochs
OF_MAF: dict[str, Any] = {"epochs": 100, "batch_size": 100, "lr": 1e-4, "weight_decay": 1e-6}

PRESETS: dict[str, Preset] = {
    "nice-mnist": Preset(
        model="nice",
        data="mnist",
        options={"couplings": 4, "hidden": (1000,) * 5, "base": "logistic", "mask": "alternating"},
        training={"epochs": 1500, "batch_size": 200, "lr": 1e-3, "betas": (0.9, 0.99), "eps": 1e-4},
        source="NICE (Dinh et al., 2015), section 5.1: 4 couplings of five hidden layers of 1000 units, logistic prior",
        published=(("test_log_density_nats", 1980.50, "Dinh, Krueger and Bengio (2015), section 5.1"),),
    ),
    "nice-digits": Preset(
        model="nice",
        data="digits",
        options={"couplings": 4, "hidden": (256, 256), "base": "logistic", "mask": "alternating"},
        training={"epochs": 100, "batch_size": 100, "lr": 5e-3, "schedule": "cosine", "ema": 0.99},
        source="NICE with small networks, a minute on a laptop",
    ),
    "real-nvp-cifar10": Preset(
        model="real-nvp",
        data="cifar10",
        options={"scales": 2, "channels": 64, "blocks": 8, "alpha": 0.05, "batch_norm": True},
        training={"epochs": 500, "batch_size": 64, "lr": 1e-3, "weight_decay": 5e-5},
        source="Real NVP (Dinh et al., 2017), section 4.1: 8 residual blocks of 64 channels, one squeeze",
        published=(("test_bits_per_dim", 3.49, "Dinh, Sohl-Dickstein and Bengio (2017), table 1"),),
    ),
    "real-nvp-mnist": Preset(
        model="real-nvp",
        data="mnist",
        options={"scales": 3, "channels": 16, "blocks": 1, "alpha": 1e-6},
        training={"epochs": 10, "batch_size": 32, "lr": 1e-3, "schedule": "cosine", "warmup": 100, "clip": 2000},
        source="Real NVP at a size that two cores train in hours; alpha as Papamakarios et al. (2017) take for MNIST",
    ),
    "real-nvp-digits": Preset(
        model="real-nvp",
        data="digits",
        options={"scales": 2, "channels": 16, "blocks": 1, "alpha": 0.05},
        training={"epochs": 100, "batch_size": 100, "lr": 2e-3},
        source="Real NVP at a size that a laptop trains in minutes",
    ),
    "glow-cifar10": Preset(
        model="glow",
        data="cifar10",
        options={"levels": 3, "steps": 32, "channels": 512, "scale": "sigmoid"},
        training={"epochs": 1800, "batch_size": 512, "lr": 1e-3, "warmup": 980},
        source="Glow (Kingma and Dhariwal, 2018): L = 3, K = 32, 512 channels; batches of the published code, 8 GPUs",
        published=(("test_bits_per_dim", 3.35, "Kingma and Dhariwal (2018), table 2"),),
    ),
    "glow-mnist": Preset(
        model="glow",
        data="mnist",
        options={"levels": 2, "steps": 8, "channels": 64, "alpha": 1e-6},
        training={"epochs": 10, "batch_size": 32, "lr": 1e-3, "schedule": "cosine", "warmup": 100, "clip": 2000},
        source="Glow at a size that two cores train in hours",
    ),
    "glow-digits": Preset(
        model="glow",
        data="digits",
        options={"levels": 2, "steps": 4, "channels": 32},
        training={"epochs": 100, "batch_size": 100, "lr": 2e-3, "schedule": "cosine"},
        source="Glow at a size that a laptop trains in minutes",
    ),
    "made-mnist": Preset(
        model="made",
        data="mnist",
        options={"hidden": (1024, 1024), "alpha": 1e-6},
        training={**OF_MAF, "lr": 1e-3},
        source="MADE with Gaussian conditionals as Papamakarios et al. (2017) have it, and their code gpapamak/maf",
        published=(("test_logit_density_nats", -1380.8, "Papamakarios, Pavlakou and Murray (2017), table 2"),),
    ),
    "maf-mnist": Preset(
        model="maf",
        data="mnist",
        options={"layers": 5, "hidden": (1024, 1024), "alpha": 1e-6},
        training=OF_MAF,
        source="MAF (5) of Papamakarios et al. (2017), and of their code gpapamak/maf",
        published=(("test_logit_density_nats", -1300.5, "Papamakarios, Pavlakou and Murray (2017), table 2"),),
    ),
    "real-nvp-flat-mnist": Preset(
        model="real-nvp-flat",
        data="mnist",
        options={"couplings": 5, "hidden": (1024, 1024), "batch_norm": True, "alpha": 1e-6},
        training=OF_MAF,
        source="Real NVP (5) on pixels without structure of Papamakarios et al. (2017), and of their code gpapamak/maf",
        published=(("test_logit_density_nats", -1323.2, "Papamakarios, Pavlakou and Murray (2017), table 2"),),
    ),
    "real-nvp-2d": Preset(
        model="real-nvp",
        data="two-moons",
        options={"couplings": 8, "hidden": (128, 128), "fused": True},
        training={"epochs": 100, "batch_size": 512, "lr": 1e-3},
        source="eight couplings of two hidden layers of 128 units",
    ),
}


def build(name: str, event_shape: int | Sequence[int], **options: Any) -> Flow:
    """Build the model of a preset, or a model of `MODELS` by name, for points of `event_shape`.

    Arguments:
        name: of a preset or of a model.
        event_shape: D or ``(C, H, W)``.
        options: go to the builder and win over those of the preset.

    Raises ValueError, with the names there are, where `name` is none of them.

    >>> build("real-nvp-2d", 2, couplings=2).event_shape
    torch.Size([2])
    """
    if name in PRESETS:
        preset = PRESETS[name]
        return MODELS[preset.model](event_shape, **{**preset.options, **options})
    if name in MODELS:
        return MODELS[name](event_shape, **options)
    raise ValueError(f"expected a preset ({', '.join(PRESETS)}) or a model ({', '.join(MODELS)}), found {name!r}")
