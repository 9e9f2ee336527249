"""Data sets: what is loaded is what the source holds, and a missing or broken source is one sentence."""

from __future__ import annotations

import gzip
import math
import os
import struct

import numpy as np
import pytest
import torch

from course_flows.data import DataError, load_images, load_tabular, toy
from course_flows.data.tabular import table_names

SAMPLERS = ["two_moons", "eight_gaussians", "checkerboard", "rings", "pinwheel", "two_spirals"]
FOLDER = os.environ.get("COURSE_FLOWS_DATA")
WITH_DENSITY = ["eight_gaussians", "checkerboard", "rings"]


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("COURSE_FLOWS_DATA", raising=False)


@pytest.mark.parametrize("name", SAMPLERS)
def test_toy_samples_depend_on_the_seed_alone(name):
    sampler = getattr(toy, name)
    torch.manual_seed(1)
    first = sampler(300, seed=4)
    torch.manual_seed(2)
    assert torch.equal(first, sampler(300, seed=4))
    assert not torch.equal(first, sampler(300, seed=5))
    assert first.shape == (300, 2)
    assert first.dtype == torch.float32
    assert sampler(3, dtype=torch.float64).dtype == torch.float64
    assert torch.isfinite(first).all()
    assert first.mean(dim=0).abs().max() < 0.5


@pytest.mark.parametrize("name", WITH_DENSITY)
def test_toy_density_integrates_to_one_and_fits_its_samples(name):
    log_prob = getattr(toy, f"{name}_log_prob")
    edge, count = 6.0, 1200
    step = 2 * edge / count
    line = -edge + step * (torch.arange(count, dtype=torch.float64) + 0.5)
    grid = torch.cartesian_prod(line, line)
    density = log_prob(grid).exp() * step**2
    assert density.sum().item() == pytest.approx(1.0, abs=1e-3)
    samples = getattr(toy, name)(200_000, dtype=torch.float64)
    cells = ((samples + edge) / (2 * edge) * 24).long().clamp(0, 23)
    counts = torch.bincount(cells[:, 0] * 24 + cells[:, 1], minlength=576).double()
    expected = density.reshape(24, 50, 24, 50).sum(dim=(1, 3)).flatten() * len(samples)
    expected_enough = expected > 20
    chi2 = ((counts - expected)[expected_enough].square() / expected[expected_enough]).mean().item()
    assert chi2 == pytest.approx(1.0, abs=5 * math.sqrt(2 / expected_enough.sum()) + 0.02)


def test_digits_are_scikit_learns():
    train, test = load_images("digits"), load_images("digits", split="test")
    assert train.images.shape == (1500, 1, 8, 8)
    assert len(test) == 297
    assert train.images.dtype == torch.uint8
    assert int(train.images.max()) == train.levels - 1 == 16
    from sklearn.datasets import load_digits

    everything = torch.cat([train.images, test.images]).flatten(1).long()
    original = torch.from_numpy(load_digits().data).long()
    assert torch.equal(everything.unique(dim=0), original.unique(dim=0))
    assert train.labels.bincount().tolist() != [0] * 10


@pytest.fixture
def _any_content(monkeypatch):
    """Let made-up files pass as the published ones: their sums are tested on their own."""
    monkeypatch.setattr("course_flows.data.images.verify_sha256", lambda *_: None)


def write_idx(path, array):
    header = b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    content = header + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("subfolder", ["", "fashion-mnist"])
@pytest.mark.usefixtures("_any_content")
def test_idx_files_are_read(tmp_path, suffix, subfolder):
    folder = tmp_path / subfolder
    folder.mkdir(exist_ok=True)
    images = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
    labels = np.arange(12, dtype=np.uint8) % 10
    write_idx(folder / f"t10k-images-idx3-ubyte{suffix}", images)
    write_idx(folder / f"t10k-labels-idx1-ubyte{suffix}", labels)
    data = load_images("fashion-mnist", split="test", data_dir=tmp_path)
    assert np.array_equal(data.images[:, 0].numpy(), images)
    assert data.labels.tolist() == labels.tolist()
    assert data.levels == 256


