"""The context reaches every part of a flow, and training keeps it with its point."""

import math

import pytest
import torch

from course_flows import Compose, Flow, Inverse, Transform, fit
from course_flows.distributions import StandardNormal
from course_flows.transforms import (
    Diagonal,
)


class ScaledByContext(Transform):
    """z = x · exp(context): exact, and wrong wherever the context is lost."""

    def forward(self, x, context=None):
        return x * context.exp(), context.sum(dim=-1)

    def inverse(self, z, context=None):
        return z * (-context).exp(), -context.sum(dim=-1)


class CenteredOnContext(StandardNormal):
    def log_prob(self, z, context=None):
        return super().log_prob(z - context)

    def rsample(self, shape=(), context=None):
        return super().rsample(shape) + context


@torch.no_grad()
def test_context_reaches_the_transform_and_the_base_in_every_method():
    transform = Compose(Inverse(ScaledByContext()), ScaledByContext(), ScaledByContext())
    flow = Flow(transform, CenteredOnContext(2)).double()
    x, context = torch.randn(6, 2, dtype=torch.float64), torch.randn(6, 2, dtype=torch.float64)
    expected = StandardNormal(2).log_prob(x * context.exp() - context) + context.sum(dim=-1)
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(flow.log_prob(x, context), expected, **close)
    torch.testing.assert_close(flow(x, context), expected, **close)
    torch.testing.assert_close(flow.as_distribution(context).log_prob(x), expected, **close)
    torch.testing.assert_close(flow.encode(x, context), x * context.exp(), **close)
    torch.testing.assert_close(flow.decode(flow.encode(x, context), context), x, **close)
    y, log_prob = flow.rsample_and_log_prob((6,), context)
    torch.testing.assert_close(log_prob, flow.log_prob(y, context), **close)
    torch.manual_seed(3)
    drawn = flow.sample((6,), context)
    for again in (flow.rsample, lambda shape, c: flow.as_distribution(c).rsample(shape)):
        torch.manual_seed(3)
        assert torch.equal(again((6,), context), drawn)
    torch.manual_seed(3)
    torch.testing.assert_close(drawn, (torch.randn(6, 2, dtype=torch.float64) + context) * (-context).exp(), **close)


class Recorder(Transform):
    """Remembers the points, contexts and mode it was called with."""

    def __init__(self):
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(()))
        self.calls = []

    def forward(self, x, context=None):
        self.calls.append((self.training, x[:, 0].tolist(), None if context is None else context[:, 0].tolist()))
        return x + self.shift, x.new_zeros(x.shape[:-1])


def test_each_point_is_drawn_once_a_round_with_its_own_context():
    recorder, x = Recorder(), torch.arange(8.0)[:, None]
    fit(Flow(recorder, StandardNormal(1)), x, steps=4, batch_size=4, context=10 * x, seed=1)
    for first, second in (recorder.calls[:2], recorder.calls[2:]):
        assert sorted(first[1] + second[1]) == x[:, 0].tolist()
    for training, points, context in recorder.calls:
        assert training
        assert context == [10 * p for p in points]


def test_validation_is_scored_in_eval_mode_with_its_own_context():
    recorder, x, held_out = Recorder(), torch.zeros(4, 1), torch.full((3, 1), 2.0)
    flow = Flow(recorder, StandardNormal(1)).eval()
    history = fit(
        flow, x, steps=2, lr=1e-9, context=x, validation=held_out, validation_context=-held_out, validate_every=1
    )
    assert [c[0] for c in recorder.calls] == [True, False, True, False]
    assert recorder.calls[1][1:] == ([2.0] * 3, [-2.0] * 3)
    assert history.validation_nll[0] == pytest.approx(2.0 + 0.5 * math.log(2 * math.pi), abs=1e-6)
    assert history.train_nll[0] == pytest.approx(0.5 * math.log(2 * math.pi), abs=1e-6)


def test_the_learning_rate_falls_to_zero():
    flow = Flow(Diagonal(1), StandardNormal(1)).double()
    shifts = []
    flow.transform.register_forward_pre_hook(lambda module, _: shifts.append(module.shift.item()))
    fit(flow, torch.full((4, 1), 100.0, dtype=torch.float64), steps=100, lr=0.01)
    moves = torch.tensor(shifts).diff().abs()
    assert moves[0] == pytest.approx(0.01, rel=1e-3)
    assert moves[-1] < 0.01 * moves[0]
