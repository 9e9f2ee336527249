"""The notebook tool and the keys of the cache; and that the committed chapters are fit to be compared."""

from __future__ import annotations

from pathlib import Path

import nbformat
import notebooks
import pytest
from fingerprint import book_key, code_of, imported_names, module_files, notebook_key
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

WORDS = {"mystnb": {"image": {"alt": "a line"}, "figure": {"caption": "See it rise.", "name": "fig-line"}}}


def figure_output():
    return new_output("display_data", {"text/plain": "<Figure size 640x480 with 1 Axes>", "image/png": "aGk="})


def good_notebook():
    two = new_output("execute_result", {"text/plain": "2"}, execution_count=1)
    cells = [
        new_markdown_cell("# Title", id="title"),
        new_code_cell("1 + 1", id="sum", execution_count=1, outputs=[two]),
        new_code_cell("plt.show()", id="fig-line", execution_count=2, metadata=WORDS, outputs=[figure_output()]),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return new_notebook(cells=cells, metadata={"kernelspec": kernel})


@pytest.fixture
def stored(tmp_path):
    """Store a notebook, clean unless told otherwise, and return its path."""

    def store(notebook, clean=True) -> Path:
        path = tmp_path / "a.ipynb"
        path.write_text(notebooks.text_of(notebooks.clean(notebook) if clean else notebook), encoding="utf-8")
        return path

    return store


def test_committed_chapters_are_clean_and_run(root):
    chapters = sorted((root / "book").glob("*.ipynb"))
    assert chapters
    found = {path.name: notebooks.problems(path) for path in chapters}
    assert {name: problems for name, problems in found.items() if problems} == {}


def test_clean_keeps_text_and_drops_pictures_and_noise(stored):
    notebook = good_notebook()
    notebook.metadata["widgets"] = {"a": 1}
    notebook.cells[1].metadata["execution"] = {"iopub.status.busy": "now"}
    notebook.cells[2].outputs.append(new_output("display_data", {"text/plain": "<HTML>", "text/html": "x" * 5000}))
    path = stored(notebook)
    result = nbformat.read(path, 4)
    assert result.cells[1].outputs[0].data == {"text/plain": "2"}
    assert [output.data for output in result.cells[2].outputs] == [
        {"text/plain": "<Figure size 640x480 with 1 Axes>"},
        {"text/plain": "<HTML>"},
    ]
    assert result.cells[1].metadata == {}
    assert result.cells[2].metadata == WORDS
    assert set(result.metadata) == {"kernelspec"}
    assert [cell.execution_count for cell in result.cells[1:]] == [1, 2]
    text = path.read_text(encoding="utf-8")
    assert notebooks.text_of(notebooks.clean(nbformat.read(path, 4))) == text
    assert '\n "cells": [\n' in text
    assert notebooks.problems(path) == []


def random_id(notebook):
    notebook.cells[1].id = "0a1b2c3d"


def counts_out_of_order(notebook):
    notebook.cells[1].execution_count = 7


def no_alt_text(notebook):
    notebook.cells[2].metadata["mystnb"]["image"]["alt"] = " "


def no_caption(notebook):
    del notebook.cells[2].metadata["mystnb"]["figure"]


def animation_without_caption(notebook):
    notebook.cells[1].outputs = [new_output("display_data", {"text/plain": "<IPython.core.display.HTML object>"})]


def no_outputs(notebook):
    for cell in notebook.cells[1:]:
        cell.outputs = []


def exempt_without_a_reason(notebook):
    notebook.cells[1].metadata["tags"] = ["nbval-ignore-output"]


def exempt_by_a_comment(notebook):
    notebook.cells[1].source = "# NBVAL_IGNORE_OUTPUT\n1 + 1"


def stored_error(notebook):
    notebook.cells[1].outputs = [new_output("error", ename="ValueError", evalue="no", traceback=[])]


def stored_warning(notebook):
    notebook.cells[1].outputs = [new_output("stream", name="stderr", text="DeprecationWarning: old")]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (random_id, "missing or random"),
        (counts_out_of_order, "not run from top to bottom"),
        (no_alt_text, "no mystnb.image.alt"),
        (no_caption, "no mystnb.figure.caption"),
        (animation_without_caption, "no mystnb.figure.name"),
        (no_outputs, "has no outputs"),
        (exempt_without_a_reason, "its outputs are not compared: say why"),
        (exempt_by_a_comment, "its outputs are not compared: say why"),
        (stored_error, "stores the error ValueError"),
        (stored_warning, "stores a message on stderr"),
    ],
)
def test_check_names_what_is_wrong(stored, capsys, spoil, words):
    notebook = good_notebook()
    notebook.cells[2].metadata = nbformat.from_dict(WORDS)
    spoil(notebook)
    path = stored(notebook)
    assert notebooks.main(["--check", str(path)]) == 1
    printed = capsys.readouterr().out
    assert words in printed
    assert str(path) in printed


