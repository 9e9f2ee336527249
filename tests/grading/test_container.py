"""Grading in a container: what the engine is told, and that the grader inside is heard. No engine is needed for it."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
from classroom import command, hand_in, raising, run
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from course_flows import cli
from course_flows.grading import isolation
from course_flows.grading.container import ENGINES, Bind, binds_of, container_command, find_engine, tier_name
from course_flows.grading.course import Course
from course_flows.grading.isolation import Probe
from course_flows.grading.schema import REPORT_SCHEMA

ROOT = Path(__file__).parents[2]
ISOLATION = REPORT_SCHEMA["properties"]["isolation"]["enum"]
# A docker that writes down what it was told and runs what would run inside on this machine, with the given environment.
DOCKER = f"""#!{sys.executable}
import json, os, subprocess, sys
words = sys.argv[1:]
image = words.index("some-image")
options, inner = words[:image], words[image + 1:]
mounts = [word for name, word in zip(options, options[1:]) if name == "--mount"]
places = {{}}
for mount in mounts:
    fields = dict(field.partition("=")[::2] for field in mount.split(","))
    places[fields["target"]] = fields["source"]
if "/course/solutions" in places:
    places["/course"] = os.path.dirname(places["/course/solutions"])
environment = dict(word.split("=", 1) for name, word in zip(options, options[1:]) if name == "--env")
with open(os.path.join(os.path.dirname(sys.argv[0]), "told.json"), "w") as file:
    json.dump(words, file)
def here(word):
    name, equals, value = word.rpartition("=")
    return name + equals + places.get(value, value)
program = [{str(Path(sys.executable).with_name("course-flows"))!r}, *map(here, inner)]
sys.exit(subprocess.run(program, env=environment | {{"PATH": os.environ["PATH"]}}).returncode)
"""


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on PATH, before every other one."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("A_SECRET", "hunter2")
    return folder


def engine(folder: Path, text: str, name: str = "docker") -> None:
    (folder / name).write_text(text, encoding="utf-8")
    (folder / name).chmod(0o755)


def values(line: list[str], option: str) -> list[str]:
    return [value for name, value in pairwise(line) if name == option]


def test_one_notebook_is_graded_inside(engines: Path, mini: Course, tmp_path: Path) -> None:
    engine(engines, DOCKER)
    notebook, report = hand_in(mini, tmp_path / "one.ipynb", {"shift-module": "1 / 0"}), tmp_path / "report"
    done = run("grade", notebook, "--course", mini.root, "--report", report, "--seed", 7, "--container", "some-image")
    assert done.returncode == 0, done.stderr
    content = json.loads((report / "report.json").read_text())
    assert content["isolation"] in ("container (namespaces)", "container (landlock)")
    assert (content["points"], content["seed"], content["notebook"]) == (3, 7, "one.ipynb")
    assert "3 of 5 points" in done.stdout
    assert str(report) in done.stdout.splitlines()[-1]
    assert f"Isolation of the code: {content['isolation']}" in (report / "report.html").read_text()
    told = json.loads((engines / "told.json").read_text())
    assert "hunter2" not in " ".join(told)
    assert [value.partition("=")[0] for value in values(told, "--env")] == [
        "COURSE_FLOWS_CONTAINER",
        "HOME",
        "TMPDIR",
        "OMP_NUM_THREADS",
    ]


def test_a_class_is_graded_inside(engines: Path, mini: Course, tmp_path: Path) -> None:
    engine(engines, DOCKER)
    hand_in(mini, tmp_path / "class" / "ann.ipynb")
    hand_in(mini, tmp_path / "class" / "bob.ipynb", {"scale-density": raising("no")})
    (tmp_path / "class" / "cid.ipynb").symlink_to(tmp_path / "class" / "ann.ipynb")
    arguments = ["--course", mini.root, "--report", tmp_path / "report", "--no-visible", "--jobs", 2]
    done = run("grade", tmp_path / "class", *arguments, "--container", "some-image")
    assert done.returncode == 0, done.stderr
    with open(tmp_path / "report" / "class.csv", newline="") as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert [rows[name]["points"] for name in ("ann.ipynb", "bob.ipynb")] == ["5", "2"]
    assert rows["cid.ipynb"]["status"] == "unreadable"
    told = json.loads((engines / "told.json").read_text())
    assert values(told, "--cpus") == ["2"]
    assert "--jobs=2" in told


def test_what_is_no_notebook_starts_no_container(engines: Path, mini: Course, tmp_path: Path) -> None:
    engine(engines, DOCKER)
    hand_in(mini, tmp_path / "real.ipynb")
    (tmp_path / "link.ipynb").symlink_to(tmp_path / "real.ipynb")
    for name in ("link.ipynb", "absent.ipynb"):
        arguments = ["--course", mini.root, "--report", tmp_path / "report", "--container", "some-image"]
        done = run("grade", tmp_path / name, *arguments)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
    assert not (engines / "told.json").exists()
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(("inside", "outside"), [(1, 1), (2, 2), (3, 3), (130, 130), (125, 3), (126, 3), (127, 3)])
def test_exit_statuses(inside: int, outside: int, engines: Path, mini: Course, tmp_path: Path) -> None:
    engine(engines, f"#!/bin/sh\nexit {inside}\n", "podman")
    notebook, report = hand_in(mini, tmp_path / "one.ipynb"), tmp_path / "report"
    arguments = ["--course", mini.root, "--report", report, "--container", "some-image", "--engine", "podman"]
    done = run("grade", notebook, *arguments)
    assert done.returncode == outside
    assert ("podman build --tag some-image" in done.stderr) == (inside in (125, 126, 127))
    assert not report.exists()


def test_without_an_engine_nothing_is_run(engines: Path, mini: Course, tmp_path: Path) -> None:
    notebook = hand_in(mini, tmp_path / "one.ipynb")
    arguments = ["--course", str(mini.root), "--report", str(tmp_path / "report"), "--container", "some-image"]
    line = command("grade", notebook, *arguments)
    done = subprocess.run(line, capture_output=True, text=True, env={"PATH": str(engines)}, check=False)
    assert done.returncode == 3
    assert "no docker or podman was found" in done.stderr
    both = run("grade", notebook, *arguments, "--unsafe")
    assert both.returncode == 2
    assert "one of them" in both.stderr


def test_a_stop_is_passed_on(engines: Path, mini: Course, tmp_path: Path) -> None:
    engine(engines, "#!/bin/sh\ntrap 'kill $child; exit 130' TERM\nsleep 60 & child=$!\necho started\nwait\n")
    notebook = hand_in(mini, tmp_path / "one.ipynb")
    arguments = ["--course", mini.root, "--report", tmp_path / "report", "--container", "some-image"]
    with subprocess.Popen(command("grade", notebook, *arguments), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        start = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 130
    assert time.monotonic() - start < 30


@pytest.mark.parametrize("works", [True, False])
def test_isolation_names_the_container(works: bool, engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "probe", lambda: [Probe("landlock", works, "this and that")])
    monkeypatch.setenv("PATH", str(engines))
    ask = partial(CliRunner().invoke, cli.main)
    lines = ask(["isolation"]).output.splitlines()
    assert lines[1].startswith("container: cannot be had (no docker or podman on PATH)")
    engine(engines, "#!/bin/sh\n")
    lines = ask(["isolation"]).output.splitlines()
    assert lines[1].startswith(f"container: not tried ({engines / 'docker'} is there)")
    assert ("--container" in lines[2]) != works
    monkeypatch.setenv("COURSE_FLOWS_CONTAINER", "1")
    done = ask(["isolation"])
    assert done.exit_code == (0 if works else 3)
    assert (done.output.splitlines()[-1] == "course-flows grade uses: container (landlock)") == works
    assert "not tried" not in done.output


def test_isolation_can_be_asked_inside(engines: Path) -> None:
    engine(engines, '#!/bin/sh\necho "$@"\n')
    said = run("isolation", "--container", "some-image").stdout.split()
    assert said[-2:] == ["some-image", "isolation"]
    assert "--mount" not in said


ELSEWHERE = """
import os, signal, socket, subprocess, sys, tempfile
import click.testing, msgspec
if sys.argv[1] == "win32":
    sys.modules["resource"] = sys.modules["fcntl"] = None
    del os.getuid, os.sched_getaffinity, os.O_NOFOLLOW, os.O_NONBLOCK, socket.AF_UNIX, socket.send_fds
