"""The workflow for an instructor's repository: valid, and without rights where student code runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from classroom import run
from click.testing import CliRunner

from course_flows import cli
from course_flows.grading.workflow import workflow_text


def jobs(shards: int = 2) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(workflow_text(shards))["jobs"]
    return found


def commands_of(job: dict[str, Any]) -> str:
    return "\n".join(step.get("run", "") for step in job["steps"])


def test_it_is_a_workflow() -> None:
    content = yaml.safe_load(workflow_text(3))
    assert set(content) == {"name", True, "permissions", "jobs"}  # YAML 1.1 reads the key `on` as true
    assert content["permissions"] == {}
    for job in content["jobs"].values():
        assert job["runs-on"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)


def test_the_job_with_student_code_has_no_rights_and_no_secrets() -> None:
    text = workflow_text()
    assert not re.search(
        r"secrets\.|github\.token|GITHUB_TOKEN|pull_request_target|write", text.replace("to write", "")
    )
    for job in jobs().values():
        assert job["permissions"] == {"contents": "read"}
        (checkout,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/checkout")]
        assert checkout["with"]["persist-credentials"] is False
    assert "grade submissions" in commands_of(jobs()["grade"])
    assert "grade submissions" not in commands_of(jobs()["publish"])
    assert "--unsafe" not in text


def test_inputs_reach_the_shell_as_variables_only() -> None:
    for job in jobs().values():
        assert "${{" not in commands_of(job)


def test_every_shard_is_graded_and_merged() -> None:
    grade, publish = jobs(4)["grade"], jobs(4)["publish"]
    assert grade["strategy"]["matrix"]["shard"] == [1, 2, 3, 4]
    assert '--shard "$SHARD/4"' in commands_of(grade)
    assert publish["needs"] == "grade"
    assert "merge shards/*" in commands_of(publish)
    for count in (0, 65):
        with pytest.raises(ValueError, match="1 to 64"):
            workflow_text(count)


def test_its_commands_exist() -> None:
    result = CliRunner().invoke(cli.main, ["workflow", "--shards", "2"])
    assert result.output == workflow_text(2)
    text = "".join(commands_of(job) for job in jobs().values())
    for name in re.findall(r'course-flows" (\w+)', text):
        assert name in cli.main.commands
    known = {
        option
        for name in ("grade", "merge")
        for parameter in cli.main.commands[name].params
        for option in parameter.opts
    }
    used = re.findall(r'course-flows" (?:grade|merge)((?:.|\\\n)*?)(?:\n[^ ]|$)', text)
    options = set(re.findall(r"--[a-z-]+", " ".join(used)))
    assert options
    assert options <= known
    assert run("workflow").stdout == workflow_text(1)


def test_the_grader_is_installed_from_the_locks() -> None:
    root = Path(__file__).parents[2]
    for job in jobs().values():
        files = re.findall(r"--requirement (\S+)", commands_of(job))
        assert files == ["requirements-cpu.lock", "requirements-grader.lock"]
        assert all((root / name).is_file() for name in files)
        assert "--require-hashes" in commands_of(job)


def test_the_text_is_plain() -> None:
    assert json.loads(json.dumps(workflow_text())) == workflow_text()
    assert "@SHARDS@" not in workflow_text()
    assert "@COUNT@" not in workflow_text()
