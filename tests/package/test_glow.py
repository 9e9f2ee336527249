"""Glow: normalization by the first batch, 1 × 1 convolutions, the step, the model."""

import copy
import math
import pickle

import pytest
import torch
from constructors import flow_step
from torch import distributed, multiprocessing
from torch.optim.swa_utils import AveragedModel

from course_flows import Compose
from course_flows.conv_nets import ConvNet
from course_flows.models import SigmoidScale, build
from course_flows.training.checkpoint import load_weights, save_weights
from course_flows.transforms import ActNorm, AffineCoupling, ChannelPermutation, Conv1x1, FlowStep, channel_mask

SHAPES = {"vectors": ((40, 3), 1), "images": ((6, 3, 4, 5), 3)}
SMALL = {"levels": 2, "steps": 2, "channels": 8}


def batch(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(*shape, dtype=torch.float64, generator=generator)
    spread = torch.tensor([0.01, 1.0, 300.0], dtype=torch.float64)
    return x.transpose(1, -1).mul(spread).add(torch.tensor([5.0, -2.0, 100.0])).transpose(1, -1)


# normalization by the first batch


@pytest.mark.parametrize(("shape", "ndim"), SHAPES.values(), ids=SHAPES)
def test_the_first_batch_of_training_comes_out_normal_and_later_ones_change_nothing(shape, ndim):
    norm = ActNorm(3, ndim, eps=1e-12).double()
    untouched = copy.deepcopy(norm).eval()
    x = batch(shape)
    assert torch.equal(untouched(x)[0], x)
    assert torch.equal(norm.inverse(x)[0], x)
    assert not untouched.initialized
    assert not norm.initialized
    z, log_det = norm(x)
    features = z.transpose(0, 1).flatten(1)
    torch.testing.assert_close(features.mean(1), torch.zeros(3, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(features.var(1, correction=0), torch.ones(3, dtype=torch.float64), atol=1e-6, rtol=0)
    assert log_det[0].abs() > 1
    assert norm.initialized
    state = copy.deepcopy(norm.state_dict())
    norm(batch(shape, seed=1) + 7)
    assert all(torch.equal(state[name], value) for name, value in norm.state_dict().items())


def test_a_loaded_flow_is_not_set_again(tmp_path):
    """The bug that most implementations have: the first batch after loading overwrites what was learned."""
    flow = build("glow-digits", (1, 8, 8), **SMALL)
    first, second = torch.rand(2, 8, 1, 8, 8)
    flow.log_prob(first)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.05 * torch.randn_like(p))
    save_weights(flow, tmp_path / "glow.safetensors")
    loaded = build("glow-digits", (1, 8, 8), **SMALL, seed=5)
    load_weights(loaded, tmp_path / "glow.safetensors")
    for copied in (loaded, copy.deepcopy(flow), pickle.loads(pickle.dumps(flow))):
        assert copied.training
        assert torch.equal(copied.log_prob(second), flow.log_prob(second))
        state = copied.state_dict()
        assert all(torch.equal(state[name], value) for name, value in flow.state_dict().items())


def test_a_flow_that_was_saved_before_its_first_batch_still_waits_for_it():
    fresh, used = ActNorm(3), ActNorm(3)
    used(torch.randn(20, 3))
    used.load_state_dict(fresh.state_dict())
    z, _ = used(torch.randn(50, 3) * 9)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)


def test_a_state_that_was_copied_into_the_buffers_counts_as_set():
    """As `torch.optim.swa_utils` does, which loads nothing: the average must not be set again by its first batch."""
    flow = build("glow-digits", (1, 8, 8), **SMALL)
    average = AveragedModel(flow, use_buffers=True)
    x = torch.rand(8, 1, 8, 8)
    flow.log_prob(x)
    average.update_parameters(flow)
    state = copy.deepcopy(average.module.state_dict())
    average.module.log_prob(x**3)
    assert all(torch.equal(state[name], value) for name, value in average.module.state_dict().items())


@pytest.mark.parametrize("bad", [torch.rand(0, 3), torch.tensor([[1.0, 2.0, math.nan]]), torch.full((2, 3), math.inf)])
def test_a_first_batch_without_numbers_is_refused_and_the_next_one_sets_the_layer(bad):
    norm = ActNorm(3)
    with pytest.raises(ValueError, match="expects a first batch of finite numbers and at least one point, found shape"):
        norm(bad)
    z, _ = norm(3 + 2 * torch.randn(200, 3))
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3), atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match=r"floating-point numbers, found torch.int64"):
        norm(torch.ones(2, 3, dtype=torch.int64))