sys.platform = sys.argv[1]
from course_flows import cli
from course_flows.grading.container import container_command
asked = click.testing.CliRunner().invoke(cli.main, ["isolation"])
assert asked.exit_code == 3, asked.exception
assert "it exists on Linux only" in asked.output
line = container_command("docker", "some-image", ["grade"])
assert "--user" not in line and line[-2:] == ["some-image", "grade"]
"""


@pytest.mark.parametrize("platform", ["win32", "darwin"])
def test_the_way_into_a_container_needs_nothing_of_linux(platform: str) -> None:
    """As far as Linux can tell: the platform's name is another, and what Windows lacks is taken away."""
    done = subprocess.run([sys.executable, "-c", ELSEWHERE, platform], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_first_engine_on_path_is_used(engines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(engines))
    assert find_engine() is None
    engine(engines, "#!/bin/sh\n", "podman")
    assert find_engine() == str(engines / "podman")
    engine(engines, "#!/bin/sh\n", "docker")
    assert find_engine() == str(engines / "docker")
    assert find_engine("podman") == str(engines / "podman")


NAMES = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="/\x00"), min_size=1, max_size=20)


@given(name=NAMES, writable=st.booleans())
def test_a_bind_survives_every_name(name: str, writable: bool) -> None:
    """Read back as engines do, as one record of CSV, it is the same file, and read-only unless it may be written."""
    bind = Bind(Path("/here") / name, f"/submissions/{name}", writable)
    (fields,) = csv.reader(io.StringIO(bind.option(), newline=""))
    expected = ["type=bind", f"source={bind.source}", f"target={bind.target}"]
    assert fields == (expected if writable else [*expected, "readonly"])


