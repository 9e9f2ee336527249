"""Integer images: scikit-learn's digits, the MNIST family in IDX form, CIFAR-10 in binary form."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from course_flows.data.source import VARIABLE, DataError, data_folder, find_file, verify_sha256

__all__ = ["ImageData", "load_images"]


@dataclass(frozen=True)
class ImageData:
    """Integer images and what is known of them.

    Attributes:
        images: uint8 ``(N, C, H, W)``, values 0 to ``levels − 1``.
        labels: int64 ``(N,)``.
        levels: how many values a pixel can take: 256 for 8-bit images, 17 for the digits.
        name: such as ``"mnist, test"``.
    """

    images: Tensor
    labels: Tensor
    levels: int
    name: str

    def __len__(self) -> int:
        return len(self.images)


def load_images(
    name: str = "digits", split: str = "train", data_dir: str | Path | None = None, download: bool = False
) -> ImageData:
    """Load a data set of images.

    Arguments:
        name: ``digits`` (1,797 images of 8 × 8, bundled with scikit-learn, no file needed), ``mnist``,
            ``fashion-mnist`` (28 × 28) or ``cifar10`` (3 × 32 × 32).
        split: ``train`` or ``test``. The digits are split 1,500 / 297 in a fixed shuffled order.
        data_dir: folder with the files as their sources publish them (IDX, plain or gzipped; CIFAR-10 binary
            batches), either directly in it or in a subfolder of the set's name. Default: the variable
            COURSE_FLOWS_DATA.
        download: where no folder holds the set, fetch it from OpenML through scikit-learn, which caches it.

    Raises DataError, saying what to do, where the files are missing or damaged; ValueError for unknown names.
    """
    if split not in ("train", "test"):
        raise ValueError(f"expected split 'train' or 'test', found {split!r}")
    if name == "digits":
        return _digits(split)
    if name not in _LOADERS:
        raise ValueError(f"expected one of digits, {', '.join(_LOADERS)}, found {name!r}")
    folder = data_folder(data_dir)
    found = _LOADERS[name](folder, split) if folder else None
    if found is not None:
        return found
    if download:
        return _from_openml(name, split)
    looked = f"in {folder}" if folder else "nowhere, since no folder was named"
    raise DataError(
        f"{name} was not found (looked {looked}): put its files ({_FILES[name]}) into a folder and name it with "
        f"data_dir or {VARIABLE}, or pass download=True to fetch it from OpenML"
    )


def _digits(split: str) -> ImageData:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = torch.randperm(len(bunch.images), generator=torch.Generator().manual_seed(0))
    order = order[:1500] if split == "train" else order[1500:]
    images = torch.from_numpy(bunch.images.astype(np.uint8))[:, None]
    return ImageData(images[order], torch.from_numpy(bunch.target).long()[order], 17, f"digits, {split}")


def _read(path: Path) -> bytes:
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}): get it again") from error


def read_idx(path: Path, sha256: str | None = None) -> np.ndarray:
    """Read an IDX file of bytes, plain or gzipped; `sha256` is that of the plain content."""
    content = _read(path)
    if sha256:
        verify_sha256(content, sha256, path)
    if len(content) < 4 or content[:3] != b"\x00\x00\x08":
        raise DataError(f"{path} is not an IDX file of bytes: expected it to begin with 00 00 08")
    ndim = content[3]
    if len(content) < 4 + 4 * ndim:
        raise DataError(f"{path} is cut off: expected a header of {4 + 4 * ndim} bytes, found {len(content)}")
    shape = struct.unpack(f">{ndim}I", content[4 : 4 + 4 * ndim])
    if len(content) != 4 + 4 * ndim + math.prod(shape):
        raise DataError(f"{path} is cut off: expected {shape} bytes after its header")
    return np.frombuffer(content, np.uint8, offset=4 + 4 * ndim).reshape(shape).copy()


# of the uncompressed files as their sources publish them
SHA256 = {
    "mnist": {
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    "fashion-mnist": {
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    "cifar10": {
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
}


def _idx_set(name: str) -> Callable[[Path, str], ImageData | None]:
    def load(folder: Path, split: str) -> ImageData | None:
        prefix = "train" if split == "train" else "t10k"
        arrays = []
        for stem in (f"{prefix}-images-idx3-ubyte", f"{prefix}-labels-idx1-ubyte"):
            path = find_file(folder, stem, name, name.replace("-", "_"))
            if path is None:
                return None
            arrays.append(read_idx(path, SHA256[name][stem]))
        images, labels = arrays
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise DataError(
                f"{name}, {split}: expected images (N, H, W) and labels (N,), found {images.shape} and {labels.shape}"
            )
        return ImageData(torch.from_numpy(images)[:, None], torch.from_numpy(labels).long(), 256, f"{name}, {split}")

    return load


def _cifar10(folder: Path, split: str) -> ImageData | None:
    names = [f"data_batch_{i}.bin" for i in range(1, 6)] if split == "train" else ["test_batch.bin"]
    parts = []
    for file_name in names:
        path = find_file(folder, file_name, "cifar10", "cifar-10-batches-bin")
        if path is None:
            return None
        content = _read(path)
        if len(content) != 10_000 * 3073:
            raise DataError(f"{path} has {len(content)} bytes: expected 30730000 (10,000 records of 3,073)")
        verify_sha256(content, SHA256["cifar10"][file_name], path)
        parts.append(np.frombuffer(content, np.uint8).reshape(-1, 3073))
    rows = torch.from_numpy(np.concatenate(parts))
    return ImageData(rows[:, 1:].reshape(-1, 3, 32, 32), rows[:, 0].long(), 256, f"cifar10, {split}")


def _from_openml(name: str, split: str) -> ImageData:
    from sklearn.datasets import fetch_openml

    openml_name, train_count, shape = {
        "mnist": ("mnist_784", 60_000, (1, 28, 28)),
        "fashion-mnist": ("Fashion-MNIST", 60_000, (1, 28, 28)),
        "cifar10": ("CIFAR_10", 50_000, (3, 32, 32)),
    }[name]
    try:
        bunch = fetch_openml(openml_name, version=1, as_frame=False, parser="liac-arff")
    except OSError as error:
        raise DataError(f"{name} could not be fetched from OpenML ({error}): name a folder instead") from error
    images = torch.from_numpy(bunch.data.astype(np.uint8)).reshape(-1, *shape)
    labels = torch.from_numpy(bunch.target.astype(np.int64))
    part = slice(0, train_count) if split == "train" else slice(train_count, None)
    return ImageData(images[part], labels[part], 256, f"{name}, {split}")


_LOADERS: dict[str, Callable[[Path, str], ImageData | None]] = {
    "mnist": _idx_set("mnist"),
    "fashion-mnist": _idx_set("fashion-mnist"),
    "cifar10": _cifar10,
}
_FILES = {
    "mnist": "train-images-idx3-ubyte.gz and its three companions",
    "fashion-mnist": "train-images-idx3-ubyte.gz and its three companions",
    "cifar10": "data_batch_1.bin to data_batch_5.bin, test_batch.bin",
}
