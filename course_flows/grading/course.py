"""Where a course keeps its exercises, solutions, hidden suites and answers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import course_flows
from course_flows.grading import notebooks

__all__ = ["Course", "CourseError", "find_course"]


class CourseError(Exception):
    """The course itself is not as it should be; the text says in a sentence what was expected and found."""


@dataclass(frozen=True)
class Course:
    """A folder with solutions/, exercises/, tests/hidden/ and tests/answers/."""

    root: Path

    @property
    def solutions(self) -> Path:
        """The folder of the instructor's notebooks."""
        return self.root / "solutions"

    @property
    def exercises(self) -> Path:
        """The folder of the students' notebooks, generated."""
        return self.root / "exercises"

    @property
    def hidden(self) -> Path:
        """The folder of the hidden suites."""
        return self.root / "tests" / "hidden"

    @property
    def answers(self) -> Path:
        """The folder of right and wrong answers, by exercise and task."""
        return self.root / "tests" / "answers"

    @property
    def book(self) -> Path:
        """The folder of the book's sources, which need not be there."""
        return self.root / "book"

    def exercise_names(self) -> list[str]:
        """Return the names of all exercises, in order."""
        return sorted(path.stem for path in self.solutions.glob("*.ipynb"))

    def solution(self, exercise: str) -> dict[str, Any]:
        """Return the instructor's notebook of an exercise."""
        if exercise not in self.exercise_names():
            known = ", ".join(self.exercise_names())
            raise CourseError(f"There is no exercise called {exercise!r}; there are: {known}.")
        try:
            return notebooks.load((self.solutions / f"{exercise}.ipynb").read_bytes())
        except notebooks.NotebookError as error:
            raise CourseError(f"solutions/{exercise}.ipynb: {error}") from None

    def release(self, exercise: str) -> dict[str, Any]:
        """Return the student's notebook of an exercise, made from the instructor's."""
        return notebooks.student_version(self.solution(exercise), exercise)

    def suite(self, exercise: str) -> Path:
        """Return the file of an exercise's hidden suite."""
        path = self.hidden / f"test_{exercise}.py"
        if not path.is_file():
            raise CourseError(f"The hidden suite of {exercise} is missing: there is no tests/hidden/{path.name}.")
        return path


def find_course(root: Path | None = None) -> Course:
    """Return the course in ``root``, else the one this package belongs to, else the one around the working folder."""
    if root is not None:
        candidates = [root]
    else:
        here = Path.cwd()
        candidates = [Path(course_flows.__file__).parent.parent, here, *here.parents]
    for candidate in candidates:
        if (candidate / "solutions").is_dir() and (candidate / "tests" / "hidden").is_dir():
            return Course(candidate.resolve())
    where = f"in {root}" if root is not None else "around this package or the working folder"
    raise CourseError(
        f"No course was found {where}: grading needs a folder with solutions/ and tests/hidden/. "
        "Name it with --course. (In a student's bundle, use course-flows check.)"
    )