@pytest.mark.parametrize("program", ["/usr/bin/docker", "/usr/bin/podman"])
@pytest.mark.parametrize("jobs", [1, 6])
def test_the_walls_of_the_container(program: str, jobs: int, mini: Course, tmp_path: Path) -> None:
    binds = binds_of(mini, tmp_path / "one.ipynb", "/submissions/one.ipynb", tmp_path / "report")
    line = container_command(program, "some-image", ["grade", "--privileged"], binds, jobs)
    options, inner = line[: line.index("some-image")], line[line.index("some-image") + 1 :]
    assert inner == ["grade", "--privileged"]
    assert options[:2] == [program, "run"]
    for name, value in (
        ("--network", "none"),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--pull", "never"),
        ("--pids-limit", str(1024 * jobs)),
        ("--cpus", str(jobs)),
        ("--entrypoint", "course-flows"),
    ):
        assert values(options, name) == [value]
    assert {"--rm", "--read-only"} <= set(options)
    assert values(options, "--memory") == values(options, "--memory-swap") != []
    forbidden = (
        "--privileged",
        "--volume",
        "-v",
        "--cap-add",
        "--device",
        "--pid",
        "--ipc",
        "--env-file",
        "--volumes-from",
    )
    assert not set(forbidden) & set(options)
    mounts = [next(csv.reader([value])) for value in values(options, "--mount")]
    assert [mount[2] for mount in mounts if "readonly" not in mount] == ["target=/report"]
    sources = {mount[1].partition("=")[2] for mount in mounts}
    assert str(mini.root) not in sources
    assert {str(mini.solutions), str(mini.hidden)} <= sources
    (scratch,) = values(options, "--tmpfs")
    assert {"nosuid", "nodev", "noexec", f"size={jobs}g"} <= set(scratch.partition(":")[2].split(","))


IMAGE = "course-flows-grader"


@pytest.mark.slow
def test_a_real_container_grades_and_holds(mini: Course, tmp_path: Path) -> None:
    """Needs Docker or Podman and the image, built as the page for instructors says."""
    asked = [(name, [name, "image", "inspect", IMAGE]) for name in ENGINES if find_engine(name)]
    ready = [name for name, line in asked if subprocess.run(line, capture_output=True, check=False).returncode == 0]
    if not ready:
        pytest.skip(f"no Docker or Podman with the image {IMAGE} is here: build it with .ci/Containerfile")
    suite = "open('/course/tests/hidden/test_00_mini.py')"
    result = "open('/report/report.json', 'w')"
    network = "__import__('socket').create_connection(('127.0.0.1', 9))"
    hand_in(mini, tmp_path / "class" / "right.ipynb")
    for name, attack in (("suite", suite), ("result", result), ("network", network)):
        refused = f"try:\n    {attack}\nexcept PermissionError:\n    raise ValueError('refused')\n"
        hand_in(mini, tmp_path / "class" / f"{name}.ipynb", {"scale-density": refused})
    arguments = ["--course", mini.root, "--report", tmp_path / "report", "--jobs", 1]
    done = run("grade", tmp_path / "class", *arguments, "--container", IMAGE, "--engine", ready[0])
    assert done.returncode == 0, done.stderr
    for path in (tmp_path / "report").glob("submissions/*/report.json"):
        report = json.loads(path.read_text())
        assert report["isolation"] in ("container (namespaces)", "container (landlock)")
        assert report["points"] == (5 if report["notebook"] == "right.ipynb" else 2)
        assert report["points"] == 5 or "ValueError: refused" in " ".join(report["tasks"][0]["feedback"])


def test_names_of_tiers() -> None:
    marks: list[dict[str, str]] = [{}, {"COURSE_FLOWS_CONTAINER": "1"}]
    names = {tier_name(tier, mark) for tier in ("namespaces", "landlock", "none") for mark in marks}
    assert names == set(ISOLATION)
    assert tier_name("landlock", {"COURSE_FLOWS_CONTAINER": "0"}) == "landlock"


def test_the_image_holds_the_grader_and_nothing_of_the_course() -> None:
    lines = (ROOT / ".ci" / "Containerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
    (base,) = [line for line in lines if line.startswith("FROM ")]
    assert re.fullmatch(r"FROM python:3\.\d+\.\d+-slim-\w+", base)
    locks = {"requirements-cpu.lock", "requirements-grader.lock"}
    copied = {word for line in lines if line.startswith("COPY ") for word in line.split()[1:-1]}
    assert copied == {"pyproject.toml", "README.md", "LICENSE", "course_flows", *locks}
    assert all((ROOT / name).exists() for name in copied)
    context = (ROOT / ".ci" / "Containerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert context[0] == "*"
    assert {line[1:] for line in context if line.startswith("!")} == copied
    (install,) = [line for line in lines if line.startswith("RUN ") and "pip install" in line]
    assert all(f"-r {lock}" in install for lock in locks)
    assert "--require-hashes" in "".join(lines)