def test_a_step_refuses_a_norm_of_vectors_and_one_of_other_channels():
    coupling = AffineCoupling(channel_mask(4), ConvNet(2, 4, 4))
    for norm in (ActNorm(4), ActNorm(5, event_ndim=3)):
        with pytest.raises(ValueError, match=r"ActNorm of images .* with the 4 channels of its mixing, found"):
            FlowStep(norm, Conv1x1(4), coupling)


def test_features_that_do_not_vary_keep_their_scale():
    norm = ActNorm(2)
    z, _ = norm(torch.tensor([[4.0, -3.0]]))
    assert torch.equal(z, torch.zeros(1, 2))
    assert torch.equal(norm.log_scale.detach(), torch.zeros(2))
    nearly = ActNorm(3)  # constants whose mean is rounded, beside a feature that varies a little
    nearly(torch.tensor([0.1, 1234.567, 0.0]).expand(1000, 3) + torch.tensor([0.0, 0.0, 1e-2]) * torch.randn(1000, 1))
    assert nearly.log_scale[:2].tolist() == [0, 0]
    assert nearly.log_scale[2].item() == pytest.approx(math.log(100), abs=0.1)
    one_image = ActNorm(2, event_ndim=3)
    z, _ = one_image(torch.randn(1, 2, 8, 8) * 5)
    torch.testing.assert_close(z.std(dim=(0, 2, 3), correction=0), torch.ones(2), atol=1e-4, rtol=0)


def test_a_first_batch_that_cannot_be_read_is_refused():
    norm = ActNorm(3)
    with pytest.raises(RuntimeError, match=r"first batch outside of torch\.func and torch\.compile"):
        torch.func.vmap(norm)(torch.randn(4, 2, 3))
    norm(torch.randn(4, 3))
    assert torch.func.vmap(norm)(torch.randn(4, 2, 3))[0].shape == (4, 2, 3)


