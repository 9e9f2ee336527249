"""``course-flows train``, ``evaluate``, ``sample`` and ``record`` as a user meets them, real signals included."""

from __future__ import annotations

import io
import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner, Result
from matplotlib.image import imread
from training_runs import assert_same_run

from course_flows import bits_per_dim
from course_flows.cli import main
from course_flows.models import PRESETS
from course_flows.training import load_run
from course_flows.training.checkpoint import read_checkpoint
from course_flows.training.commands import _Bar
from course_flows.training.config import TrainConfig
from course_flows.training.data_feed import load_test
from course_flows.training.processes import derived_seed
from course_flows.training.runs import alone_in, read_log

TINY = shlex.split(
    "--preset nice-digits --set couplings=2 --set hidden=8, --batch-size 40 --lr 0.001 --ema 0 --device cpu"
)
SHORT = [*TINY, *shlex.split("--steps 30 --checkpoint-every 10 --eval-every 15 --log-every 4 --samples 4")]
CAREFUL = [*SHORT, *shlex.split("--ema 0.9 --schedule cosine --warmup 5 --clip 1")]
# Ctrl-C is ignored in the background of a shell, where tests may run
START = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from course_flows import cli; cli.main()"
)
KILL_AT = """
import os, signal, sys
from course_flows import cli
from course_flows.training import commands
class KilledAt(commands._Bar):
    def step(self, step, train):
        if step == 17:
            os.kill(os.getpid(), signal.SIGKILL)
commands._Bar = KilledAt
cli.main()
"""


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words])


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "finished"
    result = run("train", "--out", folder, *CAREFUL)
    assert result.exit_code == 0, result.output
    return folder


def test_train_says_what_it_does_and_leaves_a_run(finished):
    names = {p.name.partition("-")[0] for p in finished.iterdir() if p.is_file()}
    assert names >= {"last.json", "best.json", "last", "best", "log.jsonl"}
    assert [p.name for p in sorted((finished / "samples").iterdir())] == [f"step-{n:07d}.png" for n in (10, 20, 30)]
    content = read_checkpoint(finished / "last.json").content
    assert content["config"]["options"] == {**PRESETS["nice-digits"].options, "couplings": 2, "hidden": [8]}
    assert content["about"]["command"].startswith("course-flows train --preset nice-digits --set couplings=2")
    assert content["about"]["command"].endswith("--out finished")
    assert str(finished) not in json.dumps(content)


