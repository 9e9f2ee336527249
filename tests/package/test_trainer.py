"""The training loop: the same bits after a stop, an end with a reason, and a file to look at."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from training_runs import DIGITS, MOONS, StopAt, assert_same_run, run_with_stop, trainer_of

from course_flows.training import load_run
from course_flows.training import trainer as trainer_module
from course_flows.training.checkpoint import read_checkpoint
from course_flows.training.config import build_flow
from course_flows.training.data_feed import load_training
from course_flows.training.errors import CheckpointError, ConfigError, NonFiniteError
from course_flows.training.evaluation import Score, score
from course_flows.training.processes import derived_seed
from course_flows.training.runs import read_log
from course_flows.training.signals import StopWish
from course_flows.training.trainer import Watch

PLAIN = {**DIGITS}
ALL = {**DIGITS, "ema": 0.9, "schedule": "cosine", "warmup": 5, "clip": 1.0, "optimizer": "adamw", "weight_decay": 0.1}
BATCH_NORM = {
    **DIGITS,
    "preset": "real-nvp-digits",
    "options": {"channels": 4, "batch_norm": True, "checkerboards": 1, "channelwise": 1, "last_checkerboards": 1},
    "ema": 0.9,
}
RUNS = {"plain": PLAIN, "all options": ALL, "batch norm": BATCH_NORM, "bf16": {**DIGITS, "precision": "bf16"}}


@pytest.mark.parametrize("name", RUNS)
def test_a_stopped_run_ends_with_the_same_bits(tmp_path, name):
    trainer_of(tmp_path / "whole", RUNS[name]).run()
    run_with_stop(tmp_path / "stopped", RUNS[name], at=10)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


@pytest.mark.parametrize("at", [1, 7, 9, 18, 22])  # beside, at a checkpoint, at a validation, just before the end
def test_it_does_not_matter_where_the_stop_is(tmp_path, at):
    trainer_of(tmp_path / "whole", PLAIN).run()
    run_with_stop(tmp_path / "stopped", PLAIN, at)
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_another_seed_gives_other_weights(tmp_path):
    trainer_of(tmp_path / "a", PLAIN).run()
    trainer_of(tmp_path / "b", {**PLAIN, "seed": 1}).run()
    with pytest.raises(AssertionError):
        assert_same_run(tmp_path / "a", tmp_path / "b")


def test_looking_at_a_run_does_not_change_it(tmp_path):
    often = {"eval_every": 1, "checkpoint_every": 2, "log_every": 1, "samples": 4}
    seldom = {"eval_every": 100, "checkpoint_every": 100, "log_every": 100, "validation": 0}
    for folder, how in (("often", often), ("seldom", seldom)):
        trainer_of(tmp_path / folder, {**ALL, **how}).run()
    one, other = (read_checkpoint(tmp_path / folder / "last.json").tensors for folder in ("often", "seldom"))
    assert all(torch.equal(one[name], value) for name, value in other.items())


def test_the_outside_is_left_as_it_was(tmp_path):
    trainer = trainer_of(tmp_path, PLAIN)
    before, validate = torch.get_rng_state(), trainer.flow.validate
    with torch.no_grad():
        trainer.run()
        assert not torch.is_grad_enabled()
    assert torch.equal(torch.get_rng_state(), before)
    assert trainer.flow.validate is validate
    assert not trainer.flow.training


def test_it_learns(tmp_path):
    trainer = trainer_of(tmp_path, {**MOONS, "steps": 150, "lr": 5e-3, "log_every": 30})
    start = score(trainer.flow, trainer.validation)
    trainer.run()
    flow, _ = load_run(tmp_path)
    assert score(flow, trainer.validation).nats > start.nats + 0.5
    curve = [r["train_nats"] for r in read_log(tmp_path)]
    assert curve[-1] > curve[0] + 0.3


@pytest.mark.parametrize("stop", [None, 20])
def test_the_best_checkpoint_is_that_of_the_best_validation(tmp_path, monkeypatch, stop):
    found = iter([-3.0, -1.0, -2.0])  # after the steps 9, 18 and 23
    monkeypatch.setattr(trainer_module, "score", lambda flow, split, seed: Score(next(found), 0.1, len(split)))
    if stop:
        run_with_stop(tmp_path / "run", PLAIN, at=stop)
    else:
        trainer_of(tmp_path / "run", PLAIN).run()
    best = read_checkpoint(tmp_path / "run" / "best.json")
    assert (best.content["progress"]["step"], best.content["progress"]["best_nats"]) == (18, -1.0)
    assert [r["validation_nats"] for r in read_log(tmp_path / "run") if "validation_nats" in r] == [-3.0, -1.0, -2.0]
    trainer_of(tmp_path / "short", {**PLAIN, "steps": 18, "validation": 0}).run()
    expected = read_checkpoint(tmp_path / "short" / "last.json").part("weights")
    flow, _ = load_run(tmp_path / "run")
    assert all(torch.equal(value, expected[name]) for name, value in flow.state_dict().items())
    assert not (tmp_path / "short" / "best.json").exists()


PATIENT = {**ALL, "eval_every": 3, "patience": 3}
SCORES = [-9.0, -5.0, -6.0, -4.0, -8.0, -7.0, -4.0, -3.0]  # after the steps 3, 6, …: three in a row at 21


def scripted(monkeypatch, scores=SCORES, start=0):
    found = iter(scores[start:])
    monkeypatch.setattr(trainer_module, "score", lambda flow, split, seed: Score(next(found), 0.1, len(split)))


@pytest.mark.parametrize("stop", [None, 5, 13, 18, 20])
def test_patience_ends_a_run_at_the_same_step_with_or_without_a_stop(tmp_path, monkeypatch, stop):
    scripted(monkeypatch)
    outcome = trainer_of(tmp_path / "whole", PATIENT).run()
    assert (outcome.step, outcome.reason) == (21, "patience")
    best = read_checkpoint(tmp_path / "whole" / "best.json").content["progress"]
    assert (best["step"], best["best_nats"]) == (12, -4.0)
    if stop is None:
        return
    scripted(monkeypatch)
    wish = StopWish()
    assert trainer_of(tmp_path / "stopped", PATIENT).run(StopAt(stop, wish), wish).step == stop
    scripted(monkeypatch, start=stop // 3)
    outcome = trainer_of(tmp_path / "stopped", {}, read_checkpoint(tmp_path / "stopped" / "last.json")).run()
    assert (outcome.step, outcome.reason) == (21, "patience")
    assert_same_run(tmp_path / "whole", tmp_path / "stopped")


def test_more_patience_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    scripted(monkeypatch)
    trainer_of(tmp_path / "long", {**PATIENT, "patience": 4, "steps": 24}).run()
    scripted(monkeypatch)
    trainer_of(tmp_path / "short", {**PATIENT, "patience": 1, "steps": 24}).run()
    checkpoint = read_checkpoint(tmp_path / "short" / "last.json")
    assert checkpoint.content["progress"]["step"] == 9
    again = trainer_of(tmp_path / "short", {}, checkpoint).run()
    assert (again.step, again.reason) == (9, "patience")  # it is over already
    scripted(monkeypatch, start=3)
    outcome = trainer_of(tmp_path / "short", {"patience": 4}, checkpoint).run()
    assert (outcome.step, outcome.reason) == (24, "done")
    assert_same_run(tmp_path / "long", tmp_path / "short")


def test_the_validation_of_a_stop_by_the_clock_costs_no_patience(tmp_path, monkeypatch):
    scripted(monkeypatch, [-1.0, -2.0, -2.0])
    trainer = trainer_of(tmp_path, {**PATIENT, "patience": 1, "eval_every": 100, "steps": 1000, "max_seconds": 1e-9})
    assert trainer.run().step == 1
    for steps, waited in ((2, 0), (100, 1)):
        trainer.config = replace(trainer.config, steps=steps, max_seconds=None)
        assert trainer.run().step == steps
        assert trainer.progress.waited == waited


def test_patience_needs_a_validation_part(tmp_path):
    with pytest.raises(ConfigError, match="patience 3 needs a validation part"):
        trainer_of(tmp_path, {**PATIENT, "validation": 0})
    with pytest.raises(ConfigError, match="expected patience to be 0 or more, found -1"):
        trainer_of(tmp_path, {**PATIENT, "patience": -1})


def test_what_validation_says_is_what_the_best_checkpoint_gives(tmp_path):
    trainer_of(tmp_path, PLAIN).run()
    best = max(r["validation_nats"] for r in read_log(tmp_path) if "validation_nats" in r)
    flow, config = load_run(tmp_path)
    _, validation = load_training(config.data, None, config.subset, config.validation)
    assert score(flow, validation, seed=derived_seed(0, "validation")).nats == best


def test_records_hold_what_a_curve_needs(tmp_path):
    trainer_of(tmp_path, ALL).run()
    records = read_log(tmp_path)
    assert [r["step"] for r in records] == [4, 8, 9, 12, 16, 18, 20, 23]
    assert all(
        {"epoch", "seconds", "lr", "train_nats", "train_bits_per_dim", "gradient_norm"} <= r.keys() for r in records
    )
    assert [r["step"] for r in records if "validation_bits_per_dim" in r] == [9, 18, 23]
    assert [r["epoch"] for r in records] == [r["step"] / 5 for r in records]
    r = records[-1]
    assert r["train_nats"] == pytest.approx(-r["train_bits_per_dim"] * 64 * math.log(2))


def test_time_ends_a_run_and_more_time_goes_on(tmp_path):
    outcome = trainer_of(tmp_path, {**PLAIN, "steps": 10**6, "max_seconds": 0.2}).run()
    assert outcome.reason == "time"
    assert 0.2 <= outcome.seconds < 5
    checkpoint = read_checkpoint(tmp_path / "last.json")
    assert checkpoint.content["progress"]["step"] == outcome.step > 0
    assert trainer_of(tmp_path, {}, checkpoint).run().step == outcome.step  # the time is over
    further = trainer_of(tmp_path, {"max_seconds": outcome.seconds + 0.2}, checkpoint).run()
    assert further.step > outcome.step
    assert further.seconds >= outcome.seconds + 0.2


def test_a_likelihood_that_is_not_finite_ends_the_run_with_what_is_needed(tmp_path):
    trainer = trainer_of(tmp_path, {**PLAIN, "lr": 1e30, "checkpoint_every": 1, "validation": 0})
    with pytest.raises(NonFiniteError, match=r"step \d+: .*non-finite.json"):
        trainer.run()
    saved = read_checkpoint(tmp_path / "non-finite.json")
    flow = build_flow(trainer.config, (1, 8, 8))
    flow.load_state_dict(saved.part("weights"))
    found = flow.log_prob(saved.tensors["points"])
    assert torch.equal(found.nan_to_num(), saved.tensors["log_prob"].nan_to_num())
    assert not torch.isfinite(found).all()
    assert torch.equal(trainer.feed.indices(saved.content["step"]), saved.tensors["indices"])
    last = read_checkpoint(tmp_path / "last.json")
    assert all(torch.isfinite(v).all() for v in last.part("weights").values())


@pytest.mark.parametrize("clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_never_reaches_a_checkpoint(tmp_path, clip):
    trainer = trainer_of(tmp_path, {**PLAIN, "clip": clip, "checkpoint_every": 3, "validation": 0})
    name, parameter = next(iter(trainer.flow.named_parameters()))
    calls = []

    def spoil(gradient):
        calls.append(1)
        return gradient * math.nan if len(calls) == 6 else gradient

    parameter.register_hook(spoil)
    with pytest.raises(NonFiniteError, match="the norm of the gradient is nan" if clip else f"the first {name}"):
        trainer.run()
    last = read_checkpoint(tmp_path / "last.json")
    assert last.content["progress"]["step"] == 3
    assert all(torch.isfinite(v).all() for v in last.part("weights").values())


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    trainer_of(tmp_path, PLAIN).run()
    checkpoint = read_checkpoint(tmp_path / "last.json")
    checkpoint.content["config"]["options"]["hidden"] = [9]
    with pytest.raises(CheckpointError, match="does not fit the model"):
        trainer_of(tmp_path, {}, checkpoint)


def test_a_run_with_an_average_is_used_with_it(tmp_path):
    trainer = trainer_of(tmp_path, {**ALL, "lr": 0.05})
    trainer.run()
    last = read_checkpoint(tmp_path / "last.json")
    flow = load_run(tmp_path, "last")[0]
    assert all(torch.equal(v, last.part("ema")[k]) for k, v in flow.state_dict().items() if v.is_floating_point())
    name = next(iter(last.part("ema")))
    assert not torch.equal(last.part("ema")[name], last.part("weights")[name])
    validation = read_log(tmp_path)[-1]["validation_nats"]
    seed = derived_seed(0, "validation")
    assert score(flow, trainer.validation, seed=seed).nats == validation
    assert score(trainer.flow, trainer.validation, seed=seed).nats != validation


def test_steps_take_denormal_numbers_as_zero(tmp_path):
    """Weights of dead units become so small in long runs; each step would be several times slower."""
    seen = []

    class Look(Watch):
        def step(self, step, train):
            seen.append((torch.tensor(1e-38) * 1e-3).item())

    can = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    trainer_of(tmp_path, {**MOONS, "steps": 2}).run(Look())
    assert [value == 0 for value in seen] == [can, can]
    assert (torch.tensor(1e-38) * 1e-3).item() != 0
