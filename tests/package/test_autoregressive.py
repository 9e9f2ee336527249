"""MADE and the flows built on it: who sees whom, three inverses, MAF and IAF as one another's inverse."""

import itertools

import pytest
import torch

from course_flows.made import MADE, hidden_degrees, input_degrees
from course_flows.models.autoregressive import iaf, made, maf
from course_flows.nets import MLP
from course_flows.transforms import AffineCoupling, InverseAutoregressive, MaskedAutoregressive, half_mask
from course_flows.transforms.incremental import FEW

NETS = {
    "two layers": {"hidden": (12, 9)},
    "no hidden layer": {"hidden": ()},
    "one unit": {"hidden": (1,)},
    "fewer units than inputs": {"hidden": (3, 2)},
    "shuffled": {"hidden": (12,), "order": [3, 1, 0, 5, 4, 2]},
    "random degrees": {"hidden": (12, 9), "seed": 3},
    "residual": {"hidden": (8,) * 5, "residual": True, "order": [5, 4, 3, 2, 1, 0]},
    "context": {"hidden": (8, 8), "context_features": 3},
    "residual with context": {"hidden": (8,) * 3, "residual": True, "context_features": 3, "seed": 1},
    "context alone": {"hidden": (), "context_features": 3},
}
D = 6
each_net = pytest.mark.parametrize("options", NETS.values(), ids=NETS)


def moved(net: torch.nn.Module, size: float = 0.4) -> torch.nn.Module:
    net = net.double()
    with torch.no_grad():
        for p in net.parameters():
            p.add_(size * torch.randn_like(p))
    return net


def context_for(options, *batch):
    count = options.get("context_features", 0)
    return torch.randn(*batch, count, dtype=torch.float64) if count else None


@each_net
def test_an_output_sees_exactly_the_inputs_before_it(options):
    """Smooth activations, so that a dependence shows in the Jacobian; with enough units each input before is seen."""
    net = moved(MADE(D, 2, activation="tanh", **options))
    seen = torch.autograd.functional.jacobian(
        lambda v: net(v, context_for(options)), torch.randn(D, dtype=torch.float64)
    )
    seen = (seen.unflatten(0, (2, D)) != 0).any(dim=0)
    place = input_degrees(D, options.get("order"))
    before = place[None, :] < place[:, None]
    assert not (seen & ~before).any()
    if min(options["hidden"], default=D) >= D - 1 and "seed" not in options:
        assert torch.equal(seen, before)


def test_a_context_reaches_every_output_also_the_first():
    net = moved(MADE(4, 2, (8,), context_features=2, activation="tanh"))
    x = torch.randn(4, dtype=torch.float64)
    seen = torch.autograd.functional.jacobian(lambda c: net(x, c), torch.randn(2, dtype=torch.float64))
    assert (seen != 0).all()


def test_degrees():
    assert input_degrees(4, [2, 0, 3, 1]).tolist() == [2, 4, 1, 3]
    for units, features in itertools.product((1, 3, 8, 50), (2, 3, 9)):
        found = hidden_degrees(units, features)
        assert torch.equal(found, found.sort().values)
        assert found.min() >= 1
        assert found.max() <= features - 1
        counts = torch.bincount(found, minlength=features)[1:]
        assert counts.max() - counts.min() <= 1
    assert hidden_degrees(5, 5, lowest=0).tolist() == [0, 1, 2, 3, 4]
    drawn = hidden_degrees(200, 9, seed=1)
    assert set(drawn.tolist()) == set(range(1, 9))
    assert torch.equal(drawn, hidden_degrees(200, 9, seed=1))


