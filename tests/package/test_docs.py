"""The examples in docstrings run, and every public name says what it does."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil

import pytest
import torch

import course_flows

MODULES = sorted(
    m.name
    for m in pkgutil.walk_packages(course_flows.__path__, "course_flows.")
    if not m.name.startswith("course_flows.grading")
)


@pytest.mark.parametrize("name", MODULES)
def test_examples_run(name):
    module = importlib.import_module(name)
    results = doctest.testmod(module, extraglobs={"torch": torch}, optionflags=doctest.ELLIPSIS)
    assert results.failed == 0


@pytest.mark.parametrize("name", MODULES)
def test_public_names_have_docstrings(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for public in getattr(module, "__all__", []):
        thing = getattr(module, public)
        if inspect.isclass(thing) or inspect.isfunction(thing):
            assert inspect.getdoc(thing), f"{name}.{public} has no docstring"


def test_importing_changes_nothing_global():
    """A fresh interpreter imports the package without touching torch's defaults or importing heavy extras."""
    import subprocess
    import sys

    code = (
        "import torch; before = (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed());"
        "import course_flows, course_flows.transforms, course_flows.data, sys;"
        "assert before == (torch.get_default_dtype(), torch.get_num_threads(), torch.initial_seed());"
        "assert 'matplotlib' not in sys.modules and 'sklearn' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
