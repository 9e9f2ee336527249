"""The fused layer of MAF is the plain one: values, gradients, second derivatives, and where it steps aside."""

import pytest
import torch
from autograd_graph import nodes_behind

from course_flows.made import MADE
from course_flows.masked_linear import SMALL, StripedLinear
from course_flows.transforms import MaskedAutoregressive, fused_autoregressive
from course_flows.transforms.fused_autoregressive import fused_layers, layers_to_fuse

NETS = {
    "two layers": (5, {"hidden": (12, 9)}),
    "no hidden layer": (5, {"hidden": ()}),
    "shuffled": (4, {"hidden": (8,), "order": [3, 0, 2, 1]}),
    "random degrees": (5, {"hidden": (12, 9), "seed": 3}),
    "masks in strips": (20, {"hidden": (150, 160)}),
    "weights in strips": (520, {"hidden": (530,), "order": range(520)[::-1]}),
}
each_net = pytest.mark.parametrize(("features", "options"), NETS.values(), ids=NETS)


class Plain(MADE):
    """The same network; one with a ``forward`` of its own is called as it is."""

    def forward(self, x, context=None):
        return super().forward(x, context)


def layer(kind, features, options) -> MaskedAutoregressive:
    torch.manual_seed(0)
    flow = MaskedAutoregressive(kind(features, 2, **options), bound=1.5).double()
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(0.3 * torch.randn_like(p) / p.shape[-1] ** 0.5)
    return flow


def is_fused(*outputs: torch.Tensor) -> bool:
    """Whether the fused step is in the graph behind all outputs."""
    return all("_FusedBackward" in nodes_behind(output) for output in outputs)


@each_net
def test_values_and_first_and_second_derivatives_are_those_of_the_plain_layer(features, options):
    x = torch.randn(3, 7, features, dtype=torch.float64, requires_grad=True)
    found = []
    for kind in (Plain, MADE):
        flow = layer(kind, features, options)
        leaves = [x, *flow.parameters()]
        z, log_det = flow(x)
        assert is_fused(z, log_det) == (kind is MADE)
        assert log_det.abs().max() > 0.05
        first = torch.autograd.grad(z.sin().sum() + log_det.square().sum(), leaves)
        z, log_det = flow(x)
        again = torch.autograd.grad(z.sin().sum() + log_det.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in again), leaves)
        with torch.no_grad():
            without = flow(x)
        found.append([z, log_det, *without, *first, *again, *second])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@each_net
def test_missing_weights_get_no_gradient(features, options):
    flow = layer(MADE, features, options)
    z, log_det = flow(torch.randn(6, features, dtype=torch.float64))
    (z.square().sum() + log_det.sum()).backward()
    for stage in flow.net.stages():
        gradient = stage.layer.weight.grad
        there = stage.layer.masked_weight(torch.ones_like(gradient)) != 0
        full = gradient if gradient.dim() == 2 else unmasked(stage.layer, gradient)
        assert not full[~there].any()
        assert full[there].count_nonzero() > there.sum() / 4


def unmasked(striped, stored: torch.Tensor) -> torch.Tensor:
    """What is stored in strips, also where no weights are, as a matrix."""
    full = stored.new_zeros(striped.out_features, striped.in_features)
    for strip, block in zip(striped.strips, striped.blocks(stored), strict=True):
        full[strip.rows, strip.columns] = block
    return full


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # forward-mode derivatives in torch itself
@each_net
def test_many_gradients_at_once(features, options):
    flow = layer(MADE, min(features, 20), {**options, "order": None, "hidden": options["hidden"][:1]})
    x = torch.randn(min(features, 20), dtype=torch.float64)
    one_by_one = torch.autograd.functional.jacobian(lambda v: flow(v)[0], x)
    at_once = torch.autograd.functional.jacobian(lambda v: flow(v)[0], x, vectorize=True)
    torch.testing.assert_close(at_once, one_by_one)
    torch.testing.assert_close(torch.func.jacrev(lambda v: flow(v)[0])(x), one_by_one)
    torch.testing.assert_close(torch.func.jacfwd(lambda v: flow(v)[0])(x), one_by_one)


def test_many_gradients_of_the_log_determinant_alone():
    flow = layer(MADE, 5, {"hidden": (8, 8)})
    x = torch.randn(3, 5, dtype=torch.float64)
    one_by_one = torch.autograd.functional.jacobian(lambda v: flow(v)[1], x)
    at_once = torch.autograd.functional.jacobian(lambda v: flow(v)[1], x, vectorize=True)
    assert one_by_one.abs().max() > 0.1
    torch.testing.assert_close(at_once, one_by_one)


def test_striped_layers_take_many_gradients_at_once():
    net = MADE(520, 1, (530,)).double()
    x, g = torch.randn(2, 520, dtype=torch.float64, requires_grad=True), torch.randn(3, 2, 520, dtype=torch.float64)
    at_once = torch.autograd.grad(net(x), x, g, is_grads_batched=True)[0]
    for one, all_of_it in zip(g, at_once, strict=True):
        torch.testing.assert_close(torch.autograd.grad(net(x), x, one)[0], all_of_it)


