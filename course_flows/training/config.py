"""What a training run is: model, data and every number that decides its outcome, checked before it starts."""

from __future__ import annotations

import ast
import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import torch

from course_flows.flow import Flow
from course_flows.models import MODELS, PRESETS, build
from course_flows.training.data_feed import DATA_SETS
from course_flows.training.devices import PRECISIONS, seeded
from course_flows.training.errors import ConfigError
from course_flows.training.processes import derived_seed

__all__ = ["TrainConfig", "build_flow", "make_config", "parse_settings"]

CHANGEABLE = ("epochs", "steps", "max_seconds", "patience", "eval_every", "checkpoint_every", "log_every", "samples")
LONGEST_INTERVAL, INTERVALS = 1000, 20
CHOICES = {"schedule": ("constant", "cosine"), "optimizer": ("adam", "adamw"), "precision": PRECISIONS}


@dataclass(frozen=True)
class TrainConfig:
    """A training run. Two runs with the same configuration on the same machine give the same bits.

    Attributes:
        model, options: name of the builder in `course_flows.models.MODELS` and what it gets beside the event shape.
        data: name of the data set; whether there is one is seen when it is loaded.
        preset: where the defaults came from; None for none.
        subset, validation, drop_missing: see `course_flows.training.data_feed.load_training`.
        steps: number of steps of the whole run; 0 until the size of the data is known.
        epochs: the same in epochs; None where steps were asked for.
        max_seconds: the run ends earlier when it has trained for so long, in all its parts together.
        patience: the run ends earlier when so many validations in a row, among those every `eval_every` steps, were no
            better than the best before them; 0 for never.
        batch_size, lr, optimizer, betas, eps, weight_decay: of Adam (weight decay in the gradient) or AdamW.
        warmup: steps over which the learning rate rises to `lr`.
        schedule: ``constant``, or ``cosine``: from `lr` to zero at the last step.
        clip: largest norm of the gradient; None or 0 for no clipping.
        ema: decay of the exponential moving average of the weights; None or 0 for none.
        seed: of weights, order and noise.
        precision: of the conditioner networks, see `course_flows.training.devices.conditioners_in`.
        eval_every, checkpoint_every, log_every: in steps; the first two 0 until the number of steps is known.
        samples: images on a sample sheet, 0 for no sheets.
    """

    model: str
    data: str
    options: dict[str, Any] = field(default_factory=dict)
    preset: str | None = None
    subset: int | None = None
    validation: int | None = None
    drop_missing: bool = False
    epochs: float | None = 100
    steps: int = 0
    max_seconds: float | None = None
    patience: int = 0
    batch_size: int = 100
    lr: float = 1e-3
    optimizer: str = "adam"
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    warmup: int = 0
    schedule: str = "constant"
    clip: float | None = None
    ema: float | None = None
    seed: int = 0
    precision: str = "float32"
    eval_every: int = 0
    checkpoint_every: int = 0
    log_every: int = 50
    samples: int = 64

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"expected {name} to be one of {', '.join(choices)}, found {getattr(self, name)!r}")
        for name in ("steps", "eval_every", "checkpoint_every", "warmup", "samples", "seed", "weight_decay"):
            self._check(name, getattr(self, name) >= 0, "0 or more")
        for name in ("batch_size", "log_every", "lr", "eps"):
            self._check(name, getattr(self, name) > 0, "more than 0")
        for name in ("epochs", "max_seconds", "subset"):
            self._check(name, getattr(self, name) is None or getattr(self, name) > 0, "more than 0")
        self._check("steps", self.steps > 0 or self.epochs is not None, "more than 0")
        self._check("patience", self.patience >= 0, "0 or more")
        self._check("clip", self.clip is None or self.clip >= 0, "0 or more")
        self._check("ema", self.ema is None or 0 <= self.ema < 1, "from 0 to below 1")
        self._check("betas", len(self.betas) == 2 and all(0 <= b < 1 for b in self.betas), "two numbers from 0 to 1")

    def _check(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ConfigError(f"expected {name} to be {expected}, found {getattr(self, name)}")

    def for_sizes(self, train: int, validation: int) -> TrainConfig:
        """Return the configuration with the numbers that depend on the sizes of the parts of the data."""
        if self.patience and not validation:
            raise ConfigError(f"patience {self.patience} needs a validation part, and the run keeps none")
        steps_per_epoch = train // self.batch_size
        steps = self.steps if self.epochs is None else max(1, round(self.epochs * steps_per_epoch))
        every = min(LONGEST_INTERVAL, max(1, steps // INTERVALS))
        return replace(
            self,
            validation=validation,
            steps=steps,
            eval_every=self.eval_every or every,
            checkpoint_every=self.checkpoint_every or every,
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` undoes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> TrainConfig:
        """Make a configuration from what `to_json` gave."""
        unknown = set(content) - {f.name for f in fields(cls)}
        if unknown:
            raise ConfigError(f"the run has settings that this version does not know: {', '.join(sorted(unknown))}")
        return cls(**{**content, "betas": tuple(content["betas"])})

    def changed(self, given: Mapping[str, Any]) -> TrainConfig:
        """Return the configuration of a run that goes on, with what was `given` anew.

        How long it runs and how often it reports may change; ConfigError where anything else does.
        """
        _one_length(given)
        for name, value in given.items():
            stored = getattr(self, name)
            if name == "options":
                differs = any(k not in stored or _plain(stored[k]) != _plain(v) for k, v in value.items())
            else:
                differs = _plain(stored) != _plain(value)
            if name not in CHANGEABLE and differs:
                raise ConfigError(
                    f"the run has {name} {stored!r} and cannot go on with {value!r}: leave the option out, or start "
                    "another run in another folder"
                )
        new = {name: given[name] for name in CHANGEABLE if name in given}
        if "steps" in new:
            new["epochs"] = None
        return replace(self, **new)


def make_config(given: Mapping[str, Any]) -> TrainConfig:
    """Make a configuration from what a user gave; the rest comes from the preset, then from `TrainConfig`.

    Arguments:
        given: names and values of `TrainConfig`, with a ``preset`` or with ``model`` and ``data``. ``options`` win one
            by one over those of the preset; ``steps`` replaces ``epochs``.
    """
    given = dict(given)
    preset_name = given.get("preset")
    if (preset_name is None) == (given.get("model") is None):
        raise ConfigError(f"expected a preset ({', '.join(PRESETS)}) or a model ({', '.join(MODELS)}), one of the two")
    _one_length(given)
    settings: dict[str, Any] = {}
    if preset_name is not None:
        preset = PRESETS[_known(preset_name, PRESETS, "preset")]
        settings = {"model": preset.model, "data": preset.data, **preset.training}
        given["options"] = {**preset.options, **given.get("options", {})}
    elif "data" not in given:
        raise ConfigError(f"a model without a preset needs data, one of {', '.join(DATA_SETS)}, or a table")
    settings.update(given)
    _known(settings["model"], MODELS, "model")
    if "steps" in given:
        settings["epochs"] = None
    return TrainConfig(**settings)


def parse_settings(settings: Iterable[str]) -> dict[str, Any]:
    """Read ``key=value`` pairs: numbers, lists such as ``256,256``, ``true``, ``false``, ``none``, else words.

    >>> parse_settings(["hidden=64,64", "base=normal", "batch_norm=true"])
    {'hidden': (64, 64), 'base': 'normal', 'batch_norm': True}
    """
    found: dict[str, Any] = {}
    words = {"true": True, "false": False, "none": None}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"expected a setting like hidden=64,64, found {setting!r}")
        text = text.strip()
        try:
            value = words[text.lower()] if text.lower() in words else ast.literal_eval(text)
        except (ValueError, SyntaxError):
            value = text
        found[key.strip()] = value
    return found


def build_flow(config: TrainConfig, event_shape: Sequence[int]) -> Flow:
    """Build the flow of a run on the CPU, with weights that its seed decides.

    Raises ConfigError for options that the model does not have or that are of the wrong kind.
    """
    shape = event_shape[0] if len(event_shape) == 1 else tuple(event_shape)
    _check_options(config, event_shape)
    with seeded(derived_seed(config.seed, "weights"), torch.device("cpu")):
        try:
            return build(config.model, shape, **config.options)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{config.model} cannot be built with {config.options}: {error}") from error


def _check_options(config: TrainConfig, event_shape: Sequence[int]) -> None:
    parameters = inspect.signature(_builder(config.model, event_shape)).parameters.values()
    known = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    for name, value in config.options.items():
        _known(name, known, f"option of {config.model}")
        default = known[name]
        if default is not None and value is not None and _kind(value) != _kind(default):
            raise ConfigError(f"expected {name} of {config.model} to be like {default!r}, found {value!r}")


def _kind(value: Any) -> str:
    kinds = {bool: "bool", int: "number", float: "number", list: "list", tuple: "list"}
    return kinds.get(type(value), type(value).__name__)


def _builder(model: str, event_shape: Sequence[int]) -> Callable[..., Flow]:
    """Return the function whose keywords are the options: `model_vector` or `model_image` where there are two."""
    builder = MODELS[model]
    kind = "vector" if len(event_shape) == 1 else "image"
    return getattr(inspect.getmodule(builder), f"{builder.__name__}_{kind}", builder)


def _one_length(given: Mapping[str, Any]) -> None:
    if "steps" in given and "epochs" in given:
        raise ConfigError("expected steps or epochs, found both")


def _known(name: str, names: Iterable[str], what: str) -> str:
    names = list(names)
    if name in names:
        return name
    close = difflib.get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    raise ConfigError(f"there is no {what} {name!r}: expected one of {', '.join(names)}{hint}")


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
