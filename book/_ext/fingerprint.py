"""What a chapter's outputs depend on, as hashes: modules of the package, pinned versions, recorded runs."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

PACKAGE = "course_flows"
PINS = "requirements.lock"
CACHES = {"__pycache__", ".ipynb_checkpoints"}


def code_of(notebook: Path) -> str:
    """Return the code of a notebook: its code cells, IPython's `%` and `!` lines left out."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    lines = [
        line
        for cell in cells
        if cell["cell_type"] == "code"
        for line in "".join(cell["source"]).splitlines()
        if not line.lstrip().startswith(("%", "!"))
    ]
    return "\n".join(lines)


def imported_names(source: str, package: str = "") -> set[str]:
    """Return the dotted names that Python source imports; relative ones are resolved inside `package`.

    `from a import b` yields both `a` and `a.b`, since b may be a module. Source that does not parse imports nothing.
    """
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parents = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parents, base]).rstrip(".")
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


def module_files(root: Path, names: Iterable[str]) -> set[Path]:
    """Return the files of the package that importing `names` loads, directly and through other modules of it."""
    found: set[Path] = set()
    waiting = list(names)
    while waiting:
        parts = waiting.pop().split(".")
        if parts[0] != PACKAGE:
            continue
        for length in range(1, len(parts) + 1):
            path = root.joinpath(*parts[:length])
            for candidate in (path / "__init__.py", path.with_suffix(".py")):
                if not candidate.is_file() or candidate in found:
                    continue
                found.add(candidate)
                inside = ".".join(candidate.parent.relative_to(root).parts)
                waiting.extend(imported_names(candidate.read_text(encoding="utf-8"), inside))
    return found


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and not CACHES & set(path.parts)]


def _digest(root: Path, paths: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for path in sorted(set(paths)):
        if path.is_file():
            total.update(f"{path.relative_to(root).as_posix()}\0".encode())
            total.update(hashlib.sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]


def notebook_key(root: Path, notebook: Path) -> str:
    """Return the key of everything outside a notebook that its outputs depend on.

    These are the locked versions, the modules of the package that it imports, the package's data files
    and, if its code names `results`, the recorded runs in book/results.
    """
    code = code_of(notebook)
    modules = module_files(root, imported_names(code))
    paths = {root / PINS, *modules}
    if modules:
        paths.update(path for path in _files(root / PACKAGE) if path.suffix != ".py")
    if "results" in code:
        paths.update(_files(root / "book" / "results"))
    return _digest(root, paths)


def code_key() -> str:
    """Return the key of the code in this folder, which decides what pages look like."""
    folder = Path(__file__).parent
    return _digest(folder, folder.glob("*.py"))


def book_key(root: Path) -> str:
    """Return the key of all that the book is made from: the same key means that built pages are up to date."""
    sources = [root / "_config.yml", root / "_toc.yml", root / PINS, *_files(root / "book")]
    keys = [notebook_key(root, path) for path in sorted((root / "book").glob("*.ipynb"))]
    return hashlib.sha256(" ".join([_digest(root, sources), *keys]).encode()).hexdigest()[:16]