@pytest.mark.usefixtures("_any_content")
def test_cifar10_binary_is_read(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (10_000, 3073), dtype=np.uint8)
    rows[:, 0] %= 10
    (tmp_path / "test_batch.bin").write_bytes(rows.tobytes())
    data = load_images("cifar10", split="test", data_dir=tmp_path)
    assert data.images.shape == (10_000, 3, 32, 32)
    assert data.images[5, 2, 31, 31] == rows[5, 3072]
    assert data.labels[7] == rows[7, 0]
    (tmp_path / "test_batch.bin").write_bytes(rows.tobytes()[:-1])
    with pytest.raises(DataError, match="expected 30730000"):
        load_images("cifar10", split="test", data_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"not an idx file", "not an IDX file"),
        (b"\x00\x00\x08\x03" + b"\x00" * 5, "cut off"),
        (b"\x00\x00\x08\x03" + struct.pack(">3I", 5, 28, 28) + b"\x00" * 10, "cut off"),
        (b"", "not an IDX file"),
    ],
)
@pytest.mark.usefixtures("_any_content")
def test_broken_files_are_said(tmp_path, content, words):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=words):
        load_images("fashion-mnist", split="test", data_dir=tmp_path)


def test_a_damaged_file_of_each_kind_is_said(tmp_path):
    write_idx(tmp_path / "train-images-idx3-ubyte", np.zeros((60_000, 28, 28), np.uint8))
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(60_000, np.uint8))
    (tmp_path / "test_batch.bin").write_bytes(bytes(30_730_000))
    for name, split in (("mnist", "train"), ("fashion-mnist", "train"), ("cifar10", "test")):
        with pytest.raises(DataError, match="is not the published file: expected SHA-256"):
            load_images(name, split, data_dir=tmp_path)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"x" * 100)[:-10])
    with pytest.raises(DataError, match="cannot be read"):
        load_images("mnist", split="test", data_dir=tmp_path)


@pytest.mark.usefixtures("_any_content")
def test_images_and_labels_must_fit(tmp_path):
    write_idx(tmp_path / "t10k-images-idx3-ubyte", np.zeros((5, 28, 28), np.uint8))
    write_idx(tmp_path / "t10k-labels-idx1-ubyte", np.zeros(3, np.uint8))
    with pytest.raises(DataError, match=r"found \(5, 28, 28\) and \(3,\)"):
        load_images("fashion-mnist", split="test", data_dir=tmp_path)


@pytest.mark.parametrize(("split", "count", "mean"), [("train", 60_000, 33.318421), ("test", 10_000, 33.791224)])
def test_the_real_mnist_is_what_is_published(split, count, mean):
    if FOLDER is None:
        pytest.skip("the real MNIST is tested where COURSE_FLOWS_DATA names a folder that holds it")
    data = load_images("mnist", split, data_dir=FOLDER)
    assert data.images.shape == (count, 1, 28, 28)
    assert data.images.double().mean().item() == pytest.approx(mean, abs=1e-5)


