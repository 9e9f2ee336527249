"""Making what students get: exercise notebooks from solution notebooks, and the bundle."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import course_flows
from course_flows.grading import notebooks
from course_flows.grading.course import Course, CourseError

__all__ = ["exercise_text", "stale_exercises", "write_bundle", "write_exercises"]

STUDENT_PACKAGES = {
    "torch",
    "numpy",
    "matplotlib",
    "scikit-learn",
    "scipy",
    "safetensors",
    "tqdm",
    "click",
    "jupyterlab",
    "ipykernel",
    "nbformat",
    "jsonschema",
    "msgspec",
    "pytest",
    "nbval",
}
README = """# Exercises

{list}

1. With Python 3.11 or newer: `python -m venv .venv`, then `.venv/bin/pip install -r requirements.txt` and
   `.venv/bin/pip install --no-deps -e .` (on Windows the programs are in `.venv\\Scripts`).
2. `.venv/bin/jupyter lab exercises/` opens the notebooks. Write your code where a cell says `# YOUR CODE HERE`.
   Change those cells only: the others are put back when your notebook is graded. Do not delete or copy cells.
3. `.venv/bin/course-flows check exercises/NAME.ipynb` runs the checks that the notebook shows and says, task by task,
   what it found. More checks, which you do not see, decide about the points: they try other inputs and properties.
4. Hand in the `.ipynb` file.

Your code may import torch, numpy and the standard library. It is graded without network, with one thread, 2 GB of
memory and 10 seconds of computing for each call. It can start no other programs, and it cannot delete or rename the
files that it wrote.
"""


def exercise_text(course: Course, exercise: str) -> str:
    """Return the text of the student's notebook of an exercise."""
    try:
        return notebooks.dump(course.release(exercise))
    except notebooks.NotebookError as error:
        raise CourseError(f"solutions/{exercise}.ipynb: {error}") from None


def write_exercises(course: Course) -> list[Path]:
    """Write exercises/ from solutions/ and remove what has no solution notebook; return the files that changed."""
    course.exercises.mkdir(exist_ok=True)
    stale = stale_exercises(course)
    for path in stale:
        if path.stem in course.exercise_names():
            path.write_text(exercise_text(course, path.stem), encoding="utf-8")
        else:
            path.unlink()
    return stale


def stale_exercises(course: Course) -> list[Path]:
    """Return the files in exercises/ that are not, byte for byte, what solutions/ gives, or are missing."""
    names = course.exercise_names()
    wanted = {course.exercises / f"{name}.ipynb": exercise_text(course, name) for name in names}
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_bytes() != text.encode()]
    return stale + sorted(path for path in course.exercises.glob("*.ipynb") if path not in wanted)


def write_bundle(course: Course, target: Path) -> list[Path]:
    """Write the students' bundle into a new or empty folder; return its files, relative.

    It holds the exercise notebooks, this package, requirements and a README, and nothing of solutions, hidden suites
    or answers.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise CourseError(
            f"The bundle needs a new or empty folder, but {target} is there and not empty: remove it first."
        )
    (target / "exercises").mkdir(parents=True)
    for name in course.exercise_names():
        (target / "exercises" / f"{name}.ipynb").write_text(exercise_text(course, name), encoding="utf-8")
    package = Path(course_flows.__file__).parent
    ignore = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    shutil.copytree(package, target / "course_flows", ignore=ignore)
    root = package.parent
    for name in ("pyproject.toml", "LICENSE"):
        if (root / name).is_file():
            shutil.copyfile(root / name, target / name)
    names = "\n".join(f"* `exercises/{name}.ipynb`" for name in course.exercise_names())
    (target / "README.md").write_text(README.format(list=names), encoding="utf-8")
    (target / "requirements.txt").write_text(_student_requirements(root), encoding="utf-8")
    return sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())


def _student_requirements(root: Path) -> str:
    """Return the pins that students need, out of the project's requirements where they are at hand."""
    path = root / "requirements.txt"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    pins = {re.split(r"[=<>~\[ ]", line)[0]: line for line in lines if line and not line.startswith("#")}
    return "".join(pins.get(name, name) + "\n" for name in sorted(STUDENT_PACKAGES))
