"""What `make env` has pip install and what `make lock` writes, with stand-ins for Python, pip and uv."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from stand_ins import program, run

INDEX = "https://download.pytorch.org/whl/cpu"
ALWAYS = "--disable-pip-version-check --no-input --require-hashes --no-deps --only-binary :all: "
EDITABLE = "install --disable-pip-version-check --no-input --quiet --no-deps --no-build-isolation -e ."
OFFERED = ["install --quiet -r requirements-cpu.lock", "install -r requirements.lock", EDITABLE]
FROM_INDEX = [OFFERED[0], f"install --index-url {INDEX} -r requirements-cpu.lock", *OFFERED[1:]]
WITH_CUDA = ["install -r requirements.lock -r requirements-cuda.lock", EDITABLE]
MAKE_VENV = """case "$1 $2" in "-m venv")
    for folder; do :; done
    mkdir -p "$folder/bin"
    for name in python pip uv; do cp "{path}/stand-in-$name" "$folder/bin/$name"; done;;
esac"""
NOTE = 'echo "$*" >>"{folder}/told"\n'
RESOLVE = """case "$*" in *whl/cpu*) exit 1;; esac
for word; do
    if [ "$before" = --output-file ]; then out="$word"; fi
    before="$word"
done
cp "{folder}/resolved" "$out"
"""
NUMPY = "numpy==2 \\\n    --hash=a\n    # via torch\n"
NVIDIA = "nvidia-x==1 ; sys_platform == 'linux' \\\n    --hash=b\n    # via torch\n"
TORCH = "torch==9 \\\n    --hash=c\n"


@pytest.fixture
def project(root: Path, tmp_path: Path, bare_path: Path) -> Path:
    """A folder with the scripts and the locks, on Linux without a GPU."""
    folder = tmp_path / "project"
    shutil.copytree(root / ".ci", folder / ".ci")
    for path in (*root.glob("requirements*"), root / "pyproject.toml"):
        shutil.copy(path, folder)
    program(bare_path, "python3", MAKE_VENV.format(path=bare_path))
    program(bare_path, "stand-in-python", "exit 0")
    program(bare_path, "stand-in-pip", NOTE.format(folder=folder))
    program(bare_path, "stand-in-uv", NOTE.format(folder=folder) + RESOLVE.format(folder=folder))
    program(bare_path, "nvidia-smi", "exit 1")
    program(bare_path, "uname", "echo Linux")
    return folder


def told(project: Path) -> list[str]:
    """Return what pip was told to install or remove, without the options that every file of a lock has to have."""
    lines = (project / "told").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if ".lock" in line and ALWAYS not in line] == []
    return [line.replace(ALWAYS, "") for line in lines if not line.startswith(("list", "check"))]


def locks(project: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in project.glob("*.lock")}


def ask_for_another(project: Path, name: str) -> None:
    """Change the version of a package in requirements.txt, and there alone."""
    path = project / "requirements.txt"
    path.write_text(path.read_text(encoding="utf-8").replace(f"\n{name}==", f"\n{name}==1."), encoding="utf-8")


@pytest.mark.parametrize(
    ("system", "gpu", "build", "offered", "expected"),
    [
        ("Linux", False, "auto", True, OFFERED),
        ("Linux", False, "auto", False, FROM_INDEX),
        ("Linux", True, "auto", False, WITH_CUDA),
        ("Linux", True, "cpu", True, OFFERED),
        ("Linux", False, "cuda", False, WITH_CUDA),
        ("Darwin", False, "auto", False, OFFERED[1:]),
        ("Darwin", False, "cuda", False, OFFERED[1:]),
    ],
)
def test_the_build_of_torch_fits_the_machine(project, bare_path, system, gpu, build, offered, expected):
    program(bare_path, "uname", f"echo {system}")
    program(bare_path, "nvidia-smi", f"exit {int(not gpu)}")
    refuse = f'case "$*" in *"--quiet -r requirements-cpu.lock") exit {int(not offered)};; esac'
    program(bare_path, "stand-in-pip", NOTE.format(folder=project) + refuse)
    status, printed = run(project / ".ci" / "env", bare_path, TORCH=build)
    assert status == 0, printed
    assert told(project) == expected
    assert (project / ".venv" / ".ready").exists()


def test_the_cpu_build_makes_way_for_cuda(project, bare_path):
    installed = 'case "$1" in list) echo torch==2.13.0+cpu; echo tqdm==4.70.1;; esac'
    program(bare_path, "stand-in-pip", NOTE.format(folder=project) + installed)
    assert run(project / ".ci" / "env", bare_path, TORCH="cuda")[0] == 0
    assert told(project) == ["uninstall --quiet --yes torch", *WITH_CUDA]


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        ("*requirements-cpu.lock", f"the CPU build of torch did not come from {INDEX}"),
        ("*requirements.lock", "pip could not install requirements.lock"),
        ("check*", "packages in .venv do not fit together"),
    ],
)
def test_what_failed_is_said_in_one_sentence(project, bare_path, fails, words):
    program(bare_path, "stand-in-pip", f'case "$*" in {fails}) exit 1;; esac')
    status, printed = run(project / ".ci" / "env", bare_path)
    assert status == 1
    assert printed.count("Course Flows cannot be set up: ") == 1
    assert f"Course Flows cannot be set up: {words}" in printed.splitlines()[-1]
    assert not (project / ".venv" / ".ready").exists()


def test_a_version_that_is_not_locked_is_not_passed_over(project, bare_path):
    ask_for_another(project, "tqdm")
    status, printed = run(project / ".ci" / "env", bare_path)
    assert (status, len(printed.splitlines())) == (1, 1)
    assert re.search(r"requirements\.lock does not have tqdm==1\.\S+ of requirements\.txt; run make lock", printed)
    assert not (project / ".venv").exists()


def test_what_only_cuda_needs_is_locked_apart(project, bare_path):
    before = locks(project)
    (project / "resolved").write_text("# made\n" + NUMPY + NVIDIA + TORCH, encoding="utf-8")
    status, printed = run(project / ".ci" / "lock", bare_path, UPGRADE="numpy scipy")
    assert status == 0, printed
    rest = "# made\n" + NUMPY + TORCH
    expected = {
        "requirements.lock": rest,
        "requirements-grader.lock": rest,
        "requirements-cuda.lock": "# made\n" + NVIDIA,
    }
    assert locks(project) == before | expected
    assert "requirements-cpu.lock already has torch==" in printed
    assert "--upgrade-package numpy --upgrade-package scipy requirements.txt" in (project / "told").read_text()


def test_all_locks_are_written_or_none(project, bare_path):
    before = locks(project)
    (project / "resolved").write_text("# made\n" + NUMPY + NVIDIA + TORCH, encoding="utf-8")
    ask_for_another(project, "torch")
    status, printed = run(project / ".ci" / "lock", bare_path)
    assert status == 1
    assert (
        "Nothing was locked: PyTorch's index of CPU builds has to be reached for torch==1." in printed.splitlines()[-1]
    )
    assert locks(project) == before
