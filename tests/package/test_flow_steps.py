"""Steps of Glow that run together are the steps one by one: values, gradients, second derivatives, and exceptions."""

import pytest
import torch
from constructors import flow_step, flow_steps
from test_fused import fused_nodes
from torch.autograd import forward_ad

from course_flows import Compose
from course_flows.conv_nets import ConvNet
from course_flows.models import SigmoidScale, build
from course_flows.models.flow_steps import FlowSteps
from course_flows.models.shifted_planes import neighbors, sum_of_neighbors
from course_flows.training.devices import conditioners_in
from course_flows.transforms import AdditiveCoupling, AffineCoupling, Conv1x1, channel_mask

IMAGE = (4, 3, 2)


def perturbed(flow, size=0.3):
    torch.manual_seed(0)
    with torch.no_grad():
        for p in flow.parameters():
            p.add_(size * torch.randn_like(p))
    return flow.double().eval()


def net(out=4, **options):
    return ConvNet(2, out, 4, zero_init=False, **options)


FLOWS = {
    "fused": lambda: flow_steps(),
    "fused, plain networks": lambda: flow_steps(AffineCoupling(channel_mask(4), net(normalize=False))),
    "flipped mask": lambda: flow_steps(AffineCoupling(channel_mask(4, flip=True), net())),
    "another bound": lambda: flow_steps(AffineCoupling(channel_mask(4), net(), bound=SigmoidScale())),
    "another limit": lambda: flow_steps(AffineCoupling(channel_mask(4), net(), bound=1.0)),
    "additive": lambda: flow_steps(AdditiveCoupling(channel_mask(4), net(2))),
    "one uneven": lambda: flow_steps(AffineCoupling([[[True]], [[False]], [[False]], [[False]]], ConvNet(1, 6, 4))),
}


@pytest.mark.parametrize(
    ("name", "batch"),
    [*((name, (3,)) for name in FLOWS), ("fused", (2, 3)), ("fused", ()), ("additive", (2, 3))],
    ids=str,
)
def test_values_and_gradients_are_those_of_the_steps_one_by_one(name, batch):
    together = perturbed(FLOWS[name]())
    one_by_one = Compose(list(together))
    x = torch.randn(*batch, *IMAGE, dtype=torch.float64, requires_grad=True)
    found = []
    for flow in (one_by_one, together):
        leaves = [x, *flow.parameters()]
        for way in (flow, flow.inverse):
            z, log_det = way(x)
            assert log_det.abs().max() > 0.1
            first = torch.autograd.grad(z.sin().sum() + log_det.sin().sum(), leaves)
            with torch.no_grad():
                found.append([z, log_det, *first, *way(x)])
    for a, b in zip([*found[0], *found[1]], [*found[2], *found[3]], strict=True):
        assert (a - b).abs().max() <= 1e-10 * (1 + a.abs().max())


def test_second_derivatives_are_those_of_the_steps_one_by_one():
    together = perturbed(flow_steps())
    x = torch.randn(2, *IMAGE, dtype=torch.float64, requires_grad=True)
    found = []
    for flow in (Compose(list(together)), together):
        leaves = [x, *flow.parameters()]
        z, log_det = flow(x)
        first = torch.autograd.grad(z.sin().sum() + log_det.sin().sum(), leaves, create_graph=True)
        found.append([*first, *torch.autograd.grad(sum(g.square().sum() for g in first), leaves)])
    for a, b in zip(*found, strict=True):
        assert (a - b).abs().max() <= 1e-10 * (1 + a.abs().max())


def test_one_pixel_and_one_image():
    flow = perturbed(flow_steps())
    x = torch.randn(1, 4, 1, 1, dtype=torch.float64, requires_grad=True)
    z, log_det = flow(x)
    (z.sum() + log_det.sum()).backward()
    torch.testing.assert_close(flow.inverse(z)[0], x, rtol=0, atol=1e-10)


def test_which_form_runs():
    fused = {name: fused_nodes(*perturbed(make())(torch.randn(2, *IMAGE).double())) for name, make in FLOWS.items()}
    assert fused == {name: int(name.startswith("fused")) for name in FLOWS}
    x = torch.rand(4, 1, 8, 8)
    glow = build("glow-digits", (1, 8, 8), steps=2, channels=8)
    assert fused_nodes(glow.log_prob(x)) == 0  # the first batch sets the normalizations
    assert fused_nodes(glow.log_prob(x)) == 2  # one for each level


def test_a_batch_that_sets_normalizations_sets_them_as_one_by_one():
    together = flow_steps()
    one_by_one = Compose(list(flow_steps()))
    one_by_one.load_state_dict(together.state_dict())  # the names are the same, too
    x = 3 + 2 * torch.randn(20, *IMAGE)
    torch.testing.assert_close(together(x), one_by_one(x))
    assert together[0].norm.initialized
    torch.testing.assert_close(together.state_dict(), one_by_one.state_dict())


