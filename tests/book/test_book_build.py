"""The build itself, on a small book with this book's settings and extension: what fails it, and what is run again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

FIGURE = "import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])\nplt.show()"
CHECK = "print('[eq-sum] largest error 0.0e+00, tolerance 1.0e-12: holds')"


class SmallBook:
    """A book of three pages in a temporary folder with its own `course_flows`."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.folder = folder
        for name in ("_config.yml", "requirements.lock"):
            shutil.copy(root / name, folder)
        for name in ("_ext", "_static"):
            shutil.copytree(root / "book" / name, folder / "book" / name, ignore=shutil.ignore_patterns("__pycache__"))
        self.write("_toc.yml", "format: jb-book\nroot: book/start\nchapters:\n- file: book/user\n- file: book/other\n")
        self.write("book/start.md", "# Start\n{cite:t}`someone`\n```{equation-checks}\n```\n\n```{bibliography}\n```\n")
        self.write("book/references.bib", "@book{someone, author={Some One}, title={A}, publisher={B}, year={2001}}")
        self.write("course_flows/__init__.py", "VALUE = 1\n")
        self.write("course_flows/unused.py", "VALUE = 1\n")
        use = "from course_flows import VALUE\nprint('value', VALUE)"
        self.notebook("user", "$$ 1 + 1 = 2 $$ (eq-sum)", f"{use}\n{CHECK}")
        self.notebook("other", "No package here.", "print('one')")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def notebook(self, name: str, text: str, code: str) -> None:
        cells = [
            nbformat.v4.new_markdown_cell(f"# The page {name}\n\n{text}", id="text"),
            nbformat.v4.new_code_cell(code, id="code"),
        ]
        kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
        notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
        self.write(f"book/{name}.ipynb", nbformat.writes(notebook))

    def build(self) -> tuple[int, str]:
        command = [Path(sys.executable).with_name("jupyter-book"), "build", ".", "-W", "-n", "--keep-going"]
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr

    def page(self, name: str) -> str:
        return (self.folder / f"_build/html/book/{name}.html").read_text(encoding="utf-8")


@pytest.fixture
def book(tmp_path, root):
    return SmallBook(tmp_path, root)


def executed(output: str) -> set[str]:
    """Return the notebooks that a build ran."""
    return {line.split(".ipynb:")[0].rsplit("/", 1)[-1] for line in output.splitlines() if "Executed notebook" in line}


def test_a_change_of_the_package_runs_the_pages_that_use_it(book):
    status, output = book.build()
    assert status == 0, output
    assert executed(output) == {"user", "other"}
    assert "value 1" in book.page("user")
    assert "eq-sum" in book.page("start")
    assert "1.0e-12" in book.page("start")

    book.write("course_flows/unused.py", "VALUE = 2\n")
    status, output = book.build()
    assert (status, executed(output)) == (0, set()), output

    book.write("course_flows/__init__.py", "VALUE = 2\n")
    status, output = book.build()
    assert (status, executed(output)) == (0, {"user"}), output
    assert "value 2" in book.page("user")


def test_a_cell_that_raises_fails_every_build(book):
    book.notebook("other", "A cell raises.", "raise ValueError('on purpose')")
    for _ in range(2):
        status, output = book.build()
        assert status != 0
        assert "on purpose" in output
    assert not (book.folder / "_build/book.key").exists()


def test_faults_of_a_page_fail_every_build(book):
    faults = {
        "eq-unchecked": "the identity 'eq-unchecked' is stated here without an executed check",
        "eq-unknown": "a cell checks 'eq-unknown', but no equation has this label",
        "image": "an image without alt text",
        "reference": "undefined label: 'nowhere'",
        "stderr": "stderr was found in the cell outputs",
    }
    text = "$$ 2 + 2 = 4 $$ (eq-unchecked)\n\n{ref}`nowhere`"
    code = f"{CHECK.replace('eq-sum', 'eq-unknown')}\n{FIGURE}\nimport sys\nprint('careful', file=sys.stderr)"
    book.notebook("other", text, code)
    for _ in range(2):
        status, output = book.build()
        assert status != 0
        assert {name for name, message in faults.items() if message not in output} == set(), output
