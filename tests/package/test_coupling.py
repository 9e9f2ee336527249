"""Coupling layers: what is kept, what the network may see, how far the scale goes, and which networks fit."""

from __future__ import annotations

import pytest
import torch
from constructors import conv
from torch import Tensor, nn

from course_flows import Compose
from course_flows.nets import MLP, ResidualConvNet
from course_flows.transforms import (
    AdditiveCoupling,
    AffineCoupling,
    Coupling,
    LearnedTanh,
    alternating_mask,
    channel_mask,
    checkerboard_mask,
    half_mask,
)

# name -> (mask, event shape, sizes of what the net sees and of one parameter for all that moves)
KINDS = {
    "half": (half_mask(5), (5,), 2, 3),
    "half flipped": (half_mask(5, flip=True), (5,), 3, 2),
    "alternating": (alternating_mask(5), (5,), 3, 2),
    "scattered": (torch.tensor([True, False, False, True, False]), (5,), 2, 3),
    "channels": (channel_mask(3), (3, 2, 4), 1, 2),
    "channels flipped": (channel_mask(3, flip=True), (3, 2, 4), 2, 1),
    "channels scattered": (torch.tensor([True, False, True])[:, None, None], (3, 2, 4), 2, 1),
    "checkerboard": (checkerboard_mask(2, 4), (3, 2, 4), 3, 3),
    "checkerboard flipped": (checkerboard_mask(2, 4, flip=True), (3, 2, 4), 3, 3),
    "pixels and channels": (checkerboard_mask(2, 4) ^ channel_mask(3), (3, 2, 4), 3, 3),
}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


def perturb(module: nn.Module) -> nn.Module:
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.4 * torch.randn_like(p))
    return module


def build(law: type[Coupling], kind) -> tuple[Coupling, Tensor, Tensor]:
    """A coupling in float64, points and the mask spread over an event."""
    mask, event, sees, moves = kind
    out = moves * law.parameters_per_value
    net = MLP(sees, out, (8,)) if len(event) == 1 else conv(sees, out)
    coupling = perturb(law(mask, net).double())
    return coupling, torch.randn(7, *event, dtype=torch.float64), mask.expand(event)


@each_kind
@pytest.mark.parametrize("law", [AdditiveCoupling, AffineCoupling])
def test_what_is_kept_is_kept_bit_for_bit_and_the_rest_moves(law, kind):
    coupling, x, mask = build(law, kind)
    for direction in (coupling, coupling.inverse):
        out, _ = direction(x)
        assert torch.equal(out[:, mask], x[:, mask])
        assert (out[:, ~mask] != x[:, ~mask]).all()


@each_kind
@pytest.mark.parametrize("law", [AdditiveCoupling, AffineCoupling])
def test_the_network_does_not_see_what_is_moved(law, kind):
    coupling, x, mask = build(law, kind)
    seen = []
    coupling.net.register_forward_hook(lambda module, inputs, out: seen.append(out.detach()))
    moved = torch.where(mask, x, torch.randn_like(x))
    for direction in (coupling, coupling.inverse):
        direction(x)
        direction(moved)
    assert all(torch.equal(parameters, seen[0]) for parameters in seen[1:])


@each_kind
def test_the_jacobian_has_the_blocks_of_a_coupling(kind):
    """Kept values: the identity, without the moved ones. Each moved value: itself, and kept ones."""
    coupling, x, mask = build(AffineCoupling, kind)
    jacobian = torch.func.jacrev(lambda v: coupling(v)[0])(x[0]).reshape(mask.numel(), mask.numel())
    kept, moved = mask.flatten(), ~mask.flatten()
    assert torch.equal(jacobian[kept][:, kept], torch.eye(int(kept.sum()), dtype=torch.float64))
    assert (jacobian[kept][:, moved] == 0).all()
    block = jacobian[moved][:, moved]
    assert torch.equal(block, block.diagonal().diag())
    assert jacobian[moved][:, kept].abs().max() > 1e-3


@each_kind
def test_an_affine_coupling_without_scale_is_the_additive_one(kind):
    coupling, x, _ = build(AffineCoupling, kind)
    with torch.no_grad():
        last = coupling.net.layers[-1] if isinstance(coupling.net, MLP) else coupling.net.leave[-1]
        half = len(last.weight) // 2
        last.weight[:half], last.bias[:half] = 0.0, 0.0
    shifts = nn.Sequential()
    shifts.forward = lambda kept: coupling.net(kept).chunk(2, dim=-coupling.event_ndim)[1]
    additive = AdditiveCoupling(coupling.partition.mask, shifts)
    for a, b in zip((*coupling(x), *coupling.inverse(x)), (*additive(x), *additive.inverse(x)), strict=True):
        assert torch.equal(a, b)