@pytest.mark.parametrize("batch", [(3, 5), (2, FEW)], ids=["few points", "many points"])
@pytest.mark.parametrize("bound", [2.0, None])
@each_net
def test_three_inverses_are_one(options, bound, batch):
    flow = MaskedAutoregressive(moved(MADE(D, 2, **options)), bound=bound)
    x, context = 2 * torch.randn(*batch, D, dtype=torch.float64), context_for(options, *batch)
    z, log_det = flow(x, context)
    assert log_det.abs().max() > 0.1
    for method in ("incremental", "sequential", "fixed point"):
        flow.method = method
        with torch.no_grad():
            back, inverse_log_det = flow.inverse(z, context)
        torch.testing.assert_close(back, x, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(inverse_log_det, -log_det, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("points", [4, FEW + 1])
@pytest.mark.parametrize(
    ("features", "hidden", "order"),
    [
        (784, (300,), "as it is"),
        (784, (1024,), "as it is"),
        (784, (1024,), "reversed"),
        (784, (1024,), "random"),
        (100, (64, 64), "random"),
        (2, (1024,), "reversed"),
        (1, (4,), "as it is"),
    ],
)
def test_the_incremental_inverse_is_that_of_d_passes(features, hidden, order, points):
    orders = {"as it is": None, "reversed": range(features)[::-1], "random": torch.randperm(features)}
    flow = MaskedAutoregressive(moved(MADE(features, 2, hidden, orders[order]), 0.02))
    z = torch.randn(points, features, dtype=torch.float64)
    with torch.no_grad():
        x, log_det = flow.inverse(z)
        again, forward_log_det = flow(x)
        torch.testing.assert_close(again, z, rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(forward_log_det, -log_det, rtol=1e-11, atol=1e-11)
        if features <= 100:
            flow.method = "sequential"
            for a, b in zip(flow.inverse(z), (x, log_det), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_context_may_be_shared_by_a_batch():
    flow = MaskedAutoregressive(moved(MADE(D, 2, (8,), context_features=3)))
    z, shared = torch.randn(4, 5, D, dtype=torch.float64), torch.randn(4, 1, 3, dtype=torch.float64)
    with torch.no_grad():
        for context in (shared, shared[0, 0]):
            whole = context.expand(4, 5, 3)
            for a, b in zip(flow.inverse(z, context), flow.inverse(z, whole), strict=True):
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_gradients_flow_through_the_inverse():
    flow = MaskedAutoregressive(moved(MADE(4, 2, (9,), activation="tanh")))
    z = torch.randn(2, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: flow.inverse(v), (z,))


def test_a_coupling_is_the_special_case():
    """Constants for the first half, and a second half that sees the first alone: the coupling, from z to x."""
    coupling = AffineCoupling(half_mask(4), moved(MLP(2, 4, (8,), activation="relu")), bound=2.0).double()
    first, last = coupling.net.layers[0], coupling.net.layers[-1]
    net = MADE(4, 2, (8,)).double()
    net.load_state_dict({**net.state_dict(), "degrees_1": torch.full((8,), 2)})
    with torch.no_grad():
        for p in net.parameters():
            p.zero_()
        net.layers[0].weight[:, :2] = first.weight
        net.layers[0].bias.copy_(first.bias)
        for rows, part in ((slice(2, 4), slice(0, 2)), (slice(6, 8), slice(2, 4))):  # alpha and mu of the second half
            net.last.weight[rows], net.last.bias[rows] = last.weight[part], last.bias[part]
    autoregressive = MaskedAutoregressive(net, bound=2.0)
    z = torch.randn(6, 4, dtype=torch.float64)
    x, log_det = coupling(z)
    assert log_det.abs().min() > 0.01
    for a, b in zip(autoregressive.inverse(z), (x, log_det), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    for a, b in zip(autoregressive(x), coupling.inverse(x), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_a_saved_network_keeps_order_and_degrees():
    saved = moved(MADE(D, 2, (12, 9), order=[3, 1, 0, 5, 4, 2], seed=7))
    loaded = MADE(D, 2, (12, 9)).double()
    loaded.load_state_dict(saved.state_dict())
    x = torch.randn(4, D, dtype=torch.float64)
    assert torch.equal(loaded(x), saved(x))
    assert torch.equal(loaded.order, saved.order)


def test_iaf_is_maf_inverted_and_its_alpha_has_the_other_sign():
    net = moved(MADE(4, 2, (9,)))
    layer, inverted = MaskedAutoregressive(net, bound=None), InverseAutoregressive(net, bound=None)
    x = torch.randn(5, 4, dtype=torch.float64)
    for a, b in zip(layer(x), inverted.inverse(x), strict=True):
        assert torch.equal(a, b)
    alpha, mu = net(x).chunk(2, dim=-1)
    sigma, m = (-alpha).exp(), -mu * (-alpha).exp()  # as the paper of IAF writes it
    torch.testing.assert_close(inverted.inverse(x)[0], sigma * x + m, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "build",
    [
        lambda: maf(3, layers=2, hidden=(8,)),
        lambda: maf(3, layers=2, hidden=(8, 8), norm="act", random_degrees=True),
        lambda: maf(3, layers=2, hidden=(8,) * 3, norm=None, residual=True, activation="elu"),
        lambda: made(3, hidden=(8,)),
        lambda: iaf(3, layers=2, hidden=(8,)),
        lambda: maf((1, 2, 2), layers=2, hidden=(8,), alpha=0.05),
    ],
    ids=["maf", "maf with actnorm", "residual maf", "made", "iaf", "images"],
)
def test_models_have_exact_densities_and_samples(build):
    torch.manual_seed(1)
    flow = moved(build()).eval()
    x = torch.rand(4, *flow.event_shape, dtype=torch.float64)
    z, log_det = flow.transform(x)
    for i in range(2):
        jacobian = torch.autograd.functional.jacobian(lambda v: flow.transform(v[None])[0].flatten(), x[i])
        exact = torch.linalg.slogdet(jacobian.reshape(x[i].numel(), -1)).logabsdet
        assert log_det[i].item() == pytest.approx(exact.item(), abs=1e-9)
    assert log_det.abs().max() > 0.05
    torch.testing.assert_close(flow.decode(z), x, rtol=1e-9, atol=1e-9)
    drawn, log_prob = flow.rsample_and_log_prob((7,))
    torch.testing.assert_close(flow.log_prob(drawn), log_prob, rtol=1e-6, atol=1e-6)  # logits lose digits near 0
    assert flow.sample(5).shape == (5, *flow.event_shape)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MADE(0), "at least 1 feature"),
        (lambda: MADE(3, hidden=(4, 4), residual=True), "pairs of further ones"),
        (lambda: MADE(3, order=[0, 0, 1]), "order with each of 0 to 2 once"),
        (lambda: MADE(3)(torch.zeros(4)), r"shape \(\*batch, 3\), found \(4,\)"),
        (lambda: MADE(3)(torch.zeros(3), torch.zeros(1)), "expects no context"),
        (lambda: MADE(3, context_features=2)(torch.zeros(3)), r"context of shape \(\*batch, 2\), found none"),
        (lambda: MaskedAutoregressive(MADE(3, 1)), "MADE with 2 parameters a value"),
        (lambda: MaskedAutoregressive(MADE(3), method="guess"), "method of incremental, sequential, fixed point"),
        (lambda: maf(3, norm="layer"), "norm of batch, act or None, found 'layer'"),
    ],
)
def test_mistakes_are_said_in_a_sentence(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_large_batches_are_scored_in_parts_as_in_one_pass():
    flow = MaskedAutoregressive(moved(MADE(D, 2, (16,))))
    x = torch.randn(2, 2500, D, dtype=torch.float64)
    expected = flow(x)  # gradients are wanted: one pass
    with torch.no_grad():
        found = flow(x)
    torch.testing.assert_close(found, tuple(value.detach() for value in expected), rtol=1e-13, atol=1e-13)
