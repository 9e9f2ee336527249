"""Squeezing, factoring out and flattening: order, shapes, and latents that stay what they are."""

from __future__ import annotations

import copy

import pytest
import torch
from constructors import conv, coupling, level
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from course_flows import Compose, Flow
from course_flows.distributions import StandardNormal
from course_flows.transforms import (
    AffineCoupling,
    Diagonal,
    Flatten,
    LeakyReLU,
    MultiScale,
    Squeeze,
    Transform,
    channel_mask,
)


def model(channels: int = 1, size: int = 8, priors: bool = False) -> MultiScale:
    """Three levels on (channels, size, size), perturbed, in float64."""
    c, s = channels, size
    levels: list[Transform] = [level(c, s), level(2 * c, s // 2), coupling(4 * c, s // 4, s // 4)]
    given = [AffineCoupling(channel_mask(4 * k), conv(2 * k, 4 * k)) for k in (c, 2 * c)] if priors else None
    return perturb(MultiScale(levels, given).double())


def perturb(module: MultiScale) -> MultiScale:
    with torch.no_grad():
        for p in module.parameters():
            p.add_(0.2 * torch.randn_like(p))
    return module


def images(*batch: int, channels: int = 1, size: int = 8) -> Tensor:
    return torch.randn(*batch, channels, size, size, dtype=torch.float64)


def test_squeeze_puts_every_pixel_where_the_docstring_says():
    x = torch.randn(2, 3, 4, 6)
    z, log_det = Squeeze()(x)
    assert z.shape == (2, 12, 2, 3)
    for c in range(3):
        for i in range(2):
            for j in range(2):
                assert torch.equal(z[:, 4 * c + 2 * i + j], x[:, c, i::2, j::2])
    assert torch.equal(log_det, torch.zeros(2))
    assert torch.equal(Squeeze().inverse(z)[0], x)
    assert torch.equal(z, nn.functional.pixel_unshuffle(x, 2))


@pytest.mark.parametrize("shape", [(1, 3, 4), (1, 4, 3), (4, 4), (2, 1, 5, 5)])
def test_squeeze_refuses_what_it_cannot_halve(shape):
    with pytest.raises(ValueError, match="even height and width"):
        Squeeze()(torch.zeros(shape))


def test_the_inverse_of_squeeze_refuses_channels_that_are_not_fours():
    with pytest.raises(ValueError, match=r"\(\*batch, 4 C, H, W\), found \(2, 6, 4, 4\)"):
        Squeeze().inverse(torch.zeros(2, 6, 4, 4))


@pytest.mark.parametrize("batch", [(), (3,), (2, 3), (0,)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_split_gives_the_documented_shapes_and_join_undoes_it(batch, channels):
    multi = MultiScale([Squeeze(), Squeeze(), LeakyReLU(event_ndim=3)])
    z = images(*batch, channels=channels)
    parts = multi.split(z)
    c = channels
    assert [part.shape[len(batch) :] for part in parts] == [(2 * c, 4, 4), (4 * c, 2, 2), (4 * c, 2, 2)]
    assert torch.equal(multi.join(parts), z)
    for a, b in zip(multi.split(multi.join(parts)), parts, strict=True):
        assert torch.equal(a, b)


def test_levels_without_arithmetic_leave_every_value_in_its_place():
    x = images(2)
    multi = MultiScale([Squeeze(), Squeeze(), LeakyReLU(1.0, event_ndim=3)])
    assert torch.equal(multi(x)[0], x)
    assert torch.equal(multi.inverse(x)[0], x)


@pytest.mark.parametrize("priors", [False, True])
def test_the_latents_are_those_of_the_recursion(priors):
    multi, x = model(priors=priors), images(3)
    h, total, expected = x, 0.0, []
    for k, part in enumerate(multi.levels):
        h, log_det = part(h)
        total = total + log_det
        if k < 2:
            if priors:
                h, log_det = multi.priors[k](h)
                total = total + log_det
            half = h.shape[1] // 2
            h, out = h[:, :half], h[:, half:]
            expected.append(out)
    z, log_det = multi(x)
    for a, b in zip(multi.split(z), [*expected, h], strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(log_det, total, rtol=0, atol=1e-12)
    torch.testing.assert_close(multi.inverse(z)[0], x, rtol=0, atol=1e-11)


def test_finished_latents_do_not_see_later_levels():
    multi, x = model(priors=True), images(3)
    changed = copy.deepcopy(multi)
    for part in (changed.levels[1], changed.levels[2], changed.priors[1]):
        with torch.no_grad():
            for p in part.parameters():
                p.add_(0.3)
    before, after = multi.split(multi(x)[0]), changed.split(changed(x)[0])
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])
    assert not torch.equal(before[2], after[2])


def test_redrawing_a_level_leaves_the_coarser_hidden_images_as_they_are():
    """h₁ comes from the later latents alone: a new finest latent changes the image and nothing that is deeper."""
    flow = Flow(model(priors=True), StandardNormal((1, 8, 8))).double()
    multi = flow.transform
    parts = multi.split(flow.encode(images(4)))
    redrawn = [torch.randn_like(parts[0]), *parts[1:]]
    x, y = flow.decode(multi.join(parts)), flow.decode(multi.join(redrawn))
    assert not torch.allclose(x, y)
    hidden = [multi.levels[0](image)[0][:, :2] for image in (x, y)]
    torch.testing.assert_close(hidden[0], hidden[1], rtol=0, atol=1e-10)
    again = multi.split(flow.encode(y))
    for found, expected in zip(again, redrawn, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_a_prior_is_a_conditional_gaussian():
    """Density of the flow = density of h₁'s latents + a normal density of what is factored out given h₁."""
    flow = Flow(
        perturb(
            MultiScale(
                [level(1, 4), coupling(2, 2, 2)], [AffineCoupling(channel_mask(4), conv(2, 4), bound=None)]
            ).double()
        ),
        StandardNormal((1, 4, 4)),
    ).double()
    multi, x = flow.transform, images(5, size=4)
    h, log_det = multi.levels[0](x)
    h, out = h.chunk(2, dim=1)
    raw, shift = multi.priors[0].net(h).chunk(2, dim=1)
    sigma = (-raw).exp()
    given = Independent(Normal(-shift * sigma, sigma), 3).log_prob(out)
    z, rest = multi.levels[1](h)
    expected = log_det + given + rest + Independent(Normal(torch.zeros_like(z), 1.0), 3).log_prob(z)
    torch.testing.assert_close(flow.log_prob(x), expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(flow.decode(flow.encode(x)), x, rtol=0, atol=1e-11)
    drawn, log_prob = flow.rsample_and_log_prob((6,))
    torch.testing.assert_close(log_prob, flow.log_prob(drawn), rtol=0, atol=1e-10)


def test_a_context_of_one_pixel_reaches_every_level():
    class ByContext(Transform):
        """z = x · exp(context), for a context (*batch, 1, 1, 1)."""

        event_ndim = 3

        def forward(self, x, context=None):
            return x * context.exp(), context[..., 0, 0, 0] * x[0].numel()

        def inverse(self, z, context=None):
            return z * (-context).exp(), -context[..., 0, 0, 0] * z[0].numel()

    multi = MultiScale([Compose(ByContext(), Squeeze()), ByContext()], priors=[ByContext()])
    x, context = images(3, size=4), torch.randn(3, 1, 1, 1, dtype=torch.float64)
    z, log_det = multi(x, context)
    fine, coarse = multi.split(x)
    expected = multi.join([fine * (2 * context).exp(), coarse * (3 * context).exp()])
    torch.testing.assert_close(z, expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(log_det, context[:, 0, 0, 0] * (16 + 16 + 8), rtol=1e-12, atol=0)
    torch.testing.assert_close(multi.inverse(z, context)[0], x, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: MultiScale([]), ValueError, "at least one level"),
        (lambda: MultiScale([nn.Identity()]), TypeError, "expects Transforms, found Identity"),
        (lambda: MultiScale([Diagonal(4)]), ValueError, "transforms of images, found one of 1 dimensions"),
        (lambda: MultiScale([Squeeze(), coupling(2, 2, 2)], [Squeeze(), Squeeze()]), ValueError, "1 priors or none"),
        (lambda: Flatten(Squeeze(), (1, 2, 2)), ValueError, "transform of vectors, found one of 3 dimensions"),
    ],
)
def test_parts_that_do_not_fit_are_refused(build, error, words):
    with pytest.raises(error, match=words):
        build()


@pytest.mark.parametrize(
    ("levels", "shape", "words"),
    [
        ([Squeeze(), Squeeze(), LeakyReLU(event_ndim=3)], (1, 6, 8), r"divisible by 4, found \(1, 6, 8\)"),
        ([Squeeze(), Squeeze(), LeakyReLU(event_ndim=3)], (8, 8), r"\(\*batch, C, H, W\)"),
        ([LeakyReLU(event_ndim=3), LeakyReLU(event_ndim=3)], (1, 4, 4), r"level 0 .* \(4, 2, 2\), found \(1, 4, 4\)"),
        ([Squeeze(), Squeeze()], (1, 4, 4), r"level 1 .* \(2, 2, 2\), found \(8, 1, 1\)"),
    ],
)
def test_images_that_do_not_fit_are_said_in_a_sentence(levels, shape, words):
    with pytest.raises(ValueError, match=words):
        MultiScale(levels)(torch.zeros(shape))


def test_join_counts_its_parts():
    multi = MultiScale([Squeeze(), LeakyReLU(event_ndim=3)])
    with pytest.raises(ValueError, match="expects 2 levels, found 1"):
        multi.join([torch.zeros(1, 2, 2)])
    with pytest.raises(ValueError, match="divisible by 2"):
        multi.split(torch.zeros(1, 3, 3))


def test_flatten_reads_pixels_in_row_order_one_channel_after_the_other():
    flat = Flatten(Diagonal(12), (3, 2, 2))
    with torch.no_grad():
        flat.transform.shift.copy_(torch.arange(12.0))
    assert flat(torch.zeros(1, 3, 2, 2))[0].flatten().tolist() == list(range(12))
    with pytest.raises(ValueError, match=r"\(\*batch, 3, 2, 2\), found \(2, 3\)"):
        flat(torch.zeros(2, 3))
    scalars = Flatten(LeakyReLU(0.5, event_ndim=0), (3, 2, 2))
    assert scalars(-torch.ones(2, 3, 2, 2))[1].tolist() == pytest.approx([12 * torch.tensor(0.5).log().item()] * 2)