@each_kind
def test_loading_takes_over_the_mask_of_another_kind(kind):
    """The state says which values are kept; a coupling that was built with the flipped mask follows it."""
    mask = kind[0]
    if int(mask.sum()) != int((~mask).sum()) and mask.dim() == 1:
        mask = torch.cat([mask, ~mask])
    if mask.shape[1:] == (1, 1):
        mask = torch.cat([mask, ~mask])
    event = tuple(mask.shape) if mask.dim() == 1 else (kind[1][0] if len(mask) == 1 else len(mask), *kind[1][1:])
    size = len(mask) // 2 if mask.dim() == 1 or mask.shape[1:] == (1, 1) else event[0]
    nets = [MLP(size, 2 * size, (8,)) if len(event) == 1 else conv(size, 2 * size) for _ in range(2)]
    saved, other = perturb(AffineCoupling(mask, nets[0]).double()), AffineCoupling(~mask, nets[1]).double()
    other.load_state_dict(saved.state_dict())
    x = torch.randn(3, *event, dtype=torch.float64)
    for a, b in zip((*saved(x), *saved.inverse(x)), (*other(x), *other.inverse(x)), strict=True):
        assert torch.equal(a, b)
        assert a.dtype == torch.float64


def test_the_log_scale_is_bounded():
    for flip in (False, True):
        coupling = AffineCoupling.mlp(5, (8,), flip=flip, bound=2.0).double()
        moves = 2 if flip else 3
        with torch.no_grad():
            coupling.net.layers[-1].bias[:moves] = 1e3
        z, log_det = coupling(torch.randn(7, 5, dtype=torch.float64))
        assert torch.isfinite(z).all()
        torch.testing.assert_close(log_det, torch.full((7,), 2.0 * moves, dtype=torch.float64))


def test_learned_limits():
    bound = LearnedTanh((2, 1, 1), initial=0.5)
    with torch.no_grad():
        bound.limit[1] = 2.0
    expected = torch.tensor([0.5, 2.0])[:, None, None].expand(2, 3, 3)
    torch.testing.assert_close(bound(torch.full((2, 3, 3), 50.0)), expected)
    raw = torch.linspace(-2, 2, 5)
    torch.testing.assert_close(LearnedTanh(5, initial=3.0)(raw), 3.0 * torch.tanh(raw))
    with pytest.raises(ValueError, match="positive limit, found -1"):
        AffineCoupling.mlp(4, bound=-1.0)


def test_a_network_of_the_wrong_width_is_refused():
    for out in (2, 3, 6):
        coupling = AffineCoupling([True, False, True, False], nn.Linear(2, out))
        with pytest.raises(ValueError, match=rf"shape \(3, 4\), found \(3, {out}\)"):
            coupling(torch.zeros(3, 4))


@pytest.mark.parametrize(
    ("coupling", "bad", "words"),
    [
        (AffineCoupling.mlp(4), (3, 5), r"AffineCoupling expects .* \(\*batch, 4\), found \(3, 5\)"),
        (AdditiveCoupling.mlp(4), (), r"AdditiveCoupling expects .* \(\*batch, 4\), found \(\)"),
        (AffineCoupling(channel_mask(4), conv(2, 4)), (3, 2, 4, 4), r"\(\*batch, 4, H, W\), found \(3, 2, 4, 4\)"),
        (AffineCoupling(checkerboard_mask(4, 6), conv(2, 4)), (3, 2, 6, 4), r"\(\*batch, C, 4, 6\)"),
        (AffineCoupling(checkerboard_mask(4, 6), conv(2, 4)), (4, 6), r"\(\*batch, C, 4, 6\), found \(4, 6\)"),
        (AffineCoupling(checkerboard_mask(2, 2) ^ channel_mask(2), conv(2, 4)), (3, 2, 2), r"\(\*batch, 2, 2, 2\)"),
    ],
)
def test_wrong_points_are_said_in_a_sentence(coupling, bad, words):
    for direction in (coupling, coupling.inverse):
        with pytest.raises(ValueError, match=words):
            direction(torch.zeros(bad))


def test_log_dets_keep_full_precision_under_autocast():
    image = AffineCoupling(checkerboard_mask(2, 2), conv(1, 2))
    for coupling, x in ((AffineCoupling.mlp(4), torch.randn(3, 4)), (image, torch.randn(3, 1, 2, 2))):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            z, log_det = coupling(x)
            back, _ = coupling.inverse(z)
        assert z.dtype == log_det.dtype == torch.float32
        torch.testing.assert_close(back, x, rtol=0, atol=1e-5)