def test_check_sees_stored_pictures_and_files_that_are_no_notebooks(stored, tmp_path):
    assert "not clean" in notebooks.problems(stored(good_notebook(), clean=False))[0]
    other = tmp_path / "b.ipynb"
    for text in ("not json", "{}", '{"cells": 3}'):
        other.write_text(text, encoding="utf-8")
        assert "not a valid notebook" in notebooks.problems(other)[0]


def test_check_sees_ids_that_are_missing_or_used_twice(stored):
    path = stored(good_notebook())
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace('"id": "sum"', '"id": "title"'), encoding="utf-8")
    assert "'title' is used more than once" in notebooks.problems(path)[0]
    path.write_text(text.replace('   "id": "sum",\n', ""), encoding="utf-8")
    assert "missing or random" in notebooks.problems(path)[0]


def test_execute_runs_in_the_folder_of_the_notebook_and_repeats_itself(stored, tmp_path):
    notebook = good_notebook()
    notebook.cells = [new_code_cell("import os\nprint(os.getcwd())\n6 * 7", id="where")]
    path = stored(notebook)
    assert notebooks.main(["--execute", str(path)]) == 0
    first = path.read_text(encoding="utf-8")
    outputs = nbformat.read(path, 4).cells[0].outputs
    assert outputs[0].text.strip() == str(tmp_path)
    assert outputs[1].data == {"text/plain": "42"}
    assert notebooks.problems(path) == []
    notebooks.main(["--execute", str(path)])
    assert path.read_text(encoding="utf-8") == first


def test_execute_leaves_the_file_alone_when_a_cell_raises(stored, capsys):
    notebook = good_notebook()
    notebook.cells[1].source = "1 / 0"
    path = stored(notebook)
    before = path.read_text(encoding="utf-8")
    assert notebooks.main(["--execute", str(path)]) == 1
    assert "ZeroDivisionError" in capsys.readouterr().out
    assert path.read_text(encoding="utf-8") == before


def test_imports_are_followed_through_the_package(tmp_path):
    package = tmp_path / "course_flows"
    for name, text in {
        "__init__.py": "from .flow import Flow\n",
        "flow.py": "from .transforms.base import Transform\nclass Flow: ...\n",
        "transforms/__init__.py": "",
        "transforms/base.py": "import torch\nfrom .. import nets\n",
        "nets.py": "",
        "data/__init__.py": "def lazily():\n    from . import toy\n",
        "data/toy.py": "",
        "grading/__init__.py": "",
        "cli.py": "import course_flows.grading\n",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text, encoding="utf-8")

    def names(source: str) -> set[str]:
        return {path.relative_to(package).as_posix() for path in module_files(tmp_path, imported_names(source))}

    core = {"__init__.py", "flow.py", "transforms/__init__.py", "transforms/base.py", "nets.py"}
    assert names("import torch") == set()
    assert names("from course_flows import Flow") == core
    assert names("from course_flows.data import toy") == core | {"data/__init__.py", "data/toy.py"}
    assert names("import course_flows.cli") == core | {"cli.py", "grading/__init__.py"}


def test_keys_follow_what_a_page_depends_on(tmp_path, stored):
    path = stored(good_notebook())
    (tmp_path / "book" / "results").mkdir(parents=True)
    path = path.rename(tmp_path / "book" / "a.ipynb")
    assert code_of(path) == "1 + 1\nplt.show()"

    key, book = notebook_key(tmp_path, path), book_key(tmp_path)
    (tmp_path / "book" / "results" / "run.json").write_text("{}", encoding="utf-8")
    assert notebook_key(tmp_path, path) == key
    assert book_key(tmp_path) != book
    (tmp_path / "requirements.lock").write_text("torch==1\n", encoding="utf-8")
    assert notebook_key(tmp_path, path) != key
    path.write_text(path.read_text(encoding="utf-8").replace("1 + 1", "open('results/run.json')"), encoding="utf-8")
    key = notebook_key(tmp_path, path)
    (tmp_path / "book" / "results" / "run.json").write_text("[]", encoding="utf-8")
    assert notebook_key(tmp_path, path) != key
