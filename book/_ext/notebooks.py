"""Keep the notebooks of this repository small, stable and run: text outputs stay, pictures and noise go.

python book/_ext/notebooks.py --execute book/01_change_of_variables.ipynb    run, then clean
python book/_ext/notebooks.py --clean book/*.ipynb                           clean only
python book/_ext/notebooks.py --check book/*.ipynb                           exit with 1 and name what is wrong
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections import Counter
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

LONGEST_HTML = 2000
CELL_METADATA = {"tags", "mystnb", "nbgrader", "course_flows", "raises-exception"}
NOTEBOOK_METADATA = {"kernelspec", "language_info", "mystnb", "course_flows"}
NOT_COMPARED = {"nbval-ignore-output", "nbval-skip"}
NOT_COMPARED_COMMENT = re.compile(r"^\s*#\s*(PYTEST_VALIDATE|NBVAL)_(IGNORE_OUTPUT|SKIP)", re.MULTILINE)
RANDOM_ID = re.compile(r"[0-9a-f]{8}|[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}")


def clean(notebook: NotebookNode) -> NotebookNode:
    """Drop in place what makes diffs unreadable, keep what nbval compares; return the notebook."""
    keep_only(notebook.metadata, NOTEBOOK_METADATA)
    if "language_info" in notebook.metadata:
        keep_only(notebook.metadata.language_info, {"name"})
    for cell in notebook.cells:
        keep_only(cell.metadata, CELL_METADATA)
        if cell.cell_type == "code":
            for output in cell.outputs:
                clean_output(output)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def keep_only(mapping: dict, names: set[str]) -> None:
    """Drop every key of `mapping` that is not in `names`."""
    for key in set(mapping) - names:
        del mapping[key]


def clean_output(output: NotebookNode) -> None:
    """Drop pictures, long HTML and metadata from one output."""
    for kind in list(output.get("data", {})):
        is_picture = kind.startswith(("image/", "application/"))
        if is_picture or (kind == "text/html" and len(output.data[kind]) > LONGEST_HTML):
            del output.data[kind]
    if "metadata" in output:
        output.metadata.clear()


def text_of(notebook: NotebookNode) -> str:
    """Return the text that the notebook is stored as: sorted keys, one space of indent, a newline at the end."""
    return nbformat.writes(notebook, version=nbformat.NO_CONVERT).rstrip("\n") + "\n"


def read(path: Path) -> NotebookNode:
    """Read a notebook; ids that it lacks are not made up."""
    return nbformat.reads(path.read_text(encoding="utf-8"), as_version=nbformat.NO_CONVERT)


def execute(path: Path) -> None:
    """Run a notebook in its own folder and store it clean; a cell that raises leaves the file as it was."""
    notebook = read(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        coalesce_streams=True,
        record_timing=False,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    path.write_text(text_of(clean(notebook)), encoding="utf-8")


def problems(path: Path) -> list[str]:
    """Return one sentence for each thing that is wrong with a notebook."""
    text = path.read_text(encoding="utf-8")
    try:
        found = id_problems([cell.get("id", "") for cell in json.loads(text)["cells"]])
        if found:
            return found  # nbformat would mend these with random ids
        notebook = read(path)
        nbformat.validate(notebook)
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        return [f"it is not a valid notebook: {type(error).__name__}: {str(error).splitlines()[0]}"]
    if text_of(clean(read(path))) != text:
        found.append("it is not clean: run `python book/_ext/notebooks.py --clean` on it")
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    expected = list(range(1, len(code) + 1))
    if [cell.execution_count for cell in code] != expected:
        found.append("its code cells were not run from top to bottom: execute it")
    if code and not any(cell.outputs for cell in code):
        found.append("it has no outputs: execute it")
    for cell in code:
        found.extend(f"cell {cell.get('id')!r}: {problem}" for problem in cell_problems(cell))
    return found


def id_problems(ids: list[str]) -> list[str]:
    """Return what is wrong with the ids of the cells: missing, random, used twice."""
    random = [name for name in ids if not name or RANDOM_ID.fullmatch(name)]
    double = [name for name, count in Counter(ids).items() if name and count > 1]
    return [
        *(f"cell id {name!r} is missing or random: give the cell a name that stays" for name in random),
        *(f"cell id {name!r} is used more than once" for name in double),
    ]


def cell_problems(cell: NotebookNode) -> list[str]:
    """Return what is wrong with a code cell: stored errors, warnings, exemptions, figures without words."""
    found = []
    exempt = NOT_COMPARED & set(cell.metadata.get("tags", [])) or NOT_COMPARED_COMMENT.search(cell.source)
    if exempt and not str(cell.metadata.get("course_flows", {}).get("not_compared", "")).strip():
        found.append("its outputs are not compared: say why in its metadata, course_flows.not_compared")
    for output in cell.outputs:
        if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
            found.append(f"it stores the error {output.get('ename')}")
        if output.output_type == "stream" and output.name == "stderr":
            found.append(f"it stores a message on stderr: {output.text.strip().splitlines()[-1][:80]}")
    if draws_figure(cell):
        found.extend(missing_words(cell, [("image", "alt"), ("figure", "caption"), ("figure", "name")]))
    elif shows_animation(cell):
        found.extend(missing_words(cell, [("figure", "caption"), ("figure", "name")]))
    return found


def missing_words(cell: NotebookNode, needed: list[tuple[str, str]]) -> list[str]:
    """Return which of the needed texts of a picture the metadata of its cell lacks."""
    words = cell.metadata.get("mystnb", {})
    return [
        f"it shows a picture but its metadata has no mystnb.{group}.{name}"
        for group, name in needed
        if not str(words.get(group, {}).get(name, "")).strip()
    ]


def draws_figure(cell: NotebookNode) -> bool:
    """Say whether an executed cell shows a matplotlib figure."""
    texts = [output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return any(text.startswith("<Figure size") for text in texts)


def shows_animation(cell: NotebookNode) -> bool:
    """Say whether an executed cell shows HTML too long to keep: an animation, which brings its own alt text."""
    found = [output.get("data", {}) for output in cell.outputs]
    return any("display.HTML object" in data.get("text/plain", "") and "text/html" not in data for data in found)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    action = parser.add_mutually_exclusive_group(required=True)
    action.add_argument("--execute", action="store_true", help="run each notebook, then clean it")
    action.add_argument("--clean", action="store_true", help="clean each notebook")
    action.add_argument("--check", action="store_true", help="exit with 1 if a notebook is not fit to be committed")
    parser.add_argument("paths", nargs="+", type=Path, metavar="NOTEBOOK")
    options = parser.parse_args(arguments)
    status = 0
    for path in options.paths:
        if not path.is_file():
            parser.error(f"there is no file {path}")
        if options.check:
            found = problems(path)
            for problem in found:
                print(f"{path}: {problem}")
            status = status or int(bool(found))
        elif options.clean:
            path.write_text(text_of(clean(read(path))), encoding="utf-8")
        else:
            started = time.monotonic()
            print(f"{path}: ", end="", flush=True)
            try:
                execute(path)
            except CellExecutionError as error:
                print(f"a cell raises; the file is unchanged\n{error}")
                status = 1
            else:
                print(f"{time.monotonic() - started:.1f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