def test_a_law_of_ones_own():
    """`Coupling` asks for three things; direction, shapes, masks and determinants come with it."""

    class PowerCoupling(Coupling):
        """Raise positive values to a positive power."""

        parameters_per_value = 1

        def move(self, moved, parameters):
            power = self.partition.moved_only(parameters[0])
            return moved ** power.exp(), power + power.expm1() * moved.log()

        def move_back(self, moved, parameters):
            power = -self.partition.moved_only(parameters[0])
            return moved ** power.exp(), power + power.expm1() * moved.log()

    for mask, event, net in (
        (half_mask(4), (4,), MLP(2, 2, (8,))),
        (checkerboard_mask(2, 2), (1, 2, 2), conv(1, 1)),
    ):
        coupling = perturb(PowerCoupling(mask, net).double())
        x = torch.rand(5, *event, dtype=torch.float64) + 0.5
        z, log_det = coupling(x)
        jacobians = torch.func.vmap(torch.func.jacrev(lambda v, c=coupling: c(v)[0]))(x).reshape(5, 4, 4)
        torch.testing.assert_close(log_det, torch.linalg.slogdet(jacobians).logabsdet, rtol=0, atol=1e-12)
        torch.testing.assert_close(coupling.inverse(z)[0], x, rtol=0, atol=1e-12)
    bare = type("Bare", (Coupling,), {"parameters_per_value": 1})(half_mask(2), nn.Linear(1, 1))
    with pytest.raises(NotImplementedError, match="Bare does not define move"):
        bare(torch.zeros(1, 2))


@pytest.mark.parametrize("shape", [(6, 3), (3,), (1, 3)], ids=str)
def test_a_vector_context_reaches_the_network(shape):
    coupling = perturb(AffineCoupling(half_mask(4), MLP(2, 4, (8,), context_features=3)).double())
    x, context = torch.randn(6, 4, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    z, log_det = coupling(x, context)
    whole = context.expand(6, 3)
    raw, shift = coupling.net.layers(torch.cat([x[:, :2], whole], dim=1)).chunk(2, dim=1)
    log_scale = 3 * torch.tanh(raw / 3)
    torch.testing.assert_close(z[:, 2:], x[:, 2:] * log_scale.exp() + shift, rtol=0, atol=1e-12)
    torch.testing.assert_close(log_det, log_scale.sum(dim=1), rtol=0, atol=1e-12)
    torch.testing.assert_close(coupling.inverse(z, context)[0], x, rtol=0, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 3, 4, 2), (6, 3, 1, 1), (3, 1, 1), (3, 4, 2)], ids=str)
def test_an_image_context_reaches_the_network(shape):
    net = ResidualConvNet(1, 2, channels=4, blocks=1, context_channels=3, activation="elu")
    coupling = perturb(AffineCoupling(checkerboard_mask(4, 2), net).double())
    x, context = torch.randn(6, 1, 4, 2, dtype=torch.float64), torch.randn(shape, dtype=torch.float64)
    z, _ = coupling(x, context)
    torch.testing.assert_close(z, coupling(x, context.expand(6, 3, 4, 2))[0], rtol=0, atol=1e-12)
    assert not torch.allclose(z, coupling(x, -context)[0])
    torch.testing.assert_close(coupling.inverse(z, context)[0], x, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("net", "context", "words"),
    [
        (MLP(2, 4), torch.zeros(6, 3), r"expects no context, found \(6, 3\)"),
        (MLP(2, 4, context_features=3), None, r"a context of shape \(6, 3\), found none"),
        (MLP(2, 4, context_features=3), torch.zeros(6, 4), r"\(6, 3\), or with 1 in its place, found \(6, 4\)"),
        (MLP(2, 4, context_features=3), torch.zeros(5, 3), r"found \(5, 3\)"),
        (MLP(2, 4, context_features=3), torch.zeros(2, 6, 3), r"found \(2, 6, 3\)"),
    ],
)
def test_a_context_that_does_not_fit_is_said_in_a_sentence(net, context, words):
    with pytest.raises(ValueError, match=words):
        AffineCoupling(half_mask(4), net)(torch.zeros(6, 4), context)


def test_a_stack_hands_its_context_to_every_coupling():
    layers = [AffineCoupling(half_mask(4, flip=bool(k)), MLP(2, 4, (8,), context_features=1)) for k in range(2)]
    stack, x = perturb(Compose(layers).double()), torch.randn(6, 4, dtype=torch.float64)
    context = torch.randn(6, 1, dtype=torch.float64)
    z, _ = layers[1](layers[0](x, context)[0], context)
    assert torch.equal(stack(x, context)[0], z)
    torch.testing.assert_close(stack.inverse(z, context)[0], x, rtol=0, atol=1e-12)
