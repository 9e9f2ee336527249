"""The command that compares densities of tables: exact where it can be, whole after every stop."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from course_flows.data import load_split
from course_flows.training import commands, load_run

SCRIPT = Path(__file__).parents[2] / "book" / "results" / "measure_tables.py"
TINY = ["--hidden", "8", "--steps", "6", "--batch-size", "40"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure_tables", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def place(tmp_path, monkeypatch) -> list[str]:
    """A folder of two tables, one of them a subset with holes; the arguments that name it and where to write."""
    monkeypatch.delenv("COURSE_FLOWS_DATA", raising=False)
    generator = np.random.default_rng(0)
    for name, count in (("big", 400), ("small_subset", 100)):
        x = generator.normal(size=(count, 3)) @ generator.normal(size=(3, 3)) + 5
        x[: count // 20, 1] = np.nan if "subset" in name else 2.5
        np.savez(tmp_path / f"{name}.npz", x=x)
    return ["--data-dir", str(tmp_path), "--out", str(tmp_path / "t.json"), "--runs", str(tmp_path / "runs")]


def record_of(tmp_path: Path) -> dict:
    return json.loads((tmp_path / "t.json").read_text())


@pytest.mark.parametrize("features", [1, 2, 30])
def test_the_gaussian_is_the_one_of_maximum_likelihood(script, features):
    generator = torch.Generator().manual_seed(features)
    mixing = torch.randn(features, features, generator=generator, dtype=torch.float64)
    x = 3 + torch.randn(500, features, generator=generator, dtype=torch.float64) @ mixing
    flow = script.gaussian_flow(x)
    mean = x.mean(0)
    covariance = (x - mean).T @ (x - mean) / len(x)
    expected = torch.distributions.MultivariateNormal(mean, covariance)
    points = x[:50] + 1
    with torch.no_grad():
        torch.testing.assert_close(flow.log_prob(points), expected.log_prob(points), rtol=1e-10, atol=1e-9)
        best = flow.log_prob(x).mean()
    for factor, shift in ((1.02, 0.0), (0.98, 0.0), (1.0, 0.05)):  # no other one is likelier on the same rows
        other = torch.distributions.MultivariateNormal(mean + shift * x.std(0), factor * covariance)
        assert other.log_prob(x).mean() < best


def test_the_cell_of_the_gaussian_is_that_of_torch(script, place, tmp_path):
    assert script.main([*place, *TINY, "--models", "gaussian", "--sets", "breast_cancer"]) == 0
    split = load_split("breast_cancer")
    mean, covariance = split.train.mean(0), torch.cov(split.train.T, correction=0)
    found = torch.distributions.MultivariateNormal(mean, covariance).log_prob(split.test)
    (cell,) = record_of(tmp_path)["cells"]
    assert cell["test_nats"] == pytest.approx(found.mean().item(), abs=1e-4)
    assert cell["two_standard_errors"] == pytest.approx(2 * found.std().item() / math.sqrt(len(found)), abs=1e-4)
    in_units = (found - split.deviation.log().sum()).mean().item()
    assert cell["test_nats_original_units"] == pytest.approx(in_units, abs=1e-4)
    assert cell["parameters"] == 30 + 30 * 31 // 2


def test_one_command_gives_one_table(script, place, tmp_path, capsys):
    assert script.main([*place, *TINY]) == 0
    record = record_of(tmp_path)
    assert record["command"] == "python book/results/measure_tables.py --hidden 8 --steps 6 --batch-size 40"
    assert str(tmp_path) not in json.dumps(record)
    assert [(c["set"], c["model"]) for c in record["cells"]] == [
        (name, model) for name in ("big", "small_subset") for model in ("gaussian", "made", "maf", "real-nvp")
    ]
    about = record["sets"]["small_subset"]
    assert about["subset"] == "as its name says"
    assert (about["rows_left_out"], sum(about["rows"].values())) == (5, 95)
    assert record["sets"]["big"]["subset"] is False
    assert list(record["sets"]["big"]["noise_in_deviations"]) == ["x1"]  # 20 of 400 rows share a value
    for cell in record["cells"]:
        split = load_split(cell["set"], tmp_path, drop_missing=True)
        if cell["model"] != "gaussian":
            folder = tmp_path / "runs" / f"{cell['set']}-{cell['model']}"
            flow, config = load_run(folder)
            assert cell["parameters"] == sum(p.numel() for p in flow.parameters())
            assert (config.steps, config.drop_missing, config.options["bound"]) == (
                6,
                True,
                8.0 if cell["model"] == "made" else 3.0,
            )
            assert (cell["steps"], cell["ended_by"]) == (6, "steps")
            with torch.no_grad():
                found = flow.double().log_prob(split.test.float().double())
            assert cell["test_nats"] == pytest.approx(found.mean().item(), abs=1e-4)
        assert cell["test_nats"] - cell["test_nats_original_units"] == pytest.approx(split.units.log_scale, abs=2e-4)
        assert {"seconds", "hardware", "torch", "parameters"} <= cell.keys()
    table = capsys.readouterr().out.partition("| table")[2].splitlines()
    assert table[0] == " | D | rows | Gaussian | MADE | MAF (5) | Real NVP (5) |"
    first = record["cells"][0]
    assert table[2].startswith(f"| big | 3 | 400 | {first['test_nats']:.2f} ± {first['two_standard_errors']:.2f} | ")
    assert table[3].startswith("| small_subset (subset) | 3 | 95 | ")
    assert table[-1] == "small_subset: a subset, as its name says"


def test_a_stopped_comparison_goes_on_with_what_is_missing(script, place, tmp_path, monkeypatch, capsys):
    words = [*place, *TINY, "--sets", "big"]
    trained = []

    def stopped(folder, given, **options):
        trained.append(given["model"])
        return 143 if given["model"] == "maf" else train(folder, given, **options)

    train = commands.train
    with monkeypatch.context() as patch:
        patch.setattr(commands, "train", stopped)
        assert script.main(words) == 143
    assert trained == ["made", "maf"]
    before = record_of(tmp_path)["cells"]
    assert [cell["model"] for cell in before] == ["gaussian", "made"]
    assert script.main(words) == 0
    assert record_of(tmp_path)["cells"][:2] == before
    with monkeypatch.context() as patch:
        patch.setattr(commands, "train", lambda *_, **__: pytest.fail("everything is there"))
        capsys.readouterr()
        assert script.main(words) == 0
    assert capsys.readouterr().out.startswith("| table |")


def test_cells_of_another_protocol_do_not_mix(script, place, tmp_path):
    words = [*place, *TINY, "--models", "gaussian"]
    assert script.main(words) == 0
    for more, message in (
        (["--steps", "7"], r"another training \(steps\)"),
        (["--hidden", "9"], "another architecture"),
    ):
        with pytest.raises(SystemExit, match=message):
            script.main([*words, *more])


def test_a_likelihood_that_is_not_finite_is_a_cell_of_its_own(script, place, tmp_path, capsys):
    assert script.main([*place, *TINY, "--models", "made", "--sets", "big", "--lr", "1e30"]) == 0
    (cell,) = record_of(tmp_path)["cells"]
    assert cell == {"set": "big", "model": "made", "error": "the likelihood stopped being finite"}
    assert "| not finite |" in capsys.readouterr().out


def test_which_tables_are_compared(script, place, tmp_path):
    assert script.sets_to_measure(script.arguments(place)) == ["big", "small_subset"]
    (tmp_path / "bsds300").mkdir()
    (tmp_path / "bsds300" / "patches8_gray.npz").touch()
    assert script.sets_to_measure(script.arguments(place)) == ["big", "small_subset", "bsds300"]
    assert script.sets_to_measure(script.arguments([*place, "--sets", "wine", "wine"])) == ["wine"]
    assert script.sets_to_measure(script.arguments([])) == ["breast_cancer", "diabetes", "iris", "wine"]