def test_help_needs_no_torch():
    code = (
        "import sys; from course_flows import cli\n"
        "for name in ('train', 'evaluate', 'sample', 'record'):\n"
        "    try: cli.main([name, '--help'])\n"
        "    except SystemExit as end: assert end.code == 0\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert shown.count("Usage: ") == 4


def test_train_prints_sentences(tmp_path):
    result = run("train", "--out", tmp_path, *TINY, "--epochs", "0.1", "--samples", "0", "--subset", "100")
    assert result.exit_code == 0
    first, *middle, last = result.output.splitlines()
    assert first.startswith("nice-digits: ")
    assert "on 100 of digits, train, subset of 100, 1 steps of 40 (0.5 epochs) on cpu" in first
    assert "step 1, epoch 0.50" in middle[0]
    assert "bits/dim" in middle[0]
    assert last.startswith("done: 1 steps in ")


def test_a_killed_run_goes_on_with_the_same_bits(finished, tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILL_AT, "train", "--out", tmp_path, *CAREFUL], capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert read_checkpoint(tmp_path / "last.json").content["progress"]["step"] == 10
    assert read_log(tmp_path)[-1]["step"] == 16  # of which the last two records were not in a checkpoint yet
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"step": 17, "epo')
    result = run("train", "--out", tmp_path, "--resume", *CAREFUL)
    assert result.exit_code == 0, result.output
    assert "going on from step 10" in result.output
    about = read_checkpoint(tmp_path / "last.json").content["about"]
    assert "gone on" not in about["command"]
    assert_same_run(finished, tmp_path)


@pytest.mark.parametrize(("number", "name"), [(signal.SIGINT, "SIGINT"), (signal.SIGTERM, "SIGTERM")])
def test_signals_save_first(tmp_path, number, name):
    words = shlex.split("--preset real-nvp-2d --set couplings=2 --set hidden=8, --batch-size 40 --validation 0")
    words += shlex.split("--steps 1000000 --log-every 1 --checkpoint-every 1000000 --samples 0")
    process = subprocess.Popen(
        [sys.executable, "-c", START, "train", "--out", tmp_path, *words], stdout=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 60
        while len(read_log(tmp_path)) < 3 and time.monotonic() < until:
            time.sleep(0.02)
        assert not (tmp_path / "last.json").exists()
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + number
    step = read_checkpoint(tmp_path / "last.json").content["progress"]["step"]
    said = f"stopped by {name} at step {step:,} of 1,000,000; saved in {tmp_path}; to go on: "
    assert said + f"course-flows train --resume --out {tmp_path}" in output
    assert read_log(tmp_path)[-1]["step"] == step
    result = run("train", "--resume", "--out", tmp_path, "--steps", str(step + 2))
    assert result.exit_code == 0
    assert [r["step"] for r in read_log(tmp_path)] == list(range(1, step + 3))


def test_patience_ends_a_run_and_evaluation_takes_its_best_weights(tmp_path):
    words = [*TINY, "--lr", "0.3", "--steps", "4000", "--eval-every", "2", "--patience", "2", "--samples", "0"]
    result = run("train", "--out", tmp_path, *words)
    assert result.exit_code == 0, result.output
    progress = read_checkpoint(tmp_path / "last.json").content["progress"]
    assert progress["step"] == progress["best_step"] + 4 < 4000
    said = f"ended at step {progress['step']:,} of 4,000, since validation was no better than at step "
    assert f"{said}{progress['best_step']:,} for 2 times" in result.output
    assert run("evaluate", tmp_path).exit_code == 0
    written = json.loads((tmp_path / "evaluation-test.json").read_text())
    assert (written["checkpoint"], written["step"]) == ("best", progress["best_step"])
    result = run("train", "--out", tmp_path, "--resume", "--patience", "3")
    assert result.exit_code == 0
    content = read_checkpoint(tmp_path / "last.json").content
    assert content["progress"]["step"] > progress["step"]
    assert content["about"]["command"].endswith("(gone on with --patience 3)")


def test_a_folder_with_a_run_is_not_overwritten(finished):
    result = run("train", "--out", finished, *TINY)
    assert result.exit_code == 2
    assert "holds a run already: go on with it by --resume" in result.output


def test_two_trainers_do_not_share_a_folder(finished, tmp_path):
    with alone_in(finished):
        result = run("train", "--resume", "--out", finished, "--steps", "31")
        assert result.exit_code == 2
        assert f"another process is training in {finished}" in result.output
        with alone_in(tmp_path):
            pass
    with alone_in(finished):
        pass


def test_resume_starts_where_there_is_nothing_and_may_go_further(tmp_path):
    assert run("train", "--resume", "--out", tmp_path, *SHORT).exit_code == 0
    again = run("train", "--resume", "--out", tmp_path, *SHORT)
    assert again.exit_code == 0
    assert len(read_log(tmp_path)) == 9
    assert run("train", "--resume", "--out", tmp_path, "--steps", "33").exit_code == 0
    content = read_checkpoint(tmp_path / "last.json").content
    assert content["progress"]["step"] == 33
    assert content["about"]["command"].endswith("(gone on with --steps 33)")
    for option, message in (
        ("--lr 0.5", "the run has lr 0.001 and cannot go on with 0.5"),
        ("--set hidden=9,", "the run has options"),
        ("--preset nice-mnist", "the run has preset 'nice-digits' and cannot go on with 'nice-mnist'"),
        ("--steps 50 --epochs 3", "expected steps or epochs, found both"),
    ):
        result = run("train", "--resume", "--out", tmp_path, *option.split())
        assert (result.exit_code, message in result.output) == (2, True), result.output


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        ("--preset nice-digit", 2, "there is no preset 'nice-digit': expected one of nice-mnist, "),
        ("--preset nice-digit", 2, "did you mean 'nice-digits'?"),
        ("--model glo --data digits", 2, "there is no model 'glo'"),
        ("--model nice", 2, "a model without a preset needs data, one of digits, mnist"),
        ("", 2, "expected a preset (nice-mnist, "),
        ("--preset nice-digits --model nice", 2, "one of the two"),
        ("--preset nice-digits --set hiden=8", 2, "did you mean 'hidden'?"),
        (
            "--preset real-nvp-digits --set hidden=8,",
            2,
            "there is no option of real-nvp 'hidden': expected one of scales",
        ),
        ("--preset real-nvp-2d --set scales=2", 2, "expected one of couplings, hidden, bound"),
        ("--preset nice-digits --set hidden=8", 2, "expected hidden of nice to be like (1000, 1000"),
        ("--preset nice-digits --set couplings=many", 2, "expected couplings of nice to be like 4, found 'many'"),
        ("--preset nice-digits --set base=cauchy", 2, "nice cannot be built with"),
        ("--preset nice-digits --set hidden", 2, "expected a setting like hidden=64,64, found 'hidden'"),
        ("--preset nice-digits --data mnst", 2, "expected data to be one of digits, mnist"),
        ("--preset nice-digits --schedule linear", 2, "expected schedule to be one of constant, cosine"),
        ("--preset nice-digits --precision fp8", 2, "expected precision to be one of float32, bf16"),
        ("--preset nice-digits --lr 0", 2, "expected lr to be more than 0, found 0"),
        ("--preset nice-digits --ema 1.5", 2, "expected ema to be from 0 to below 1, found 1.5"),
        ("--preset nice-digits --steps 0", 2, "expected steps to be more than 0, found 0"),
        ("--preset nice-digits --steps 3 --epochs 2", 2, "expected steps or epochs, found both"),
        ("--preset nice-digits --batch-size 9999", 2, "expected a batch size of 1 to 1200"),
        ("--preset nice-digits --validation 1500", 2, "expected 0 to 1499 validation images"),
        ("--preset nice-digits --layers 3", 2, "No such option"),
        ("--preset nice-mnist", 1, "mnist was not found"),
    ],
)
def test_mistakes_get_sentences(tmp_path, monkeypatch, words, status, message):
    monkeypatch.delenv("COURSE_FLOWS_DATA", raising=False)
    result = run("train", "--out", tmp_path / "run", *words.split())
    assert result.exit_code == status
    assert message in result.output
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()


