"""A checkpoint is whole or refused, and nothing in it is run."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch

from course_flows import Compose, Flow
from course_flows.distributions import StandardNormal
from course_flows.training import checkpoint as module
from course_flows.training import load_run, load_weights, save_weights
from course_flows.training.checkpoint import read_checkpoint, write_checkpoint, write_text
from course_flows.training.errors import CheckpointError
from course_flows.transforms import AffineCoupling, Diagonal


def tensors(seed: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        "weights/a": torch.randn(3, 4, generator=generator),
        "weights/b.mask": torch.tensor([True, False]),
        "random/cpu": torch.get_rng_state(),
    }


def tensor_file(path: Path) -> Path:
    return path.parent / json.loads(path.read_text())["tensors"]["file"]


def test_what_is_written_is_read(tmp_path):
    path = write_checkpoint(tmp_path / "new", "last", tensors(0), {"progress": {"step": 3}})
    found = read_checkpoint(path)
    assert found.content["progress"] == {"step": 3}
    assert all(torch.equal(found.tensors[k], v) for k, v in tensors(0).items())
    assert found.tensors.keys() == tensors(0).keys()
    assert set(found.part("weights")) == {"a", "b.mask"}


def test_both_files_have_the_rights_that_the_user_gives_new_files(tmp_path):
    path = write_checkpoint(tmp_path, "last", tensors(0), {})
    assert tensor_file(path).stat().st_mode == path.stat().st_mode


def test_views_and_shared_memory_are_written(tmp_path):
    whole = torch.arange(12.0).reshape(3, 4)
    path = write_checkpoint(tmp_path, "last", {"t": whole.T, "row": whole[1]}, {})
    found = read_checkpoint(path).tensors
    assert torch.equal(found["t"], whole.T)
    assert torch.equal(found["row"], whole[1])


def test_one_tensor_file_is_kept_for_each_name(tmp_path):
    for seed in range(3):
        write_checkpoint(tmp_path, "last", tensors(seed), {})
        write_checkpoint(tmp_path, "best", tensors(seed + 10), {})
    assert len(list(tmp_path.iterdir())) == 4
    assert torch.equal(read_checkpoint(tmp_path / "last.json").part("weights")["a"], tensors(2)["weights/a"])


@pytest.mark.parametrize("moment", ["save_file", "_sha256", "write_text"])
def test_a_write_that_breaks_off_leaves_the_old_pair(tmp_path, monkeypatch, moment):
    path = write_checkpoint(tmp_path, "last", tensors(0), {"step": 0})

    def breaks_off(*args: object) -> None:
        if moment == "save_file":
            Path(str(args[1])).write_bytes(b"half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, moment, breaks_off)
        with pytest.raises(KeyboardInterrupt):
            write_checkpoint(tmp_path, "last", tensors(1), {"step": 1})
    found = read_checkpoint(path)
    assert found.content["step"] == 0
    assert torch.equal(found.tensors["weights/a"], tensors(0)["weights/a"])
    write_checkpoint(tmp_path, "last", tensors(2), {"step": 2})
    assert read_checkpoint(path).content["step"] == 2
    assert len(list(tmp_path.iterdir())) == 2  # what was left half done is gone


def damage(path: Path, how: str) -> None:
    file = tensor_file(path)
    content = json.loads(path.read_text())
    if how == "flipped":
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    elif how == "cut":
        file.write_bytes(file.read_bytes()[:-20])
    elif how == "swapped":
        file.write_bytes(tensor_file(path.parent / "other.json").read_bytes())
    elif how == "gone":
        file.unlink()
    elif how == "cut json":
        path.write_text(path.read_text()[:-30])
    elif how == "list":
        path.write_text("[1, 2]")
    elif how == "other json":
        path.write_text('{"metrics": {}}')
    elif how == "newer":
        path.write_text(json.dumps({**content, "version": 99}))
    elif how == "missing":
        path.unlink()


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("flipped", "does not belong to last.json, or is damaged"),
        ("cut", "does not belong to last.json, or is damaged"),
        ("swapped", "does not belong to last.json, or is damaged"),
        ("gone", "the checkpoint is not whole"),
        ("cut json", "last.json is damaged"),
        ("list", "expected a JSON object, found list"),
        ("other json", "is not a checkpoint"),
        ("newer", "has version 99: this program reads version 1"),
        ("missing", "cannot be read"),
    ],
)
def test_damage_is_named(tmp_path, how, message):
    path = write_checkpoint(tmp_path, "last", tensors(0), {})
    write_checkpoint(tmp_path, "other", tensors(1), {})
    read_checkpoint(path)
    damage(path, how)
    with pytest.raises(CheckpointError, match=message):
        read_checkpoint(path)


def test_a_name_cannot_lead_out_of_the_folder(tmp_path):
    outside = write_checkpoint(tmp_path / "outside", "last", tensors(0), {})
    inside = write_checkpoint(tmp_path / "run", "last", tensors(1), {})
    content = json.loads(inside.read_text())
    content["tensors"] = json.loads(outside.read_text())["tensors"]
    content["tensors"]["file"] = f"../outside/{content['tensors']['file']}"
    inside.write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="not whole"):
        read_checkpoint(inside)


def test_nothing_is_unpickled(tmp_path, monkeypatch):
    path = write_checkpoint(tmp_path, "last", tensors(0), {})

    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, refuse)
    monkeypatch.setattr(torch, "load", refuse)
    assert torch.equal(read_checkpoint(path).tensors["weights/a"], tensors(0)["weights/a"])


def test_a_pickle_in_place_of_the_tensors_is_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    torch.save({"log_scale": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="cannot be read as a safetensors file"):
        load_weights(Diagonal(2), path)


def test_text_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    write_text(path, "old")

    def full_disk(handle: int) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(module.os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        write_text(path, "new")
    assert path.read_text() == "old"


def flow(hidden: int = 8) -> Flow:
    couplings = [AffineCoupling.mlp(2, (hidden,), flip=bool(k)) for k in range(2)]
    made = Flow(Compose(*couplings, Diagonal(2)), StandardNormal(2))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.normal_()
    return made


def test_small_weights_come_back(tmp_path):
    one, other, x = flow(), flow(), torch.randn(50, 2)
    save_weights(one, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(one.log_prob(x), other.log_prob(x))
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def test_large_weights_and_other_architectures_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"at most 1000 bytes, found \d+"):
        save_weights(flow(64), tmp_path / "w.safetensors", limit=1000)
    save_weights(flow(8), tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match=r"does not fit the model.*size mismatch"):
        load_weights(flow(9), tmp_path / "w.safetensors")


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        load_run(tmp_path)
    with pytest.raises(ValueError, match="expected one of the checkpoints best, last"):
        load_run(tmp_path, which="first")
