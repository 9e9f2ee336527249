"""The package installed like any other: its source lies where workers may read, and the lock holds all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from classroom import hand_in
from elsewhere import open_folder, python_elsewhere
from test_notebooks import REAL, secrets_of

from course_flows.grading.bubblewrap import bubblewrap_command
from course_flows.grading.course import Course
from course_flows.grading.limits import Limits
from course_flows.grading.notebooks import source_of
from course_flows.grading.pool import WorkerPool

PARTS = ("course_flows", "solutions", "exercises", "tests", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that pip builds from the whole repository, answers included."""
    source = tmp_path_factory.mktemp("source")
    for part in PARTS:
        path = REAL.root / part
        copy = shutil.copytree if path.is_dir() else shutil.copyfile
        copy(path, source / part)
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--wheel-dir", str(source / "wheel"), str(source)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    (built,) = (source / "wheel").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Python in which the wheel is installed."""
    unpacked = tmp_path_factory.mktemp("unpacked")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    with open_folder() as folder:
        yield python_elsewhere(folder, unpacked / "course_flows")


def program(python: Path, *arguments: object, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run course-flows with that Python, from a folder that no other user may enter, for temporary files too."""
    command = [str(python), "-I", "-B", "-m", "course_flows.cli", *map(str, arguments)]
    environment = dict(os.environ) | {"TMPDIR": str(folder)}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def test_the_wheel_holds_the_package_and_nothing_of_the_course(wheel: Path) -> None:
    modules = {str(path.relative_to(REAL.root)) for path in (REAL.root / "course_flows").rglob("*.py")}
    with zipfile.ZipFile(wheel) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}
        everything = "\n".join(archive.read(name).decode("utf-8") for name in archive.namelist())
    assert modules <= found
    assert {name.partition("/")[0] for name in found} == {"course_flows"}
    assert [secret for secret in secrets_of(REAL) if secret in everything] == []


def test_an_installed_package_finds_isolation(installed: Path, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    done = program(installed, "isolation", folder=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "landlock: works" in done.stdout
    assert "does not hold" not in done.stdout


def test_an_installed_package_grades(installed: Path, mini: Course, tmp_path: Path) -> None:
    notebook = hand_in(mini, tmp_path / "handed_in.ipynb")
    done = program(installed, "grade", notebook, "--course", mini.root, "--report", tmp_path / "r", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "r" / "report.json").read_text())
    assert report["points"] == report["max_points"] == 5
    assert report["isolation"] != "none"
    assert [task["visible"] for task in report["tasks"]] == ["passed", "passed"]


def test_a_course_beside_the_installed_package_is_refused(installed: Path, mini: Course, tmp_path: Path) -> None:
    (library,) = (installed.parents[2] / "base" / "lib").glob("python*/")
    course = shutil.copytree(mini.root, library / "course")
    try:
        notebook = hand_in(mini, tmp_path / "handed_in.ipynb")
        done = program(installed, "grade", notebook, "--course", course, "--report", tmp_path / "r", folder=tmp_path)
    finally:
        shutil.rmtree(course)
    assert done.returncode == 3
    assert "which student code may read" in done.stderr
    assert not (tmp_path / "r").exists()


NO_LANDLOCK = """
import sys
from pathlib import Path
from course_flows.grading import confine, landlock
landlock.restrict = lambda *arguments, **options: 7
try:
    print("locked:", confine.lock_worker(Path(sys.argv[1]), confine.Limits()))
except confine.LockError as error:
    print(error)
"""


def test_a_lock_without_landlock_is_noticed(pool: WorkerPool, tmp_path: Path) -> None:
    scratch = "/scratch" if pool.tier == "namespaces" else str(tmp_path)
    command = [sys.executable, "-I", "-B", "-c", NO_LANDLOCK, scratch]
    if pool.tier == "namespaces":
        command = bubblewrap_command(command, Limits())
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("Landlock does not hold: /proc/self/status"), done.stdout + done.stderr


GRADER = """
import sys, tempfile
from pathlib import Path
from course_flows.grading.course import Course
from course_flows.grading.grade import grade_file
from course_flows.grading.isolation import open_pool
notebook, course, tempfile.tempdir = sys.argv[1:]
with open_pool(tiers=["landlock"]) as pool:
    report = grade_file(Path(notebook), Course(Path(course)), pool).report
print(report["points"], *(task["visible"] for task in report["tasks"]))
"""
NOBODY = 65534


@pytest.mark.parametrize("closed", [False, True])
def test_without_bubblewrap_root_becomes_nobody_where_it_can(
    closed: bool, installed: Path, mini: Course, tmp_path: Path
) -> None:
    """Where the folder is closed to nobody, root works without its privileges; an ordinary user stays what it is."""
    place = installed.parents[2] / f"closed-{closed}"
    place.mkdir(mode=0o700 if closed else 0o755)
    expected = os.getuid() if closed or os.getuid() != 0 else NOBODY
    answer = f"import os\nassert os.getuid() == {expected}, os.getuid()\n"
    (task, *_) = [cell for cell in mini.solution("00_mini")["cells"] if cell["id"] == "scale-density"]
    notebook = hand_in(mini, tmp_path / "handed_in.ipynb", {"scale-density": answer + source_of(task)})
    command = [str(installed), "-I", "-B", "-c", GRADER, str(notebook), str(mini.root), str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["5", "passed", "passed"], done.stdout + done.stderr
    assert list(place.iterdir()) == []
