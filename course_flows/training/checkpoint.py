"""Checkpoints: one safetensors file and one JSON file that belong together or are refused."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from course_flows.training.errors import CheckpointError

__all__ = [
    "Checkpoint",
    "load_weights",
    "read_checkpoint",
    "read_json",
    "save_weights",
    "write_checkpoint",
    "write_text",
]

FORMAT = "course-flows checkpoint"
VERSION = 1
SMALL = 1_000_000
TEMPORARY = ".unfinished-"


@dataclass(frozen=True)
class Checkpoint:
    """What was read: plain values and tensors by name, on the CPU."""

    content: dict[str, Any]
    tensors: dict[str, Tensor]

    def part(self, prefix: str) -> dict[str, Tensor]:
        """Return the tensors whose names begin with ``prefix/``, under the rest of their names."""
        return {k[len(prefix) + 1 :]: v for k, v in self.tensors.items() if k.startswith(f"{prefix}/")}


def write_checkpoint(folder: Path, name: str, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> Path:
    """Write ``<name>.json`` and the tensor file that it names, so that a kill at any moment leaves a whole pair.

    The tensor file is written under a name that holds its own checksum and the JSON file, which names it with that
    checksum, replaces the one before in a single step; only then is the tensor file of the one before removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f"{TEMPORARY}{name}.safetensors"
    _save_tensors(tensors, unfinished)
    _flush(unfinished)
    checksum = _sha256(unfinished)
    target = folder / f"{name}-{checksum[:16]}.safetensors"
    os.replace(unfinished, target)
    _flush_folder(folder)
    whole = {
        "format": FORMAT,
        "version": VERSION,
        "tensors": {"file": target.name, "sha256": checksum, "bytes": target.stat().st_size},
        **content,
    }
    path = folder / f"{name}.json"
    write_text(path, json.dumps(whole, indent=1) + "\n")
    for old in folder.glob(f"{name}-{'[0-9a-f]' * 16}.safetensors"):
        if old.name != target.name:
            old.unlink()
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint by its JSON file; nothing in it is run.

    Raises CheckpointError where a file is missing or damaged or the two do not belong together.
    """
    content = read_json(path)
    if content.get("format") != FORMAT or not isinstance(content.get("tensors"), dict):
        raise CheckpointError(f"{path} is not a checkpoint: expected a JSON file with the format {FORMAT!r}")
    if content.get("version") != VERSION:
        raise CheckpointError(f"{path} has version {content.get('version')}: this program reads version {VERSION}")
    named = content["tensors"]
    file = path.parent / Path(str(named.get("file"))).name
    if not file.is_file():
        raise CheckpointError(f"{path} names {file.name}, which is not beside it: the checkpoint is not whole")
    found = _sha256(file)
    if found != named.get("sha256"):
        raise CheckpointError(
            f"{file} does not belong to {path.name}, or is damaged: expected SHA-256 "
            f"{str(named.get('sha256'))[:12]}…, found {found[:12]}…"
        )
    return Checkpoint(content, _load_tensors(file))


def write_text(path: Path, text: str) -> None:
    """Write a file in one step: whoever reads it, also after a crash, finds the old text or the new one."""
    unfinished = path.with_name(f"{TEMPORARY}{path.name}")
    unfinished.write_text(text, encoding="utf-8")
    _flush(unfinished)
    os.replace(unfinished, path)
    _flush_folder(path.parent)


def save_weights(module: nn.Module, path: str | Path, limit: int = SMALL) -> None:
    """Write the weights and buffers of a module to a safetensors file, for weights small enough to be kept in git.

    Arguments:
        limit: largest size in bytes; ValueError beyond.
    """
    tensors = module.state_dict()
    size = sum(v.numel() * v.element_size() for v in tensors.values())
    if size > limit:
        raise ValueError(f"expected weights of at most {limit} bytes, found {size}: keep large ones in a checkpoint")
    path = Path(path)
    unfinished = path.with_name(f"{TEMPORARY}{path.name}")
    _save_tensors(tensors, unfinished)
    os.replace(unfinished, path)


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Read what `save_weights` wrote into a module of the same architecture."""
    fill(module, _load_tensors(Path(path)), str(path))


def fill(module: nn.Module, tensors: Mapping[str, Tensor], source: str) -> None:
    """Load a state dict; CheckpointError, naming `source`, where names or shapes are not the module's."""
    try:
        module.load_state_dict(dict(tensors))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{source} does not fit the model: {reason[:300]}") from error


def _save_tensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write a safetensors file that others may read where the user's umask says so, which safetensors forbids."""
    file.unlink(missing_ok=True)
    file.touch()
    mode = file.stat().st_mode
    save_file({k: v.detach().contiguous() for k, v in tensors.items()}, file)
    file.chmod(mode)


def _load_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file} cannot be read as a safetensors file ({error})") from error


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object; CheckpointError where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read ({error.strerror}): expected a checkpoint") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a checkpoint: expected a JSON object, found {type(content).__name__}")
    return content


def _sha256(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _flush(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _flush_folder(folder: Path) -> None:
    """Make a renamed file last; only POSIX systems can open a folder for that."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
