"""The names of the package are imported when they are used, so that the command line is quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

import course_flows


def fresh(code: str) -> None:
    """Run code in a new interpreter."""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", [*course_flows.__all__, "data", "distributions", "flow", "training", "transforms"])
def test_every_name_is_there_and_listed(name):
    thing = getattr(course_flows, name)
    assert thing.__name__.rpartition(".")[2] == name
    assert name in dir(course_flows)


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Flows'"):
        course_flows.Flows  # noqa: B018  (looking it up is the test)


def test_the_command_line_and_its_help_need_no_torch():
    fresh("import sys, course_flows.cli; assert not {'torch', 'numpy'} & set(sys.modules)")
    for words in (["--help"], ["grade", "--help"], ["isolation", "--help"]):
        fresh(
            "import sys; from course_flows import cli\n"
            f"try: cli.main({words})\n"
            "except SystemExit as end: assert end.code == 0\n"
            "assert not {'torch', 'numpy'} & set(sys.modules)"
        )


def test_names_are_imported_in_one_go():
    fresh("import course_flows; course_flows.transforms.LULinear(2); course_flows.fit; course_flows.flow.Flow")
    fresh("from course_flows import *; Flow, fit, bits_per_dim")
