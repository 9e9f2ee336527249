"""Autoregressive layers where they are easily wrong: hooks, torch.func, contexts, the certificate, empty batches."""

import pytest
import torch
from torch.func import jacfwd, jacrev, vmap

from course_flows.made import MADE
from course_flows.mixture import AutoregressiveMixture
from course_flows.models import iaf, made, maf
from course_flows.transforms import InverseAutoregressive, LearnedTanh, MaskedAutoregressive
from course_flows.transforms.coupling import Tanh

METHODS = ("incremental", "sequential", "fixed point")
each_method = pytest.mark.parametrize("method", METHODS)


def moved(module: torch.nn.Module, size: float = 0.4) -> torch.nn.Module:
    module = module.double()
    with torch.no_grad():
        for p in module.parameters():
            p.add_(size * torch.randn_like(p))
    return module


def layer(method: str = "incremental", features: int = 4, **options) -> MaskedAutoregressive:
    return MaskedAutoregressive(moved(MADE(features, 2, (9, 9), activation="tanh", **options)), method=method)


class Halved(MADE):
    def forward(self, x, context=None):
        return 0.5 * super().forward(x, context)


@each_method
@pytest.mark.parametrize("what", ["hook on the network", "hook on a layer", "forward of its own", "forward replaced"])
def test_the_inverse_inverts_what_the_network_does_when_it_is_called(method, what):
    flow = layer(method)
    if what == "forward of its own":
        flow.net = moved(Halved(4, 2, (9, 9)))
    elif what == "forward replaced":
        given = flow.net.forward
        flow.net.forward = lambda x, context=None: 0.5 * given(x, context)
    else:
        hooked = flow.net if what == "hook on the network" else flow.net.layers[0]
        hooked.register_forward_hook(lambda module, inputs, out: 1.5 * out)
    x = torch.randn(5, 4, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = flow(x)
        found = flow.inverse(z)
    torch.testing.assert_close(found, (x, -log_det), rtol=1e-12, atol=1e-12)


class HalvedLinear(torch.nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return 0.5 * self.layer(x)


class HalvedTanh(Tanh):
    def forward(self, raw):
        return 0.5 * super().forward(raw)


@each_method
@pytest.mark.parametrize(
    "what", ["limits of its own", "a kind of Tanh", "a hook", "another layer", "another last layer"]
)
@pytest.mark.parametrize("points", [4, 5, 700])  # as many as coordinates, few, many
def test_the_bound_and_the_layers_are_used_as_they_are(method, what, points):
    flow = layer(method)
    if what == "limits of its own":
        flow.bound = LearnedTanh(4).double()
        with torch.no_grad():
            flow.bound.limit.copy_(torch.tensor([0.3, 0.6, 0.9, 1.2]))
    elif what == "a kind of Tanh":
        flow.bound = HalvedTanh(1.0)
    elif what == "a hook":
        flow.bound.register_forward_hook(lambda module, inputs, out: 0.5 * out)
    elif what == "another layer":
        flow.net.layers[1] = HalvedLinear(flow.net.layers[1])
    else:
        flow.net.activation, flow.net.last = torch.nn.ReLU(), HalvedLinear(flow.net.last)  # else it could be fused
    x = torch.randn(points, 4, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = flow(x)
        found = flow.inverse(z)
        raw, mu = flow.net(x).chunk(2, dim=-1)
        torch.testing.assert_close(z, (x - mu) * (-flow.bound(raw)).exp(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found, (x, -log_det), rtol=1e-11, atol=1e-11)


class Doubled(torch.nn.Module):
    def forward(self, weight):
        return 2.0 * weight


def test_weights_in_strips_that_are_computed_are_cleared_too():
    flow = MaskedAutoregressive(MADE(520, 2, (530,)).double())
    for linear in (*flow.net.layers, flow.net.last):
        linear.weight.data.add_(0.1)  # also where no weights are
        torch.nn.utils.parametrize.register_parametrization(linear, "weight", Doubled())
        linear.parametrizations.weight.original.data.mul_(0.25)
    x = torch.randn(3, 520, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = flow(x)
        found = flow.inverse(z)
    torch.testing.assert_close(found, (x, -log_det), rtol=1e-9, atol=1e-9)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, in jacfwd
@each_method
def test_forward_mode_derivatives_of_the_inverse_without_autograd(method):
    flow = layer(method)
    z, direction = torch.randn(2, 4, dtype=torch.float64)
    expected = jacrev(lambda v: flow.inverse(v)[0])(z) @ direction
    with torch.autograd.forward_ad.dual_level(), torch.no_grad():
        x, _ = flow.inverse(torch.autograd.forward_ad.make_dual(z, direction))
        tangent = torch.autograd.forward_ad.unpack_dual(x).tangent
    torch.testing.assert_close(tangent, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated:DeprecationWarning")  # torch's own, in jacfwd
@each_method
@pytest.mark.parametrize("grad", [True, False], ids=["grad", "no grad"])
def test_torch_func_takes_the_inverse_apart(method, grad):
    flow = layer(method)
    z = torch.randn(5, 4, dtype=torch.float64)
    x = flow.inverse(z)[0]
    expected = torch.linalg.inv(torch.autograd.functional.jacobian(lambda v: flow(v)[0], x[0]))
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(vmap(lambda v: flow.inverse(v)[0])(z), x, rtol=1e-12, atol=1e-12)
        for jacobian in (jacrev, jacfwd):
            found = jacobian(lambda v: flow.inverse(v)[0])(z[0])
            torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


def test_a_fixed_point_is_one_to_the_last_bit_and_is_seen_early():
    """The certificate: the residual of what is returned is 0. A network that sees little settles after few passes."""
    flow = layer("fixed point", 12)
    z = torch.randn(6, 12, dtype=torch.float64)

    def solved() -> tuple[torch.Tensor, int]:
        calls = []
        hook = flow.net.register_forward_hook(lambda *_: calls.append(1))
        with torch.no_grad():
            x, log_det = flow.inverse(z)
        hook.remove()
        with torch.no_grad():
            raw, mu = flow.net(x).chunk(2, dim=-1)
        alpha = flow.bound(raw)
        assert torch.equal(x, mu + z * alpha.exp())
        assert torch.equal(log_det, alpha.sum(dim=-1))
        return x, len(calls)

    _, passes = solved()
    assert 3 < passes <= 13
    flow.net.load_state_dict({**flow.net.state_dict(), "degrees_1": torch.ones(9), "degrees_2": torch.ones(9)})
    _, passes = solved()  # all that is seen is the first coordinate
    assert passes == 3
    with torch.no_grad():
        flow.net.last.weight.zero_()
    x, passes = solved()  # nothing is seen
    assert passes == 2
    assert x.isfinite().all()


def test_the_derivative_of_a_fixed_point_does_not_end_with_the_passes_that_change_it():
    """Where the start is the solution nothing changes in the first pass; the derivative is not diagonal for that."""
    flow = layer("fixed point")
    with torch.no_grad():
        for p in flow.parameters():
            if p.dim() == 1:
                p.zero_()
    z = torch.zeros(4, dtype=torch.float64)
    expected = torch.linalg.inv(torch.autograd.functional.jacobian(lambda v: flow(v)[0], z))
    assert expected.tril(-1).abs().max() > 0.05
    found = torch.autograd.functional.jacobian(lambda v: flow.inverse(v)[0], z)
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)


@each_method
def test_a_context_belongs_to_the_points(method):
    flow = layer(method, context_features=3)
    x = torch.randn(5, 4, dtype=torch.float64)
    for shape, expected in (((4, 3), "5, 3"), ((2, 5, 3), "5, 3"), ((5, 2), r"\*batch, 3"), ((3, 5), r"\*batch, 3")):
        context = torch.randn(*shape, dtype=torch.float64)
        for direction in (flow.forward, flow.inverse, flow.net):
            with torch.no_grad(), pytest.raises(ValueError, match=rf"MADE expects a context of shape \({expected}\)"):
                direction(x, context)
    with torch.no_grad(), pytest.raises(ValueError, match=r"context of shape \(3,\).* found \(5, 3\)"):
        flow.inverse(x[0], torch.randn(5, 3, dtype=torch.float64))
    plain = layer(method)
    with torch.no_grad(), pytest.raises(ValueError, match=r"MADE expects no context, found one of shape \(5, 3\)"):
        plain.inverse(x, torch.randn(5, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    "build",
    [
        lambda: made(3, hidden=(8,), components=3),
        lambda: maf((1, 2, 2), layers=2, hidden=(8,), components=2),
        lambda: maf(3, layers=2, hidden=(8,), norm="act"),
        lambda: iaf(1, layers=2, hidden=(8,)),
    ],
    ids=["made mog", "maf mog of images", "maf", "iaf"],
)
@pytest.mark.parametrize("batch", [(0,), (2, 0), (2, 3), ()], ids=str)
def test_any_batch_is_scored_and_drawn(build, batch):
    flow = moved(build()).eval()
    x = torch.randn(*batch, *flow.event_shape, dtype=torch.float64)
    found = flow.log_prob(x)
    assert found.shape == batch
    if batch == (2, 3):
        torch.testing.assert_close(found[1, 2], flow.log_prob(x[1, 2]), rtol=1e-12, atol=1e-12)
    assert flow.sample(batch).shape == x.shape


@pytest.mark.parametrize("norm", ["batch", "act", None])
def test_a_conditional_maf_is_a_density_for_each_context(norm):
    flow = moved(maf(2, layers=3, hidden=(8,), context_features=2, norm=norm, activation="tanh"), 0.2).eval()
    context = torch.randn(2, 1, 2, dtype=torch.float64)
    axis = torch.linspace(-40, 40, 801, dtype=torch.float64)
    with torch.no_grad():
        density = flow.log_prob(torch.cartesian_prod(axis, axis).expand(2, -1, 2), context).exp()
        mass = density.sum(dim=1) * (axis[1] - axis[0]) ** 2
        drawn, log_prob = flow.rsample_and_log_prob((2, 50), context)
        torch.testing.assert_close(flow.log_prob(drawn, context), log_prob, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(mass, torch.ones(2, dtype=torch.float64), rtol=0, atol=1e-3)
    assert (density[0] - density[1]).abs().max() > 1e-3


def test_orders_alternate():
    for flow in (maf(3, layers=4, hidden=(8,), components=2), iaf(3, layers=4, hidden=(8,))):
        parts = [getattr(part, "transform", part) for part in flow.transform]
        nets = [part.net for part in parts if isinstance(part, MaskedAutoregressive)]
        nets += [part.net for part in flow.modules() if isinstance(part, AutoregressiveMixture)]
        assert [net.order.tolist() for net in nets] == ([[0, 1, 2], [2, 1, 0]] * 3)[: len(nets)]
        assert len(nets) in (4, 5)


def test_residual_pairs_add_to_what_comes_in():
    plain, residual = MADE(4, 2, (9,)).double(), MADE(4, 2, (9,) * 5, residual=True).double()
    with torch.no_grad():
        for hidden in residual.layers[1:]:
            hidden.weight.zero_()
            hidden.bias.zero_()
    residual.layers[0].load_state_dict(plain.layers[0].state_dict())
    residual.last.load_state_dict(plain.last.state_dict())
    x = torch.randn(5, 4, dtype=torch.float64)
    assert torch.equal(residual(x), plain(x))


def test_the_reverse_kl_of_an_iaf_reaches_every_parameter():
    """A sample carries the gradient of its own log-density: what variational inference needs."""
    flow = moved(iaf(3, layers=2, hidden=(8,), activation="tanh"))
    x, log_prob = flow.rsample_and_log_prob((64,))
    (log_prob + 0.5 * x.square().sum(dim=-1)).mean().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in flow.parameters())


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: MADE(3, hidden=(4, 0)), r"at least 1 unit in each hidden layer, found \(4, 0\)"),
        (lambda: MADE(3, hidden=(-1,)), r"at least 1 unit in each hidden layer, found \(-1,\)"),
        (lambda: MADE(3, context_features=-1), "context_features=-1"),
        (lambda: InverseAutoregressive(MADE(3, 1)), r"a MADE with 2 parameters a value, found one with 1$"),
        (lambda: MaskedAutoregressive(torch.nn.Linear(3, 6)), r"a MADE with 2 parameters a value, found Linear$"),
        (lambda: maf(3, layers=-1), "maf expects 0 or more layers, found -1"),
    ],
)
def test_mistakes_are_said_in_a_line(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_degrees_that_the_stored_weights_do_not_fit_are_refused_in_a_sentence():
    net, other = MADE(64, 2, (2048,)), MADE(64, 2, (2048,), order=torch.randperm(64).tolist())
    with pytest.raises(ValueError, match="order and the degrees"):
        net.load_state_dict(other.state_dict())


def test_a_method_set_later_is_checked():
    flow = layer()
    flow.method = "incremantal"
    with pytest.raises(ValueError, match="a method of incremental, sequential, fixed point, found 'incremantal'"):
        flow.inverse(torch.zeros(2, 4))


def test_degrees_that_do_not_ascend_are_refused():
    """The inverse relies on their order."""
    net = MADE(5, 2, (8,))
    state = net.state_dict()
    with pytest.raises(ValueError, match="expects ascending degrees of hidden units"):
        net.load_state_dict({**state, "degrees_1": state["degrees_1"].flip(0)})


@pytest.mark.parametrize("points", [2, 900], ids=["few points", "many points"])
@pytest.mark.parametrize("features", [20, 600], ids=["masks", "strips"])
@pytest.mark.parametrize("order", ["as it is", "reversed", "random"])
def test_a_context_without_hidden_layers_is_heard_by_the_inverse(features, points, order):
    orders = {"as it is": None, "reversed": range(features)[::-1], "random": torch.randperm(features)}
    flow = MaskedAutoregressive(MADE(features, 2, (), order=orders[order], context_features=3)).double()
    x, context = torch.randn(points, features, dtype=torch.float64), torch.randn(points, 3, dtype=torch.float64)
    with torch.no_grad():
        z, log_det = flow(x, context)
        torch.testing.assert_close(flow.inverse(z, context), (x, -log_det), rtol=1e-9, atol=1e-9)