def test_missing_folders_files_and_names_are_said(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"no folder was named.*COURSE_FLOWS_DATA"):
        load_images("mnist")
    with pytest.raises(DataError, match=r"data_dir names .*nowhere, which is not a folder"):
        load_images("mnist", data_dir=tmp_path / "nowhere")
    with pytest.raises(DataError, match="mnist was not found"):
        load_images("mnist", data_dir=tmp_path)
    monkeypatch.setenv("COURSE_FLOWS_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match="COURSE_FLOWS_DATA names"):
        load_tabular("protein")
    with pytest.raises(ValueError, match="expected one of digits"):
        load_images("minst")
    with pytest.raises(ValueError, match="'train' or 'test'"):
        load_images("digits", split="all")


@pytest.mark.parametrize(
    ("name", "shape"), [("iris", (150, 4)), ("wine", (178, 13)), ("breast_cancer", (569, 30)), ("diabetes", (442, 10))]
)
def test_bundled_tables(name, shape):
    data = load_tabular(name)
    assert tuple(data.x.shape) == shape
    assert data.x.dtype == torch.float64
    assert len(data.columns) == shape[1]
    assert torch.equal(data.column(data.columns[1]), data.x[:, 1])
    with pytest.raises(ValueError, match="has the columns"):
        data.column("no such column")


def test_tables_from_a_folder(tmp_path):
    x = np.arange(12.0).reshape(4, 3)
    np.savez(tmp_path / "a.npz", x=x, columns=np.array(["p", "q", "r"]), y=np.array([0, 1, 0, 1]))
    (tmp_path / "tabular").mkdir()
    lines = [",".join(map(str, row)) for row in x]
    (tmp_path / "tabular" / "b.csv").write_text("\n".join(["\ufeffp,q,r", *lines, "", ""]))
    for name in ("a", "b"):
        data = load_tabular(name, data_dir=tmp_path)
        assert data.columns == ("p", "q", "r")
        assert np.array_equal(data.x.numpy(), x)
    assert load_tabular("a", data_dir=tmp_path).labels.tolist() == [0, 1, 0, 1]


def test_rows_with_missing_values_can_be_left_out(tmp_path):
    x = np.arange(12.0).reshape(6, 2)
    x[[1, 4], [0, 1]] = np.nan
    np.savez(tmp_path / "holes.npz", x=x, y=np.arange(6))
    (tmp_path / "gaps.csv").write_text("a,b\n1,2\n,3\n4,nan\n5,6\n")
    data = load_tabular("holes", tmp_path, drop_missing=True)
    assert np.array_equal(data.x.numpy(), x[[0, 2, 3, 5]])
    assert (data.labels.tolist(), data.left_out) == ([0, 2, 3, 5], 2)
    data = load_tabular("gaps", tmp_path, drop_missing=True)
    assert (data.x.tolist(), data.left_out) == ([[1, 2], [5, 6]], 2)
    assert load_tabular("iris", drop_missing=True).left_out == 0


def test_tables_of_a_folder_are_listed(tmp_path, monkeypatch):
    assert table_names() == ()
    (tmp_path / "tabular").mkdir()
    for name in ("b.csv", "a.npz", "notes.txt", "tabular/c.npz", "tabular/a.csv"):
        (tmp_path / name).touch()
    monkeypatch.setenv("COURSE_FLOWS_DATA", str(tmp_path))
    assert table_names() == ("a", "b", "c")


def test_broken_tables_are_said(tmp_path):
    x = np.ones((4, 3))
    x[1, 1] = np.nan
    np.savez(tmp_path / "holes.npz", x=x)
    np.savez(tmp_path / "flat.npz", x=np.ones(3))
    np.savez(tmp_path / "objects.npz", x=np.array([{}], dtype=object))
    (tmp_path / "words.csv").write_text("a,b\n1,two\n")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "bare.csv").write_text("1,2\n3,4\n")
    (tmp_path / "gaps.csv").write_text("a,b\n1,\n3,4\n")
    (tmp_path / "endless.csv").write_text("a,b\n1,inf\n3,4\n")
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 torn")
    (tmp_path / "latin.csv").write_bytes("a\n\xe9\n".encode("latin-1"))
    np.savez(tmp_path / "real_labels.npz", x=np.ones((3, 2)), y=np.array([0.5, 1.7, 2.9]))
    np.savez(tmp_path / "few_labels.npz", x=np.ones((3, 2)), y=np.array([1, 2]))
    np.savez(tmp_path / "few_names.npz", x=np.ones((3, 2)), columns=np.array(["a"]))
    np.savez(tmp_path / "letters.npz", x=np.array([["a", "b"]]))
    np.savez(tmp_path / "complex.npz", x=np.array([[1.0, 2.0j]]))
    for name, words in {
        "holes": r"1 of 4 rows with missing values \(NaN\): fill them, or leave those rows out",
        "flat": "no array x of shape",
        "objects": "cannot be read",
        "words": "words.csv, line 2, column b: expected a number, found 'two'",
        "ragged": "line 3: expected 2 values, one a column name, found 1",
        "empty": "is not a table: expected a line of column names and lines of numbers",
        "bare": "expected column names in the first line, found numbers",
        "gaps": "1 of 2 rows with missing values",
        "endless": "1 of 2 rows with infinite values",
        "torn": "cannot be read",
        "latin": "cannot be read as a text file",
        "real_labels": "whole numbers y",
        "few_labels": r"whole numbers y of shape \(3,\)",
        "few_names": "one name a column",
        "letters": "expected real numbers in x, found <U1",
        "complex": "expected real numbers in x, found complex128",
        "absent": "'absent' was not found .looked in .*, which holds bare, complex, empty, endless, ",
    }.items():
        with pytest.raises(DataError, match=words):
            load_tabular(name, data_dir=tmp_path)