def test_a_likelihood_that_is_not_finite_has_its_own_status(tmp_path):
    result = run("train", "--out", tmp_path, *SHORT, "--lr", "1e30")
    assert result.exit_code == 3
    assert "course-flows: step " in result.output
    assert (tmp_path / "non-finite.json").is_file()


def test_the_loaded_flow_is_the_trained_one(finished):
    flow, config = load_run(finished)
    assert not flow.training
    assert config.preset == "nice-digits"
    best = read_checkpoint(finished / "best.json").part("weights")
    assert all(torch.equal(best[k], v) for k, v in flow.state_dict().items())
    assert torch.equal(
        flow.log_prob(torch.full((2, 1, 8, 8), 0.5)), load_run(finished / "best.json")[0](torch.full((2, 1, 8, 8), 0.5))
    )


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_evaluate_is_bits_per_dim(finished, dtype):
    result = run("evaluate", finished, "--samples", "2", "--dtype", dtype, "--seed", "3")
    assert result.exit_code == 0, result.output
    written = json.loads((finished / "evaluation-test.json").read_text())
    flow = load_run(finished)[0].to(getattr(torch, dtype))
    torch.manual_seed(3)
    expected = bits_per_dim(flow, load_test("digits").values, 17, 2, batch_size=256)
    assert written["metrics"]["test_bits_per_dim"] == expected.bits
    assert written["metrics"]["test_bits_per_dim_standard_error"] == expected.standard_error
    assert (written["count"], written["samples"], written["dtype"]) == (297, 2, dtype)
    assert f"test_bits_per_dim {expected.bits:.4f} ± {expected.standard_error:.4f}" in result.output
    assert "digits, test: 297 images, 2 noise samples an image" in result.output


def test_evaluate_validation_is_what_training_saw(finished):
    seed = derived_seed(0, "validation")
    result = run("evaluate", finished, "--split", "validation", "--checkpoint", "last", "--seed", str(seed))
    assert result.exit_code == 0
    written = json.loads((finished / "evaluation-validation.json").read_text())
    assert written["count"] == 300
    assert written["metrics"]["validation_nats"] == read_log(finished)[-1]["validation_nats"]


def test_sample_writes_the_same_sheet_for_the_same_seed(finished, tmp_path):
    sheets = []
    for name, options in {"a": [], "b": [], "seed": ["--seed", "1"], "cold": ["--temperature", "0.1"]}.items():
        result = run("sample", finished, "-n", "5", "--out", tmp_path / f"{name}.png", *options)
        assert result.exit_code == 0, result.output
        sheets.append((tmp_path / f"{name}.png").read_bytes())
    assert sheets[0] == sheets[1]
    assert len(set(sheets)) == 3
    height, width = imread(tmp_path / "a.png").shape[:2]  # 2 rows of 3
    assert (height / 17, width / 26) == (height // 17, width // 26)
    result = run("sample", finished, "-n", "0", "--out", tmp_path / "none.png")
    assert (result.exit_code, "at least 1 sample" in result.output) == (2, True)


def test_toy_runs_have_nats_and_dots(tmp_path):
    words = ["--preset", "real-nvp-2d", "--set", "couplings=2", "--set", "hidden=8,", "--steps", "5", "--subset", "600"]
    assert run("train", "--out", tmp_path / "run", *words).exit_code == 0
    result = run("evaluate", tmp_path / "run")
    assert "two-moons, test: 10,000 points" in result.output
    metrics = json.loads((tmp_path / "run" / "evaluation-test.json").read_text())["metrics"]
    assert set(metrics) == {"test_nats", "test_nats_standard_error"}
    assert run("record", tmp_path / "run", "--out", tmp_path / "moons.json").exit_code == 0
    assert imread(tmp_path / "moons.png").shape[:2] == (400, 400)
    record = json.loads((tmp_path / "moons.json").read_text())
    assert record["subset"] == 600
    assert "train_bits_per_dim" not in record["curve"]["train"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_bits_per_dim_and_the_time_left(monkeypatch):
    shown = Terminal()
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", shown)
        bar = _Bar(TrainConfig("nice", "digits", steps=40, max_seconds=100.0), step=10, seconds=30.0)
        with bar:
            for step in range(11, 21):
                bar.step(step, {"nats": -300.0, "bits_per_dim": 6.789})
            bar._bar.refresh()
    last = shown.getvalue().rstrip().split("\r")[-1]
    assert "20/40" in last
    assert "6.7890 bits/dim" in last
    assert "at most 01:09 left" in last or "at most 01:10 left" in last
