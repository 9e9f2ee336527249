"""The command line ``course-flows``. Every command imports what it needs when it runs, so that help is quick."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from course_flows.cli_training import COMMANDS

__all__ = ["main"]

A_PATH = click.Path(path_type=Path)
ENGINE = click.option(
    "--engine", type=click.Choice(["docker", "podman"]), help="For --container: the first that is there."
)


@click.group()
@click.version_option(package_name="course-flows")
def main() -> None:
    """Course Flows: normalizing flows, exercises and their grading."""


@main.command()
@click.argument("notebook", type=A_PATH, metavar="NOTEBOOK_OR_FOLDER")
@click.option("--report", type=A_PATH, required=True, help="Folder for the results.")
@click.option("--course", type=A_PATH, help="Folder with solutions/ and tests/hidden/.")
@click.option("--exercise", help="Name of the exercise, where the notebook does not say it.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the hidden checks.")
@click.option("--no-visible", is_flag=True, help="Leave out the checks that the notebook shows; they grant no points.")
@click.option("--book-url", default="", envvar="COURSE_FLOWS_BOOK_URL", help="Where the built book is, for links.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Folder: how many to grade at once (default: one a core).")
@click.option("--deadline", default="", help="Folder: later submissions are flagged, like 2026-03-01T12:00+01:00.")
@click.option("--shard", default="1/1", show_default=True, help="Folder: grade part i of n; see course-flows merge.")
@click.option("--container", metavar="IMAGE", help="Grade inside this image (macOS, Windows, or for one more wall).")
@ENGINE
@click.option("--unsafe", is_flag=True, help="Grade without isolation where there is none: your own code only.")
def grade(
    notebook: Path,
    report: Path,
    course: Path | None,
    exercise: str | None,
    seed: int,
    no_visible: bool,
    book_url: str,
    jobs: int | None,
    deadline: str,
    shard: str,
    container: str | None,
    engine: str | None,
    unsafe: bool,
) -> None:
    """Grade a notebook, or every notebook in a folder, in a sandbox and write reports.

    A folder holds <student>.ipynb or <student>/<name>.ipynb and, where there are deadlines, submissions.csv with the
    columns student, file, submitted_at. Of the submissions of a student the latest on-time one counts; late ones are
    graded and flagged. A batch that was stopped goes on when it is started again.
    """
    from course_flows.grading import commands

    if container is not None:
        if unsafe:
            raise click.UsageError("--unsafe grades without isolation and --container isolates: give one of them.")
        named = {"seed": seed, "exercise": exercise, "book-url": book_url, "deadline": deadline, "shard": shard}
        passed = [f"--{name}={value}" for name, value in named.items() if value not in (None, "")]
        passed += ["--no-visible"] * no_visible
        sys.exit(commands.grade_in_container(notebook, report, course, container, engine, jobs, passed))
    if not notebook.is_dir():
        sys.exit(commands.grade(notebook, report, course, exercise, seed, unsafe, not no_visible, book_url))
    options = {"seed": seed, "exercise": exercise, "visible": not no_visible, "book_url": book_url, "unsafe": unsafe}
    sys.exit(commands.grade_folder(notebook, report, course, jobs, deadline=deadline, shard=shard, **options))


@main.command()
@click.argument("parts", nargs=-1, required=True, type=A_PATH)
@click.option("--report", type=A_PATH, required=True, help="Folder for the results of the whole class.")
def merge(parts: tuple[Path, ...], report: Path) -> None:
    """Put the report folders PARTS of all shards of a class together."""
    from course_flows.grading import class_commands

    sys.exit(class_commands.merge_folders(parts, report))


@main.command()
@click.argument("exercises", nargs=-1)
@click.option("--check", "check_only", is_flag=True, help="Write nothing; say which are stale.")
@click.option("--add", is_flag=True, help="Keep the manners of failing that other machines saw.")
@click.option("--course", type=A_PATH, help="Folder with solutions/ and tests/hidden/.")
def signatures(exercises: tuple[str, ...], check_only: bool, add: bool, course: Path | None) -> None:
    """Note for every wrong answer of the bank which hidden tests it fails, for the hints in reports.

    EXERCISES are names like 03_nice; without any it is done for all.
    """
    from course_flows.grading import class_commands

    sys.exit(class_commands.signatures(course, exercises, check_only, add))


@main.command()
@click.option("--shards", type=click.IntRange(1, 64), default=1, show_default=True, help="How many grading jobs.")
def workflow(shards: int) -> None:
    """Print a GitHub Actions workflow that grades a class without secrets."""
    from course_flows.grading.workflow import workflow_text

    click.echo(workflow_text(shards), nl=False)


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
@click.option("--container", metavar="IMAGE", help="Ask inside this image, as course-flows grade would use it.")
@ENGINE
def isolation(container: str | None, engine: str | None) -> None:
    """Say how well student code can be isolated on this machine."""
    from course_flows.grading import commands

    sys.exit(commands.isolation(container, engine))


for command in COMMANDS:
    main.add_command(command)

if __name__ == "__main__":
    main()