def set_in_a_process(rank, folder):
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    norm = ActNorm(3, event_ndim=3).double()
    norm(batch((6, 3, 4, 5))[: 2 + 4 * rank] if rank == 0 else batch((6, 3, 4, 5))[2:])
    torch.save(norm.state_dict(), f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


def test_processes_that_train_together_start_equal(tmp_path, monkeypatch):
    """Parts of 2 and of 4 images give what the 6 give together, not the mean of two answers."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    multiprocessing.spawn(set_in_a_process, args=(str(tmp_path),), nprocs=2)
    whole = ActNorm(3, event_ndim=3).double()
    whole(batch((6, 3, 4, 5)))
    for rank in range(2):
        part = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        for name, value in whole.state_dict().items():
            torch.testing.assert_close(part[name], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("wrong", [{"features": 0}, {"features": 2, "event_ndim": 2}, {"features": 2, "eps": 0.0}])
def test_actnorm_refuses_what_makes_no_sense(wrong):
    with pytest.raises(ValueError, match="ActNorm expects at least 1 feature"):
        ActNorm(**wrong)


# mixing channels


@pytest.mark.parametrize("kind", ["plain", "lu", "qr"])
def test_a_1x1_convolution_starts_at_a_rotation_and_counts_every_pixel(kind):
    conv = Conv1x1(5, kind, seed=3).double()
    weight = conv.linear.weight()
    torch.testing.assert_close(weight @ weight.mT, torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)
    with torch.no_grad():
        for p in conv.parameters():
            p.add_(0.3 * torch.randn_like(p))
    x = torch.randn(2, 5, 3, 4, dtype=torch.float64)
    z, log_det = conv(x)
    expected = 12 * torch.linalg.slogdet(conv.linear.weight()).logabsdet
    torch.testing.assert_close(log_det, expected.expand(2), rtol=1e-10, atol=1e-10)
    assert expected.abs() > 0.5
    torch.testing.assert_close(z, torch.einsum("ij,bjhw->bihw", conv.linear.weight(), x), rtol=1e-10, atol=1e-10)


def test_a_free_matrix_can_become_singular_and_says_so_while_factors_cannot():
    plain, factored = Conv1x1(2, "plain"), Conv1x1(2, "lu")
    with torch.no_grad():
        plain.linear.matrix.copy_(torch.tensor([[1.0, 2.0], [2.0, 4.0]]))
        for p in factored.parameters():
            p.fill_(-3.0)
    for direction in (plain, plain.inverse):
        with pytest.raises(ValueError, match="expects an invertible matrix"):
            direction(torch.randn(1, 2, 2, 2))
    z, log_det = factored(torch.ones(1, 2, 2, 2))
    assert log_det.item() == pytest.approx(4 * 2 * -3.0)
    torch.testing.assert_close(factored.inverse(z)[0], torch.ones(1, 2, 2, 2), rtol=1e-3, atol=1e-3)


def test_mixings_refuse_other_kinds_and_other_channels():
    with pytest.raises(ValueError, match="kind of plain, lu or qr, found 'svd'"):
        Conv1x1(2, "svd")
    for mixing in (Conv1x1(2), ChannelPermutation.reversal(2), flow_step(Conv1x1(4))):
        for direction in (mixing, mixing.inverse):
            with pytest.raises(ValueError, match=r"shape \(\*batch, \d, H, W\), found \(1, 3, 2, 2\)"):
                direction(torch.zeros(1, 3, 2, 2))


@pytest.mark.parametrize("mixing", [Conv1x1(4, "lu"), Conv1x1(4, "qr"), ChannelPermutation.reversal(4)], ids=repr)
def test_a_step_is_the_composition_of_its_parts(mixing):
    """The normalization is folded into the convolution; in the first batch of training too."""
    step = flow_step(copy.deepcopy(mixing)).double()
    plain = Compose(copy.deepcopy([step.norm, step.mixing, step.coupling]))
    x = 3 * torch.randn(5, 4, 3, 2, dtype=torch.float64) + 1
    for _ in range(2):
        for a, b in zip(step(x), plain(x), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)
    assert step.norm.initialized
    for a, b in zip(step.inverse(x), plain.inverse(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


def test_the_network_starts_normal_inside_and_zero_outside():
    net = ConvNet(2, 3, 16)
    hidden = []
    net.second.register_forward_hook(lambda module, inputs, out: hidden.append(out.clone()))
    out = net(5 + 3 * torch.randn(8, 2, 6, 6))
    assert torch.equal(out, torch.zeros(8, 3, 6, 6))
    features = hidden[0].transpose(0, 1).flatten(1)
    torch.testing.assert_close(features.mean(1), torch.zeros(16), atol=1e-4, rtol=0)
    torch.testing.assert_close(features.std(1), torch.ones(16), atol=1e-2, rtol=0)


# the model


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mixing": "qr", "affine": False},
        {"mixing": "plain", "scale": "sigmoid"},
        {"mixing": "reverse", "alpha": 0.05},
    ],
    ids=str,
)
@pytest.mark.parametrize("conditional", [True, False], ids=["learned prior", "fixed prior"])
def test_the_density_is_that_of_the_jacobian(options, conditional):
    flow = build("glow", (2, 4, 4), **SMALL, **options, conditional_prior=conditional).double()
    x = torch.rand(5, 2, 4, 4, dtype=torch.float64)
    flow.log_prob(x)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn_like(p))
    flow.eval()
    z, log_det = flow.transform(x)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.transform(v[None])[0].flatten(), x[i])
        exact = torch.linalg.slogdet(jacobian.reshape(32, 32)).logabsdet
        assert exact.abs() > 1
        assert log_det[i].item() == pytest.approx(exact.item(), abs=1e-9)
    torch.testing.assert_close(flow.decode(z), x, rtol=1e-9, atol=1e-9)
    gradients = torch.autograd.grad(flow.log_prob(x).sum(), list(flow.parameters()))
    assert all(g.abs().sum() > 0 for g in gradients)


def test_couplings_start_as_the_identity_but_not_with_the_published_scale():
    x = torch.randn(3, 4, 2, 2)
    for scale, expected in (("tanh", 0.0), ("sigmoid", 8 * math.log(0.01 + 0.99 / (1 + math.exp(-2))))):
        flow = build("glow", (1, 4, 4), **SMALL, scale=scale)
        step = next(part for part in flow.modules() if isinstance(part, FlowStep))
        assert step.coupling(x)[1][0].item() == pytest.approx(expected, abs=1e-5)


def test_a_class_changes_density_and_samples():
    flow = build("glow", (1, 4, 4), **SMALL, classes=3)
    x = torch.rand(6, 1, 4, 4)
    one_hot = torch.eye(3)[:, :, None, None]
    flow.log_prob(x, one_hot[torch.tensor([0, 1, 2, 0, 1, 2])])
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.1 * torch.randn_like(p))
    by_class = torch.stack([flow.log_prob(x, one_hot[k].expand(6, -1, -1, -1)) for k in range(3)])
    assert (by_class[0] - by_class[1]).abs().min() > 1e-3
    assert flow.sample(4, context=one_hot[1].expand(4, -1, -1, -1)).shape == (4, 1, 4, 4)
    with pytest.raises(ValueError, match="expects a context"):
        flow.log_prob(x)


def test_the_sigmoid_scale_never_enlarges_and_has_a_floor():
    log_scale = SigmoidScale(0.02)(torch.tensor([-1e4, -3.0, 0.0, 1e4]))
    assert log_scale[0].item() == pytest.approx(math.log(0.02), abs=1e-5)
    assert (log_scale.diff() > 0).all()
    assert log_scale[-1].item() == 0
    with pytest.raises(ValueError, match="floor from 0 to below 1, found 1"):
        SigmoidScale(1)


def test_wrong_options_are_refused():
    for shape, options in (((1, 6, 8), {"levels": 2}), ((1, 8), {}), ((1, 8, 8), {"levels": 0})):
        with pytest.raises(ValueError, match="divisible by"):
            build("glow", shape, **options)
    for options in ({"steps": -1}, {"channels": 0}, {"classes": -1}):
        with pytest.raises(ValueError, match="glow expects at least 1 step and 1 channel"):
            build("glow", (1, 8, 8), **options)
    with pytest.raises(ValueError, match="additive ones have none"):
        build("glow", (1, 8, 8), scale="sigmoid", affine=False)
    for options in ({"mixing": "rotate"}, {"scale": "exp"}):
        with pytest.raises(ValueError, match="glow expects a mixing of"):
            build("glow", (1, 8, 8), **options)


def test_a_loaded_coupling_with_a_convolutional_network_keeps_its_place():
    """Couplings of another kind in the step work too."""
    step = FlowStep(ActNorm(4, 3), Conv1x1(4), AffineCoupling(channel_mask(4, flip=True), ConvNet(2, 4, 4)))
    x = torch.randn(7, 4, 2, 2)
    z, log_det = step(x)
    torch.testing.assert_close(step.inverse(z)[0], x, rtol=1e-4, atol=1e-4)
    assert log_det.shape == (7,)
