"""The command line ``course-flows``. Every command imports what it needs when it runs, so that help is quick."""

from __future__ import annotations

import sys
from pathlib import Path

import click

__all__ = ["main"]

A_PATH = click.Path(path_type=Path)


@click.group()
@click.version_option(package_name="course-flows")
def main() -> None:
    """Course Flows: normalizing flows, exercises and their grading."""


@main.command()
@click.argument("notebook", type=A_PATH)
@click.option("--report", type=A_PATH, required=True, help="Folder for report.json and report.md.")
@click.option("--course", type=A_PATH, help="Folder with solutions/ and tests/hidden/.")
@click.option("--exercise", help="Name of the exercise, where the notebook does not say it.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the hidden checks.")
@click.option("--unsafe", is_flag=True, help="Grade without isolation where there is none: your own code only.")
def grade(notebook: Path, report: Path, course: Path | None, exercise: str | None, seed: int, unsafe: bool) -> None:
    """Grade NOTEBOOK in a sandbox and write a report."""
    from course_flows.grading import commands

    sys.exit(commands.grade(notebook, report, course, exercise, seed, unsafe))


@main.command()
@click.argument("notebook", type=A_PATH)
def check(notebook: Path) -> None:
    """Run the visible checks of your own NOTEBOOK."""
    from course_flows.grading import commands

    sys.exit(commands.check(notebook))


@main.command()
@click.option("--check", "check_only", is_flag=True, help="Write nothing; say which files are stale.")
@click.option("--course", type=A_PATH, help="Folder with solutions/ and tests/hidden/.")
def exercises(check_only: bool, course: Path | None) -> None:
    """Write the student notebooks in exercises/ from solutions/."""
    from course_flows.grading import commands

    sys.exit(commands.exercises(course, check_only))


@main.command()
@click.argument("target", type=A_PATH)
@click.option("--course", type=A_PATH, help="Folder with solutions/ and tests/hidden/.")
def release(target: Path, course: Path | None) -> None:
    """Write the bundle for students into the folder TARGET."""
    from course_flows.grading import commands

    sys.exit(commands.release(target, course))


@main.command()
def isolation() -> None:
    """Say how well student code can be isolated on this machine."""
    from course_flows.grading import commands

    sys.exit(commands.isolation())


if __name__ == "__main__":
    main()
