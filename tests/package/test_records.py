"""Recorded runs: what pages of the book read is whole, and measured on the weights that it names."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from course_flows.cli import main
from course_flows.models import PRESETS

SHORT = shlex.split(
    "--preset nice-digits --set couplings=2 --set hidden=8, --batch-size 40 --device cpu --steps 30 --eval-every 15 "
    "--log-every 4 --samples 4"
)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    result = run("train", "--out", folder, *SHORT)
    assert result.exit_code == 0, result.output
    return folder


KINDS = {
    "model": str,
    "options": dict,
    "parameters": int,
    "preset": str,
    "data": str,
    "train_size": int,
    "subset": bool,
    "command": str,
    "seed": int,
    "python": str,
    "torch": str,
    "hardware": dict,
    "seconds": float,
    "steps": int,
    "epochs": float,
    "training": dict,
    "checkpoint": dict,
    "evaluation": dict,
    "metrics": dict,
    "published": list,
    "curve": dict,
    "samples": dict,
}


def test_a_record_holds_what_a_page_needs(finished, tmp_path):
    assert run("evaluate", finished).exit_code == 0
    target = tmp_path / "nice.json"
    result = run(
        "record", finished, "--out", target, "--reference", "test_bits_per_dim", "2.5", "Nobody (2001), table 3"
    )
    assert result.exit_code == 0, result.output
    record = json.loads(target.read_text())
    assert {k: type(record[k]) for k in KINDS} == KINDS
    assert set(record) - set(KINDS) <= {"commit"}
    assert record["hardware"].keys() == {"device", "cpu", "cores", "threads"}
    assert record["published"] == [{"metric": "test_bits_per_dim", "value": 2.5, "source": "Nobody (2001), table 3"}]
    written = json.loads((finished / "evaluation-test.json").read_text())["metrics"]
    assert record["metrics"] == {k: pytest.approx(v, rel=1e-6) for k, v in written.items()}
    assert {"test_nats", "test_bits_per_dim", "test_bits_per_dim_standard_error"} <= record["metrics"].keys()
    assert record["curve"]["validation"]["step"] == [15, 30]
    assert {"step", "epoch", "seconds", "train_bits_per_dim"} <= record["curve"]["train"].keys()
    assert "published 2.5 (Nobody (2001), table 3)" in result.output
    assert (tmp_path / record["samples"]["file"]).is_file()
    assert str(finished) not in target.read_text()
    assert max(map(len, target.read_text().splitlines())) > 40  # a list of numbers is one line
    assert len(target.read_text().splitlines()) < 100


def test_records_of_what_was_not_measured_are_refused(tmp_path):
    assert run("train", "--out", tmp_path / "run", *SHORT).exit_code == 0
    result = run("record", tmp_path / "run", "--out", tmp_path / "r.json")
    assert (result.exit_code, "has no evaluation-test.json: run course-flows evaluate" in result.output) == (1, True)
    assert run("evaluate", tmp_path / "run", "--checkpoint", "last").exit_code == 0
    result = run("record", tmp_path / "run", "--out", tmp_path / "r.json", "--reference", "test_bits", "1", "x")
    assert (result.exit_code, "found 'test_bits'" in result.output) == (2, True)
    assert run("train", "--resume", "--out", tmp_path / "run", "--steps", "32").exit_code == 0
    result = run("record", tmp_path / "run", "--out", tmp_path / "r.json")
    assert (result.exit_code, "has gone on since it was evaluated" in result.output) == (1, True)
    assert not (tmp_path / "r.json").exists()


def test_published_numbers_stand_beside_their_own_data_only(tmp_path):
    small = shlex.split("--set couplings=2 --set hidden=4, --steps 2 --samples 0 --batch-size 20 --validation 0")
    assert run("train", "--preset", "nice-mnist", "--data", "digits", "--out", tmp_path / "run", *small).exit_code == 0
    assert run("evaluate", tmp_path / "run").exit_code == 0
    assert run("record", tmp_path / "run", "--out", tmp_path / "r.json").exit_code == 0
    assert json.loads((tmp_path / "r.json").read_text())["published"] == []


def test_long_curves_are_thinned_and_keep_both_ends():
    from course_flows.training.records import _curve

    log = [{"step": s, "epoch": s / 10, "seconds": s / 7, "train_nats": -1 / s} for s in range(1, 1235)]
    curve = _curve(log, "train")
    assert len(curve["step"]) == 200
    assert (curve["step"][0], curve["step"][-1]) == (1, 1234)
    assert curve["step"] == sorted(set(curve["step"]))
    assert not any(_curve(log, "validation").values())


def test_published_numbers_of_presets_name_metrics_that_evaluate_writes():
    for preset in PRESETS.values():
        for metric, value, source in preset.published:
            assert metric in {"test_nats", "test_bits_per_dim", "test_log_density_nats", "test_logit_density_nats"}
            assert value > 0 or metric == "test_logit_density_nats"
            assert source
