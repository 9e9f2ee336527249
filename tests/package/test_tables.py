"""Flows of tables: trained, stopped, resumed and scored as images are, sampled in the units of the table."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from training_runs import assert_same_run, run_with_stop, trainer_of

from course_flows.cli import main
from course_flows.data import Units, load_split, load_tabular
from course_flows.training import load_run
from course_flows.training.checkpoint import read_checkpoint
from course_flows.training.data_feed import load_test, load_training
from course_flows.training.errors import ConfigError
from course_flows.training.runs import read_log

MAF = "--model maf --set layers=2 --set hidden=16, --data wine --batch-size 40 --lr 0.005 --device cpu"
MODELS = {
    "real-nvp": "--model real-nvp --set couplings=2 --set hidden=8, --set batch_norm=true",
    "maf": "--model maf --set layers=2 --set hidden=8,",
    "made": "--model made --set hidden=8,",
    "iaf": "--model iaf --set layers=2 --set hidden=8,",
    "preset": "--preset real-nvp-2d --set couplings=2 --set hidden=8, --set fused=false",
}
TRAINER = {
    "model": "maf",
    "options": {"layers": 2, "hidden": (8,)},
    "data": "breast_cancer",
    "batch_size": 50,
    "lr": 1e-2,
    "steps": 40,
    "eval_every": 4,
    "checkpoint_every": 6,
    "log_every": 5,
}


@pytest.fixture(autouse=True)
def _no_data_folder(monkeypatch):
    monkeypatch.delenv("COURSE_FLOWS_DATA", raising=False)


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    result = run("train", "--out", folder, *shlex.split(MAF), "--steps", "60", "--eval-every", "10")
    assert result.exit_code == 0, result.output
    assert "on 145 of wine, train, 60 steps of 40" in result.output
    assert "nats" in result.output
    return folder


def write_table(folder: Path, name: str = "mine", count: int = 200) -> np.ndarray:
    """A table of two columns that depend on each other, far from 0 and of different widths."""
    noise = np.random.default_rng(0).normal(size=(count, 2))
    x = np.stack([100 + 20 * noise[:, 0], -3 + 0.1 * (noise[:, 0] + 0.3 * noise[:, 1])], axis=1)
    np.savez(folder / f"{name}.npz", x=x, columns=np.array(["a", "b, in m"]))
    return x


@pytest.mark.parametrize("model", MODELS)
def test_every_model_trains_on_a_table(tmp_path, model):
    words = [*shlex.split(MODELS[model]), *shlex.split("--data iris --batch-size 60 --steps 4 --device cpu")]
    assert run("train", "--out", tmp_path / "run", *words).exit_code == 0
    result = run("evaluate", tmp_path / "run", "--dtype", "float64")
    assert result.exit_code == 0, result.output
    assert "iris, test: 15 rows, float64" in result.output
    assert run("sample", tmp_path / "run", "-n", "5", "--out", tmp_path / "s.csv").exit_code == 0
    assert not (tmp_path / "run" / "samples").exists()


def test_scores_are_nats_of_standardized_rows_and_of_rows_in_units(finished):
    result = run("evaluate", finished, "--dtype", "float64")
    assert result.exit_code == 0, result.output
    metrics = json.loads((finished / "evaluation-test.json").read_text())["metrics"]
    split = load_split("wine")
    flow = load_run(finished)[0].double()
    with torch.no_grad():
        found = flow.log_prob(split.test.float().double())
        in_units = found - split.deviation.log().sum()
    error = found.std().item() / 17**0.5
    assert metrics == {
        "test_nats": pytest.approx(found.mean().item(), rel=1e-12),
        "test_nats_standard_error": pytest.approx(error, rel=1e-9),
        "test_nats_original_units": pytest.approx(in_units.mean().item(), rel=1e-9),
        "test_nats_original_units_standard_error": pytest.approx(error, rel=1e-9),
    }
    nats, units = metrics["test_nats"], metrics["test_nats_original_units"]
    assert f"test_nats {nats:.4f} ± {2 * error:.4f} (two standard errors; standardized)" in result.output
    assert f"{units:.4f} ± {2 * error:.4f} (two standard errors; in the units of the table)" in result.output
    assert abs(nats - units) > 1
    assert [r["step"] for r in read_log(finished) if "validation_nats_original_units" in r] == list(range(10, 61, 10))


def test_training_sees_the_documented_split():
    split = load_split("wine")
    (train, validation), test = load_training("wine"), load_test("wine")
    for part, rows in ((train, split.train), (validation, split.validation), (test, split.test)):
        assert part.values.dtype == torch.float32
        assert torch.equal(part.values, rows.float())
        assert part.units.agrees_with(split.units)
    subset, none = load_training("wine", subset=30, validation=0)
    assert torch.equal(subset.values, train.values[:30])
    assert (none, subset.name) == (None, "wine, train, subset of 30")
    with pytest.raises(ConfigError, match="expected 16 validation rows of wine, as its split is documented, or 0"):
        load_training("wine", validation=20)
    with pytest.raises(ConfigError, match="a subset of at most 145 rows"):
        load_training("wine", subset=146)


@pytest.mark.parametrize("at", [5, 8, 11])
def test_a_stopped_run_on_a_table_ends_with_the_same_bits(tmp_path, at):
    trainer_of(tmp_path / "whole", TRAINER).run()
    run_with_stop(tmp_path / "stopped", TRAINER, at)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_patience_ends_a_run_on_a_table(tmp_path):
    trainer = trainer_of(tmp_path, {**TRAINER, "lr": 0.1, "steps": 2000, "patience": 3})
    outcome = trainer.run()
    assert outcome.reason == "patience"
    assert outcome.step == trainer.progress.best_step + 12 < 2000


@pytest.mark.parametrize("suffix", ["csv", "npz"])
def test_samples_are_a_table_again(tmp_path, suffix):
    x = write_table(tmp_path)
    words = shlex.split("--model maf --set layers=2 --set hidden=16, --data mine --steps 300 --lr 0.01 --device cpu")
    assert run("train", "--out", tmp_path / "run", "--data-dir", tmp_path, *words).exit_code == 0
    target = tmp_path / f"drawn.{suffix}"
    result = run("sample", tmp_path / "run", "-n", "3000", "--out", target, "--seed", "4")
    assert result.exit_code == 0, result.output
    again = load_tabular("drawn", tmp_path)
    assert again.columns == ("a", "b, in m")
    torch.manual_seed(4)
    units = Units.from_json(read_checkpoint(tmp_path / "run" / "best.json").content["units"])
    assert torch.equal(again.x, units.restore(load_run(tmp_path / "run")[0].sample(3000)))
    deviation = x.std(axis=0)
    assert np.abs(again.x.numpy().mean(axis=0) - x.mean(axis=0)).max() < np.abs(0.3 * deviation).max()
    assert again.x.numpy().std(axis=0) == pytest.approx(deviation, rel=0.3)
    assert np.corrcoef(again.x.numpy().T)[0, 1] > 0.8
    assert (
        run("train", "--out", tmp_path / "more", "--data-dir", tmp_path, "--data", "drawn", *words[7:]).exit_code == 2
    )
    words[words.index("mine")] = "drawn"
    assert run("train", "--out", tmp_path / "more", "--data-dir", tmp_path, *words, "--epochs", "1").exit_code == 2


def test_a_csv_file_gives_the_run_that_the_npz_file_gives(tmp_path):
    x = write_table(tmp_path, "one")
    lines = ['a,"b, in m"', *(",".join(map(repr, row)) for row in x.tolist())]
    (tmp_path / "other.csv").write_text("\n".join(lines) + "\n")
    for name in ("one", "other"):
        words = shlex.split(f"--model made --set hidden=8, --data {name} --steps 5 --device cpu --data-dir")
        assert run("train", "--out", tmp_path / name, *words, tmp_path).exit_code == 0
    tensors = [read_checkpoint(tmp_path / name / "last.json").tensors for name in ("one", "other")]
    assert all(torch.equal(tensors[1][key], value) for key, value in tensors[0].items())


def test_another_table_under_the_same_name_is_refused(tmp_path):
    x = write_table(tmp_path)
    words = shlex.split("--model made --set hidden=8, --data mine --steps 5 --device cpu --data-dir")
    assert run("train", "--out", tmp_path / "run", *words, tmp_path).exit_code == 0
    for columns, message in ((["a", "c"], "expected columns a, b, in m, found a, c"), (["a", "b, in m"], "same means")):
        np.savez(tmp_path / "mine.npz", x=1.01 * x, columns=np.array(columns))
        for command in (
            ["evaluate", tmp_path / "run"],
            ["train", "--resume", "--steps", "9", "--out", tmp_path / "run"],
        ):
            result = run(*command, "--data-dir", tmp_path)
            assert result.exit_code == 1
            assert "is not the table that the run was trained on" in result.output
            assert message in result.output


def test_rows_with_missing_values_are_left_out_when_asked(tmp_path):
    x = write_table(tmp_path)
    x[:7, 0] = np.nan
    np.savez(tmp_path / "mine.npz", x=x)
    words = shlex.split("--model made --set hidden=8, --data mine --steps 5 --batch-size 20 --device cpu --data-dir")
    result = run("train", "--out", tmp_path / "run", *words, tmp_path)
    assert (result.exit_code, "7 of 200 rows with missing values (NaN)" in result.output) == (1, True)
    result = run("train", "--out", tmp_path / "run", *words, tmp_path, "--drop-missing")
    assert (result.exit_code, "without 7 rows with missing values" in result.output) == (0, True), result.output
    content = read_checkpoint(tmp_path / "run" / "last.json").content
    assert content["config"]["drop_missing"] is True
    assert " --drop-missing --out run" in content["about"]["command"]
    assert run("evaluate", tmp_path / "run", "--data-dir", tmp_path).exit_code == 0


def test_a_record_of_a_table_has_rows_beside_it(finished, tmp_path):
    assert run("evaluate", finished).exit_code == 0
    result = run("record", finished, "--out", tmp_path / "wine.json")
    assert result.exit_code == 0, result.output
    record = json.loads((tmp_path / "wine.json").read_text())
    assert record["samples"]["file"] == "wine.csv"
    assert "test_nats_original_units" in record["metrics"]
    assert load_tabular("wine", tmp_path).columns == load_split("wine").columns


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (
            "train --out {0}/run --model made --data mime --data-dir {0}",
            2,
            "a table of the folder of data (mine, torn)",
        ),
        ("train --out {0}/run --model made --data mime --data-dir {0}", 2, "did you mean 'mine'?"),
        ("train --out {0}/run --model made --data mime", 2, "a table of the folder of data (none is there)"),
        (
            "train --out {0}/run --model made --data torn --data-dir {0}",
            1,
            "line 3, column b: expected a number, found 'x'",
        ),
        ("train --out {0}/run --model made --data mine --data-dir {0}/no", 1, "which is not a folder"),
        ("train --out {0}/run --model made --data bsds300 --data-dir {0}", 1, "put patches8_gray.npz into a folder"),
        ("train --out {0}/run --model made --data iris --batch-size 200", 2, "batch size of 1 to 122 (iris, train)"),
        ("sample {1} --out {0}/x.png", 2, "a .csv or .npz file, found x.png"),
    ],
)
def test_mistakes_with_tables_get_sentences(tmp_path, finished, words, status, message):
    write_table(tmp_path)
    (tmp_path / "torn.csv").write_text("a,b\n1,2\n3,x\n")
    result = run(*words.format(tmp_path, finished).split())
    assert (result.exit_code, message in result.output) == (status, True), result.output
    assert not (tmp_path / "run").exists()
