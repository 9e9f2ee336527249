"""What training is made of: data and their order, learning rate, average, precision, devices, scores."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import torch
from training_runs import DIGITS, MOONS, trainer_of

from course_flows import bits_per_dim, dequantize
from course_flows.models import PRESETS, build
from course_flows.training.config import TrainConfig, build_flow, make_config
from course_flows.training.data_feed import Feed, Split, load_test, load_training
from course_flows.training.devices import choose_device, conditioners_in, denormals_as_zero
from course_flows.training.errors import ConfigError, DeviceError
from course_flows.training.evaluation import score
from course_flows.training.optimization import (
    MovingAverage,
    learning_rate,
    load_optimizer_tensors,
    make_optimizer,
    optimizer_tensors,
)
from course_flows.training.processes import Processes, current_processes

# the data


def test_parts_are_apart():
    everything, none = load_training("digits", validation=0)
    train, validation = load_training("digits")
    assert none is None
    assert (len(train), len(validation), len(load_test("digits"))) == (1200, 300, 297)
    assert torch.equal(torch.cat([train.values, validation.values]), everything.values)
    subset, same_validation = load_training("digits", subset=50)
    assert torch.equal(subset.values, train.values[:50])
    assert torch.equal(same_validation.values, validation.values)
    assert "subset of 50" in subset.name
    moons = [*load_training("two-moons", subset=500), load_test("two-moons")]
    assert [len(part) for part in moons] == [500, 2000, 10_000]
    assert not any(torch.equal(a.values[:100], b.values[:100]) for a, b in zip(moons, [*moons[1:], moons[0]]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"data": "mnst"}, "expected data to be one of digits, mnist.*did you mean 'mnist'"),
        (
            {"data": "digits", "subset": 1201},
            r"at most 1200 images \(1500 of digits less 300 for validation\), found 1201",
        ),
        ({"data": "digits", "subset": 0}, "at least 1"),
        ({"data": "digits", "validation": 1500}, "0 to 1499 validation images"),
    ],
)
def test_parts_that_are_not_there(options, message):
    with pytest.raises(ConfigError, match=message):
        load_training(**options)


def images(count: int = 20, device: str = "cpu") -> Split:
    return Split(torch.arange(count, dtype=torch.uint8).reshape(count, 1, 1, 1).to(device), 32, "numbers")


def test_an_epoch_visits_everything_once_in_a_new_order():
    feed = Feed(images(), batch_size=6, seed=0)
    assert feed.steps_per_epoch == 3
    epochs = [torch.cat([feed.indices(step) for step in range(e * 3, e * 3 + 3)]).tolist() for e in range(3)]
    assert all(len(set(epoch)) == 18 for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    assert Feed(images(), 6, seed=0).indices(7).tolist() == feed.indices(7).tolist()
    assert Feed(images(), 6, seed=1).indices(7).tolist() != feed.indices(7).tolist()


def test_processes_share_a_batch():
    parts = [Feed(images(), 6, 0, Processes(rank, 3)).indices(2) for rank in range(3)]
    assert [len(part) for part in parts] == [2, 2, 2]
    assert sorted(torch.cat(parts).tolist()) == sorted(Feed(images(), 6, 0).indices(2).tolist())
    assert len({Processes(rank, 3).noise_seed(0) for rank in range(3)}) == 3
    assert [Processes(rank, 3).writes for rank in range(3)] == [True, False, False]


def test_several_processes_are_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="expected one process, found WORLD_SIZE=2"):
        current_processes()


def test_images_stay_uint8_on_the_device_and_become_points_there(tmp_path):
    trainer = trainer_of(tmp_path, DIGITS)
    assert trainer.feed.split.values.dtype == torch.uint8
    points = trainer.feed.points(3)
    assert points.dtype == torch.float32
    assert points.device == trainer.feed.split.values.device == trainer.device
    chosen = trainer.feed.split.values[trainer.feed.indices(3)]
    assert torch.equal((points * 17).floor().to(torch.uint8), chosen)
    assert not torch.equal(points, trainer.feed.points(3))  # fresh noise
    assert images().to(torch.device("meta")).values.dtype == torch.uint8


def test_bad_data_and_batches_are_refused():
    with pytest.raises(ConfigError, match=r"batch size of 1 to 20 \(numbers\), found 21"):
        Feed(images(), 21, 0)
    with pytest.raises(ValueError, match="found 0 to 19"):
        Feed(replace(images(), levels=10), 5, 0)
    with pytest.raises(ConfigError, match="NaN or infinite ones in points"):
        Feed(Split(torch.tensor([[0.0, math.nan]]), None, "points"), 1, 0)


# what a step is made of


def test_every_preset_is_a_run_that_can_be_described_again():
    for name, preset in PRESETS.items():
        config = make_config({"preset": name, "seed": 3}).for_sizes(1000, 10)
        assert config.steps > 0
        assert (config.model, config.data, config.lr) == (preset.model, preset.data, preset.training["lr"])
        assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))).to_json() == json.loads(
            json.dumps(config.to_json())
        ) | {"betas": config.betas}
        assert (config.eval_every, config.checkpoint_every) == (min(1000, config.steps // 20),) * 2
    with pytest.raises(ConfigError, match="settings that this version does not know: colour"):
        TrainConfig.from_json({**config.to_json(), "colour": 1})


def test_learning_rate_rises_and_falls():
    config = TrainConfig("nice", "digits", lr=0.5, steps=100, warmup=10, schedule="cosine")
    rates = [learning_rate(config, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.05)
    assert max(rates) <= 0.5
    assert rates[50] == pytest.approx(0.25)
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0 < rates[-1] < 0.001
    assert learning_rate(replace(config, schedule="constant", warmup=0), 0) == 0.5
    assert learning_rate(config, 200) == pytest.approx(0)


def test_the_average_is_what_the_formula_says():
    module = torch.nn.BatchNorm1d(2)
    average = MovingAverage(module, decay=0.5)
    expected = 1.0
    for step in range(20):
        with torch.no_grad():
            module.weight.fill_(float(step))
            module.num_batches_tracked.fill_(step)
        average.update(step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * step
    with average.in_place_of_the_weights():
        assert module.weight.tolist() == pytest.approx([expected, expected])
        assert module.num_batches_tracked == 19
    assert module.weight.tolist() == [19.0, 19.0]


def test_a_loaded_optimizer_lies_in_memory_like_its_parameters():
    """A fused step goes through both in memory order: another order would pair the wrong numbers in silence."""
    flow = build("real-nvp-digits", (1, 8, 8))
    config = make_config({"preset": "real-nvp-digits", "steps": 2})
    before = make_optimizer(flow, config)
    flow.log_prob(torch.rand(4, 1, 8, 8)).mean().backward()
    before.step()
    saved = {name: tensor.clone().contiguous() for name, tensor in optimizer_tensors(flow, before).items()}
    after = make_optimizer(flow, config)
    load_optimizer_tensors(flow, after, saved)
    laid_out_otherwise = 0
    for p in flow.parameters():
        assert after.state[p]["exp_avg"].stride() == p.stride()
        assert torch.equal(after.state[p]["exp_avg"], before.state[p]["exp_avg"])
        laid_out_otherwise += not p.is_contiguous()
    assert laid_out_otherwise > 0


def test_bf16_is_for_the_networks_alone():
    flow = build_flow(make_config({**DIGITS, "preset": "real-nvp-digits", "options": {"channels": 4}}), (1, 8, 8))
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    x, seen = torch.rand(5, 1, 8, 8), []
    coupling = flow.transform[1].levels[0][0]
    coupling.net.register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    exact = flow.log_prob(x)
    with conditioners_in("bf16", flow, torch.device("cpu")):
        rough = flow.log_prob(x)
        rough.sum().backward()
        z, log_det = flow.transform(x)
        back, log_det_back = flow.transform.inverse(z)
    assert set(seen) == {torch.float32, torch.bfloat16}
    assert rough.dtype == torch.float32
    assert all(p.grad.dtype == torch.float32 and torch.isfinite(p.grad).all() for p in flow.parameters())
    assert 0 < (rough - exact).abs().max() < 0.05 * exact.abs().max()
    # one map, applied and undone: the log-determinants are those of that map
    assert torch.allclose(back, x, atol=1e-4)
    assert torch.allclose(log_det, -log_det_back, atol=1e-2)
    assert torch.equal(flow.log_prob(x), exact)  # and it is over afterwards
    with (
        pytest.raises(ValueError, match="expected a precision of float32, bf16, found 'fp8'"),
        conditioners_in("fp8", flow, torch.device("cpu")),
    ):
        pass


@pytest.mark.parametrize(
    ("name", "cuda", "mps", "expected"),
    [
        ("auto", True, True, "cuda"),
        ("auto", False, True, "mps"),
        ("auto", False, False, "cpu"),
        ("cpu", True, True, "cpu"),
        ("cuda", True, False, "cuda"),
        ("mps", True, True, "mps"),
    ],
)
def test_devices(monkeypatch, name, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert choose_device(name) == torch.device(expected)


def test_devices_that_are_not_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="cuda was asked for and is not there"):
        choose_device("cuda")
    with pytest.raises(DeviceError, match="expected a device of auto, cpu, cuda, mps, found 'tpu'"):
        choose_device("tpu")


# the numbers


@pytest.mark.parametrize("samples", [1, 3])
def test_scores_are_bits_per_dim(samples):
    flow = build_flow(make_config(DIGITS), (1, 8, 8)).double()
    test = load_test("digits")
    found = score(flow, test, samples, seed=4)
    torch.manual_seed(4)
    expected = bits_per_dim(flow, test.values, 17, samples, batch_size=256)
    assert (found.bits_per_dim, found.bits_per_dim_error) == (expected.bits, expected.standard_error)
    assert (found.nats, found.count, found.samples) == (expected.nats, 297, samples)
    assert found.nats_error == pytest.approx(expected.standard_error * 64 * math.log(2))
    difference = found.log_density - (found.nats + 64 * math.log(17))
    assert difference == pytest.approx(0, abs=1e-9) if samples == 1 else difference < 0


@pytest.mark.parametrize("model", ["maf", "real-nvp"])
def test_the_density_of_logits_is_that_of_a_flow_without_its_logit(model):
    """One flattens the image first, the other does not. Logits with their slopes taken off by hand."""
    options = {"maf": {"layers": 1, "hidden": (8,)}, "real-nvp": {"channels": 4, "blocks": 1, "scales": 1}}[model]
    torch.manual_seed(0)
    flow = build(model, (1, 8, 8), alpha=0.01, **options).double().eval()
    test = load_test("digits")
    found = score(flow, test, seed=4, logits=True).named("test")
    torch.manual_seed(4)
    bits_per_dim(flow, test.values, 17, batch_size=256)  # draws first
    y = torch.cat([dequantize(part, 17, dtype=torch.float64) for part in test.values.split(256)])
    inner = 0.01 + 0.98 * y
    slopes = (0.98 / (inner * (1 - inner))).log().flatten(1).sum(1)
    expected = flow.log_prob(y) - slopes
    assert found["test_logit_density_nats"] == pytest.approx(expected.mean().item(), rel=1e-9)
    assert found["test_logit_density_nats_standard_error"] == pytest.approx(expected.std().item() / 297**0.5, rel=1e-9)
    assert "test_logit_density_nats" not in score(flow, test, seed=4).named("test")
    nice = build("nice", (1, 8, 8), hidden=(8,)).double()  # has no logit
    assert "test_logit_density_nats" not in score(nice, test, logits=True).named("test")


def test_points_have_nats_and_no_bits():
    flow = build_flow(make_config(MOONS), (2,)).double()
    test = load_test("two-moons")
    found = score(flow, test)
    expected = flow.log_prob(test.values.double())
    assert found.nats == pytest.approx(expected.mean().item())
    assert found.nats_error == pytest.approx(expected.std().item() / 100)
    assert set(found.named("test")) == {"test_nats", "test_nats_standard_error"}
    assert score(flow, replace(test, values=test.values[:1])).named("test")["test_nats_standard_error"] is None


def test_denormal_numbers_are_zero_for_a_while():
    """Arithmetic with them is slow, so training and scoring do without; what was before comes back."""
    can = torch.set_flush_denormal(True)
    torch.set_flush_denormal(False)
    tiny = torch.tensor(1e-38)
    assert (tiny * 1e-3).item() != 0
    with denormals_as_zero():
        assert ((tiny * 1e-3).item() == 0) is can
        with denormals_as_zero():
            pass
        assert ((tiny * 1e-3).item() == 0) is can
    assert (tiny * 1e-3).item() != 0
