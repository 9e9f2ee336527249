"""What can go wrong with a training run that its user can do something about."""

from __future__ import annotations

__all__ = ["CheckpointError", "ConfigError", "DeviceError", "NonFiniteError", "TrainingError"]


class TrainingError(Exception):
    """The message is a sentence for the user; `status` is the exit status of a command that meets it."""

    status = 1


class ConfigError(TrainingError, ValueError):
    """A training run was described in a way that cannot be run; the message says what was expected."""

    status = 2


class DeviceError(TrainingError, RuntimeError):
    """A device that was asked for is not there."""

    status = 2


class CheckpointError(TrainingError, RuntimeError):
    """A checkpoint is missing, damaged or belongs to something else; the message says what was found."""


class NonFiniteError(TrainingError, RuntimeError):
    """The likelihood or the gradient is NaN or infinite; the message says at which step and what was saved."""

    status = 3
