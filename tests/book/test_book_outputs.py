"""What the built pages print is what is stored; and the comparison finds what nbval finds."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import outputs
import pytest
from booksite import ROOT
from nbformat.v4 import new_code_cell, new_notebook, new_output

CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
RERUN = "make notebooks CHAPTERS={path} && git diff {path}"


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_page_prints_what_is_stored(path: Path, html: Path):
    executed = html.parent / "jupyter_execute" / "book" / path.name
    found = outputs.differences(nbformat.read(path, 4), nbformat.read(executed, 4))
    short = path.relative_to(ROOT)
    assert not found, outputs.report(short, found, RERUN.format(path=short))


def prints(text: str):
    return new_output("stream", name="stdout", text=text)


def shows(**data: str):
    return new_output("display_data", {key.replace("_", "/"): value for key, value in data.items()})


CASES = {  # code, the outputs that are stored, tags, whether that is a difference
    "the same": ("print(1)", [prints("1\n")], [], False),
    "another number": ("print(2)", [prints("1\n")], [], True),
    "a missing line": ("print(1)", [prints("1\n2\n")], [], True),
    "nothing stored": ("print(1)", [], [], True),
    "nothing printed": ("x = 1", [prints("1\n")], [], True),
    "ignored": ("print(2)", [prints("1\n")], ["nbval-ignore-output"], False),
    "raises": ("1 / 0", [], [], True),
    "raises where outputs are ignored": ("1 / 0", [], ["nbval-ignore-output"], True),
    "in two pieces": ("print(1)\nprint(2)", [prints("1\n"), prints("2\n")], [], False),
    "on the other stream": ("import sys\nprint(1, file=sys.stderr)", [prints("1\n")], [], True),
    "a measured error": (
        "print('[eq-a] largest error 2.0e-16, tolerance 1.0e-12: holds')",
        [prints("[eq-a] largest error 3.0e-16, tolerance 1.0e-12: holds\n")],
        [],
        False,
    ),
    "another tolerance": (
        "print('[eq-a] largest error 2.0e-16, tolerance 1.0e-12: holds')",
        [prints("[eq-a] largest error 2.0e-16, tolerance 1.0e-10: holds\n")],
        [],
        True,
    ),
    "another value": ("1 + 1", [new_output("execute_result", {"text/plain": "3"}, execution_count=1)], [], True),
    "a picture": (
        "from IPython.display import Image, display\ndisplay(Image(b'', format='png'))",
        [shows(text_plain="<IPython.core.display.Image object>", image_png="bbbb")],
        [],
        False,
    ),
    "other words for a picture": (
        "from IPython.display import Image, display\ndisplay(Image(b'', format='png'))",
        [shows(text_plain="<Figure size 640x480 with 1 Axes>", image_png="bbbb")],
        [],
        True,
    ),
}


@pytest.fixture(scope="module")
def notebook(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a notebook with a cell for each case, as if it had been executed elsewhere."""
    cells = [
        new_code_cell(code, id=name.replace(" ", "-"), execution_count=n, outputs=stored, metadata={"tags": tags})
        for n, (name, (code, stored, tags, _)) in enumerate(CASES.items(), 1)
    ]
    path = tmp_path_factory.mktemp("outputs") / "cases.ipynb"
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    path.write_text(nbformat.writes(new_notebook(cells=cells, metadata={"kernelspec": kernel})), encoding="utf-8")
    return path


def test_differences_are_found(notebook: Path):
    found = {one.cell for one in outputs.differences(nbformat.read(notebook, 4), outputs.execute(notebook))}
    assert found == {name.replace(" ", "-") for name, case in CASES.items() if case[3]}


def test_nbval_finds_the_same(notebook: Path):
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--nbval", "--nbval-current-env"]
    command += ["--nbval-sanitize-with", str(outputs.SANITIZE), "-p", "no:cacheprovider", "-rf", notebook.name]
    done = subprocess.run(command, cwd=notebook.parent, capture_output=True, text=True, check=False, timeout=120)
    failed = [f"Cell {n} " in done.stdout.partition("short test summary")[2] for n in range(len(CASES))]
    assert failed == [case[3] for case in CASES.values()], done.stdout


def test_the_report_shows_the_cell_both_outputs_and_a_command(notebook: Path):
    stored, executed = nbformat.read(notebook, 4), nbformat.read(notebook, 4)
    executed.cells[0].outputs = [prints("1.25\n")]
    text = outputs.report(Path("book/a.ipynb"), outputs.differences(stored, executed), "make this")
    for words in ("book/a.ipynb: ", "'the-same'", "    print(1)", "    -1\n", "    +1.25", "  make this"):
        assert words in text


def test_a_cell_that_was_not_run_is_a_difference(notebook: Path):
    stored, executed = nbformat.read(notebook, 4), nbformat.read(notebook, 4)
    executed.cells = executed.cells[1:]
    executed.cells[2].source += "\nprint(1)"
    assert [one.cell for one in outputs.differences(stored, executed)][:2] == ["the-same", "nothing-stored"]