def test_weights_that_are_frozen_get_no_gradient():
    flow = layer(MADE, 5, {"hidden": (8, 8)})
    flow.net.layers[0].requires_grad_(False)
    x = torch.randn(4, 5, dtype=torch.float64, requires_grad=True)
    sum(part.sum() for part in flow(x)).backward()
    assert all((p.grad is None) == (not p.requires_grad) for p in flow.parameters())
    of_x = x.grad.clone()
    x.grad = None
    sum(part.sum() for part in flow.requires_grad_(False)(x)).backward()
    torch.testing.assert_close(x.grad, of_x, rtol=0, atol=0)


def test_an_empty_batch_and_a_single_point():
    flow = layer(MADE, 5, {"hidden": (8,)})
    for shape in ((0, 5), (5,), (2, 0, 5)):
        x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
        z, log_det = flow(x)
        assert (z.shape, log_det.shape) == (shape, shape[:-1])
        (z.sum() + log_det.sum()).backward()
        assert x.grad.shape == shape


@pytest.mark.parametrize(
    ("options", "bound"),
    [
        ({"activation": "tanh"}, 1.5),
        ({"hidden": (8,) * 3, "residual": True}, 1.5),
        ({}, None),
        ({"context_features": 2}, 1.5),
    ],
    ids=["another activation", "residual", "no bound", "context"],
)
def test_other_layers_run_plainly(options, bound):
    flow = MaskedAutoregressive(MADE(4, 2, **options), bound)
    x = torch.randn(3, 4)
    context = torch.randn(3, 2) if "context_features" in options else None
    assert layers_to_fuse([(flow.net, flow.bound)], x, context) is None
    assert not is_fused(*flow(x, context))


def test_autocast_and_hooks_are_respected():
    flow = MaskedAutoregressive(MADE(4, 2))
    x = torch.randn(3, 4)
    layers = layers_to_fuse([(flow.net, flow.bound)], x, None)
    assert layers is not None
    with torch.autocast("cpu", torch.bfloat16):
        assert not is_fused(*flow(x))
    seen: list[object] = []

    def see(module, *_):
        seen.append(module)

    for_every_module = torch.nn.modules.module.register_module_forward_hook
    for register in (flow.net.layers[0].register_forward_hook, flow.bound.register_forward_hook, for_every_module):
        seen.clear()
        handle = register(see)
        try:
            flow(x)
        finally:
            handle.remove()
        assert flow.net.layers[0] in seen or flow.bound in seen
    seen.clear()
    handle = flow.net.last.register_full_backward_pre_hook(see)
    flow(x)[0].sum().backward()
    assert len(seen) == 1
    handle.remove()
    assert is_fused(*flow(x))
    for a, b in zip(flow(x), fused_layers(layers, x), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")  # forward-mode derivatives in torch itself
def test_forward_mode_derivatives_with_respect_to_weights():
    flow, x = layer(MADE, 5, {"hidden": (8,)}), torch.randn(3, 5, dtype=torch.float64)
    weight = flow.net.last.weight.detach()

    def scored(value: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(flow, {"net.last.weight": value}, (x,))[0]

    direction = torch.randn_like(weight)
    _, expected = torch.autograd.functional.jvp(scored, weight, direction)
    with torch.autograd.forward_ad.dual_level():
        dual = scored(torch.autograd.forward_ad.make_dual(weight, direction))
        tangent = torch.autograd.forward_ad.unpack_dual(dual).tangent
    torch.testing.assert_close(tangent, expected)


@pytest.mark.parametrize("points", [1, 7])
@pytest.mark.parametrize("small", [0, SMALL], ids=["point after point", "row after row"])
@pytest.mark.parametrize(("features", "options"), [(1, {}), (5, {"hidden": (12, 9)}), (20, {"hidden": (150, 160)})])
def test_outputs_and_gradients_are_tensors_of_their_own(monkeypatch, points, small, features, options):
    monkeypatch.setattr(fused_autoregressive, "SMALL", small)
    flow = MaskedAutoregressive(MADE(features, **options), 1.5)
    x = torch.randn(features, points).t().requires_grad_()  # neither are they in the order of the input's memory
    z, log_det = flow(x)
    (gradient,) = torch.autograd.grad(
        (z, log_det), x, (torch.ones_like(z), torch.ones_like(log_det)), retain_graph=True
    )
    (expected,) = torch.autograd.grad(3 * z.sum() + log_det.sum(), x, retain_graph=True)
    z *= 3
    (found,) = torch.autograd.grad(z.sum() + log_det.sum(), x)
    torch.testing.assert_close(found, expected)
    with torch.no_grad():
        alone = flow(x)
    hidden = torch.randn(points, 300, requires_grad=True)
    out = StripedLinear(torch.ones(300, 300).tril().bool(), 75)(hidden)
    (of_hidden,) = torch.autograd.grad(out.sum(), hidden)
    assert all(value.is_contiguous() for value in (z, log_det, gradient, *alone, out, of_hidden))
