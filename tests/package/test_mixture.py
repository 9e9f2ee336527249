"""Mixtures of Gaussians whose parameters the coordinates before choose: a density, its samples, and its network."""

import pytest
import torch
from torch.distributions import Categorical, MixtureSameFamily, Normal

from course_flows import fit
from course_flows.mixture import AutoregressiveMixture
from course_flows.models import made, maf

OPTIONS = {
    "two layers": {"hidden": (8, 7)},
    "another order": {"hidden": (8,), "order": [2, 0, 1]},
    "residual": {"hidden": (6,) * 3, "residual": True},
    "context": {"hidden": (8,), "context_features": 2},
    "one component": {"hidden": (8,), "components": 1},
}
each = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def moved(module, size=0.4, seed=0):
    torch.manual_seed(seed)
    with torch.no_grad():
        for p in module.parameters():
            p.add_(size * torch.randn_like(p))
    return module.double()


def build(features=3, **options):
    return moved(AutoregressiveMixture(features, **{"components": 3, "activation": "tanh", **options}))


def context_for(options, *batch):
    count = options.get("context_features", 0)
    return torch.randn(*batch, count, dtype=torch.float64) if count else None


@each
def test_the_density_is_the_product_of_the_conditionals_that_the_network_gives(options):
    base, z = build(**options), torch.randn(5, 3, dtype=torch.float64)
    c = context_for(options, 5)
    expected = torch.zeros(5, dtype=torch.float64)
    for i in range(3):
        logits, raw, means = base.net(z, c).unflatten(-1, (3, base.components, 3))[..., i].unbind(-2)
        parts = Normal(means, (5 * torch.tanh(raw / 5)).exp())
        expected += MixtureSameFamily(Categorical(logits=logits), parts).log_prob(z[:, i])
    torch.testing.assert_close(base.log_prob(z, c), expected, rtol=0, atol=1e-12)


@each
def test_a_conditional_sees_only_what_comes_before(options):
    base = build(**options)
    order = base.net.order.tolist()
    z = torch.randn(3, dtype=torch.float64)
    c = context_for(options)
    jacobian = torch.autograd.functional.jacobian(lambda v: torch.stack(base._conditionals(v, c)), z)
    seen = (jacobian != 0).flatten(0, 1).any(0)
    for place, i in enumerate(order):
        assert seen[i].nonzero().flatten().tolist() == sorted(order[:place])


def test_it_integrates_to_one():
    base = build(2, hidden=(8,))
    axis = torch.linspace(-40, 40, 1601, dtype=torch.float64)
    grid = torch.cartesian_prod(axis, axis)
    total = base.log_prob(grid).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=1e-3)


@each
def test_samples_follow_the_density(options):
    """The mean of the log-density over samples is the negative entropy: by quadrature of a Monte-Carlo estimate."""
    base = build(**options)
    c = context_for(options)
    torch.manual_seed(1)
    x = base.rsample((20_000,), c)
    wide = 6 * torch.randn(200_000, 3, dtype=torch.float64)
    log_q = Normal(0.0, 6.0).log_prob(wide).sum(1)
    with torch.no_grad():
        log_p = base.log_prob(wide, c)
        weights = (log_p - log_q).exp()
        for f in (lambda v: v.tanh().sum(1), lambda v: (v[:, 0] * v[:, 1]).tanh(), lambda v: base.log_prob(v, c)):
            exact = (weights * f(wide)).sum() / weights.sum()
            error = f(x).std() / len(x) ** 0.5
            spread = (weights * (f(wide) - exact)).std() / len(wide) ** 0.5 / weights.mean()
            assert abs(f(x).mean() - exact) < 5 * (error + spread)
    assert not x.requires_grad


def test_images_and_batches_keep_their_shapes():
    base = moved(AutoregressiveMixture((1, 2, 2), 2, hidden=(6,)))
    z = base.rsample((2, 3))
    assert z.shape == (2, 3, 1, 2, 2)
    assert base.log_prob(z).shape == (2, 3)
    torch.testing.assert_close(base.log_prob(z)[1, 2], base.log_prob(z[1, 2]), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"shape \(\*batch, 1, 2, 2\), found \(3, 4\)"):
        base.log_prob(torch.zeros(3, 4).double())
    with pytest.raises(ValueError, match="at least 1 component, found 0"):
        AutoregressiveMixture(2, 0)


def test_one_component_is_the_gaussian_made():
    gaussian = made(4, hidden=(9,), zero_init=False).double()
    mixture = AutoregressiveMixture(4, 1, hidden=(9,)).double()
    net = gaussian.transform[0].net
    state = {name: v for name, v in net.state_dict().items() if not name.startswith("last")}
    mixture.net.load_state_dict(state, strict=False)
    with torch.no_grad():
        for name in ("weight", "bias"):
            getattr(mixture.net.last, name)[4:] = getattr(net.last, name)
    x = torch.randn(6, 4, dtype=torch.float64)
    torch.testing.assert_close(mixture.log_prob(x), gaussian.log_prob(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("build_flow", [made, maf], ids=["made", "maf"])
def test_the_models_take_it_as_their_base_and_save_it(build_flow):
    options = {"components": 3, "hidden": (8,)} | ({"layers": 2} if build_flow is maf else {})
    flow, other = (moved(build_flow(3, **options), seed=k).eval() for k in (0, 1))
    other.load_state_dict(flow.state_dict())
    x = torch.randn(6, 3, dtype=torch.float64)
    assert torch.equal(flow.log_prob(x), other.log_prob(x))
    assert flow.sample(5).shape == (5, 3)
    flow.log_prob(x).sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in flow.parameters())


def test_components_part_where_the_data_have_two_bumps():
    torch.manual_seed(0)
    x = torch.randn(2000, 1) * 0.1 + torch.randint(2, (2000, 1)) * 4 - 2
    mixture, gaussian = made(1, components=4, hidden=()), made(1, hidden=())
    for flow in (mixture, gaussian):
        fit(flow, x, steps=300, lr=5e-2)
    with torch.no_grad():
        assert mixture.log_prob(x).mean() > gaussian.log_prob(x).mean() + 1


def test_a_flow_on_a_mixture_says_that_gradients_do_not_pass_its_draws():
    flow = maf(2, layers=1, hidden=(8,), components=2)
    distribution = flow.as_distribution()
    assert not distribution.has_rsample
    assert distribution.sample((3,)).shape == (3, 2)
    with pytest.raises(NotImplementedError, match="gradients pass, found AutoregressiveMixture"):
        distribution.rsample((3,))
    assert maf(2, layers=1, hidden=(8,)).as_distribution().has_rsample