def test_it_steps_aside_where_somebody_looks_inside_or_autograd_is_not_at_work():
    flow = perturbed(flow_steps()).float()
    x = torch.randn(4, *IMAGE)
    assert fused_nodes(*flow(x)) == 1
    with conditioners_in("bf16", flow, x.device):
        assert fused_nodes(*flow(x)) == 0
    with torch.autocast("cpu", torch.bfloat16):
        assert fused_nodes(*flow(x)) == 0
    for module in (flow[0], flow[1].coupling.net, flow[1].coupling.net.last):
        seen = []
        handle = module.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        assert fused_nodes(*flow(x)) == 0
        assert seen == [1]
        handle.remove()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: flow(v)[0].flatten()))(x).flatten(2)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, flow(x)[1], rtol=1e-3, atol=1e-4)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # which torch itself calls for them
def test_forward_mode_derivatives_are_those_of_backward_mode():
    flow = perturbed(flow_steps())
    x, direction = torch.randn(2, 2, *IMAGE, dtype=torch.float64)
    with forward_ad.dual_level():
        tangent = forward_ad.unpack_dual(flow(forward_ad.make_dual(x, direction))[1]).tangent
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(flow(leaf)[1].sum(), leaf)
    torch.testing.assert_close(tangent.sum(), (gradient * direction).sum(), rtol=1e-10, atol=1e-10)


def test_weights_that_changed_before_the_backward_pass_are_noticed():
    flow = perturbed(flow_steps())
    loss = flow(torch.randn(2, *IMAGE, dtype=torch.float64))[1].sum()
    with torch.no_grad():
        flow[0].coupling.net.last.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_inputs_are_not_written_to_and_a_graph_can_be_kept():
    flow = perturbed(flow_steps())
    x = torch.randn(3, *IMAGE, dtype=torch.float64).to(memory_format=torch.channels_last).requires_grad_()
    before = x.detach().clone()
    z, log_det = flow(x)
    once = torch.autograd.grad(log_det.sum(), x, retain_graph=True)[0]
    torch.testing.assert_close(torch.autograd.grad(log_det.sum(), x)[0], once, rtol=0, atol=0)
    with torch.no_grad():
        flow.inverse(x)
    assert torch.equal(x, before)
    assert z.shape == x.shape


def test_it_refuses_what_is_no_step_and_images_of_other_channels():
    with pytest.raises(TypeError, match=r"FlowSteps expects steps \(FlowStep\), found Conv1x1"):
        FlowSteps(flow_step(Conv1x1(4)), Conv1x1(4))
    with pytest.raises(ValueError, match="at least one step"):
        FlowSteps([])
    for way in (flow_steps().forward, flow_steps().inverse):
        with pytest.raises(ValueError, match=r"shape \(\*batch, 4, H, W\), found \(2, 3, 2, 2\)"):
            way(torch.zeros(2, 3, 2, 2))


@pytest.mark.parametrize("images", [(2, 3, 4), (1, 1, 1), (3, 1, 5), (2, 4, 1), (0, 3, 3)])
def test_convolutions_as_products_of_planes(images: tuple[int, int, int]) -> None:
    """Gathering neighbors before a product, and summing them after one, are both what conv2d and its gradient do."""
    torch.manual_seed(0)
    channels, out_channels, pixels = 2, 5, images[0] * images[1] * images[2]
    planes = torch.randn(channels, pixels, dtype=torch.float64)
    weight = torch.randn(out_channels, channels, 3, 3, dtype=torch.float64)
    by_tap = weight.permute(2, 3, 0, 1).reshape(9, out_channels, channels)
    image = planes.view(channels, *images).transpose(0, 1).requires_grad_()
    expected = torch.nn.functional.conv2d(image, weight, padding=1)

    around = planes.new_full((9, channels, pixels), torch.nan)
    neighbors(planes, images, around)
    found = weight.permute(0, 2, 3, 1).flatten(1) @ around.flatten(0, 1)
    torch.testing.assert_close(found.view(len(found), *images).transpose(0, 1), expected)
    found = sum_of_neighbors(by_tap @ planes, images)
    torch.testing.assert_close(found.view(len(found), *images).transpose(0, 1), expected)

    g = torch.randn(out_channels, pixels, dtype=torch.float64)
    (of_image,) = torch.autograd.grad(expected, image, g.view(len(g), *images).transpose(0, 1))
    found = sum_of_neighbors(by_tap.transpose(1, 2) @ g, images, flip=True)
    torch.testing.assert_close(found.view(len(found), *images).transpose(0, 1), of_image)
    around = g.new_full((9, out_channels, pixels), torch.nan)
    neighbors(g, images, around, flip=True)
    found = by_tap.transpose(1, 2).permute(1, 0, 2).flatten(1) @ around.flatten(0, 1)
    torch.testing.assert_close(found.view(len(found), *images).transpose(0, 1), of_image)
