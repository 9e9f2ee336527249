"""This environment in another folder: Python where every user may run it, with the package installed, not linked."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

UNUSED = shutil.ignore_patterns("test", "tests", "idlelib", "turtledemo", "ensurepip", "site-packages", "dist-packages")


@contextlib.contextmanager
def open_folder() -> Iterator[Path]:
    """Make a folder that every user may enter."""
    places = [place for place in (tempfile.gettempdir(), "/tmp", "/var/tmp") if open_to_all(Path(place))]
    assert places, "these tests need a temporary folder that every user may enter, like /tmp"
    folder = Path(tempfile.mkdtemp(prefix="elsewhere-", dir=places[0]))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def python_elsewhere(folder: Path, package: Path) -> Path:
    """Return a Python below ``folder`` that has the packages of this one and a copy of ``package`` in its own library.

    The library of Python is a place that workers may read, like site-packages. Nothing there needs what this user
    alone may enter.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    base, venv = folder / "base", folder / "venv"
    library = base / "lib" / version
    _copy(Path(sysconfig.get_path("stdlib")), library, UNUSED)
    copy_for_all(package, library / package.name)
    for shared in Path(sys.base_prefix, "lib").glob("libpython*"):
        shutil.copy(shared, base / "lib")
    for settings in library.glob("_sysconfigdata_*.py"):
        text = settings.read_text(encoding="utf-8").replace(sys.base_prefix, str(base))
        settings.unlink()
        settings.write_text(text, encoding="utf-8")
    program = base / "bin" / version
    program.parent.mkdir()
    program.write_bytes(_with_own_library(Path(sys._base_executable).read_bytes()))
    program.chmod(0o755)
    packages = Path(sysconfig.get_path("purelib"))
    (venv / "lib" / version).parent.mkdir(parents=True)
    if open_to_all(packages):
        (venv / "lib" / version).symlink_to(packages.parent)
    else:
        _copy(packages, venv / "lib" / version / "site-packages", shutil.ignore_patterns("__editable__*"))
    (venv / "pyvenv.cfg").write_text(f"home = {program.parent}\ninclude-system-site-packages = false\n")
    (venv / "bin").mkdir()
    (venv / "bin" / "python").symlink_to(program)
    return venv / "bin" / "python"


def copy_for_all(source: Path, target: Path) -> Path:
    """Copy a folder of sources so that every user can read it."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (target, *target.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return target


def open_to_all(path: Path) -> bool:
    """Tell whether every user may list a folder."""
    modes = [os.stat(folder).st_mode for folder in path.resolve().parents]
    return all(mode & stat.S_IXOTH for mode in modes) and os.stat(path).st_mode & 0o5 == 0o5


def _copy(source: Path, target: Path, ignore: object) -> None:
    shutil.copytree(source, target, ignore=ignore, copy_function=_link, ignore_dangling_symlinks=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _with_own_library(program: bytes) -> bytes:
    """Let a program that looks for libpython in its first home look in its own."""
    first, own = os.fsencode(sys.base_prefix) + b"/lib\0", b"$ORIGIN/../lib\0"
    return program.replace(first, own.ljust(len(first), b"\0")) if len(own) <= len(first) else program
