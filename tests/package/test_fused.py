"""The fused stack of couplings is the plain one: values, gradients, second derivatives, and where it steps aside."""

import pytest
import torch

from course_flows import Compose
from course_flows.models import real_nvp
from course_flows.nets import MLP
from course_flows.training.devices import conditioners_in
from course_flows.transforms import AdditiveCoupling, AffineCoupling, CouplingStack, LearnedTanh, half_mask


def couplings(hidden=(8, 7)) -> list[AffineCoupling]:
    """Some keep the same half twice, and the halves differ in size."""
    masks = [half_mask(5, flip=k % 3 == 1) for k in range(5)]
    return [
        AffineCoupling(m, MLP(int(m.sum()), 2 * int((~m).sum()), hidden, activation="relu"), 1.5).double()
        for m in masks
    ]


def fused_nodes(*outputs) -> int:
    """How many nodes of the graph behind the outputs are the fused one."""
    found, seen, waiting = 0, set(), [t.grad_fn for t in outputs]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found += type(node).__name__ == "_FusedBackward"
        waiting += [before for before, _ in node.next_functions]
    return found


@pytest.mark.parametrize("hidden", [(8, 7), (6,), ()], ids=str)
def test_values_and_first_and_second_derivatives_are_those_of_the_plain_stack(hidden):
    layers = couplings(hidden)
    x = torch.randn(3, 7, 5, dtype=torch.float64, requires_grad=True)
    found = []
    for flow in (Compose(layers), CouplingStack(layers, fused=True)):
        leaves = [x, *flow.parameters()]
        z, log_det = flow(x)
        assert log_det.abs().max() > 0.1
        first = torch.autograd.grad(z.sin().sum() + log_det.square().sum(), leaves)
        z, log_det = flow(x)
        again = torch.autograd.grad(z.sin().sum() + log_det.square().sum(), leaves, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in again), leaves)
        found.append([z, log_det, *first, *again, *second])
    assert fused_nodes(*found[1][:2]) == 1
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_weights_that_are_frozen_get_no_gradient():
    flow = CouplingStack(couplings(), fused=True)
    flow[1].requires_grad_(False)
    sum(part.sum() for part in flow(torch.randn(4, 5, dtype=torch.float64))).backward()
    assert all((p.grad is None) == (not p.requires_grad) for p in flow.parameters())
    assert not flow[1].net.layers[0].weight.requires_grad


def test_it_steps_aside_where_somebody_looks_into_the_networks_or_autograd_is_not_at_work():
    flow = CouplingStack(couplings(), fused=True).float()
    x = torch.randn(4, 5)
    assert fused_nodes(*flow(x)) == 1
    with conditioners_in("bf16", flow, x.device):
        assert fused_nodes(*flow(x)) == 0
    with torch.autocast("cpu", torch.bfloat16):
        assert fused_nodes(*flow(x)) == 0
    for module in (flow[2].net, flow[2].net.layers[0]):
        seen = []
        handle = module.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        assert fused_nodes(*flow(x)) == 0
        assert seen == [1]
        handle.remove()
    jacobian = torch.func.vmap(torch.func.jacrev(lambda v: flow(v)[0]))(x)
    torch.testing.assert_close(torch.linalg.slogdet(jacobian).logabsdet, flow(x)[1], rtol=1e-4, atol=1e-5)
    torch.nn.utils.parametrizations.weight_norm(flow[2].net.layers[0])
    assert fused_nodes(*flow(x)) == 0
    assert fused_nodes(*flow(x)) == 0


@pytest.mark.parametrize(
    "coupling",
    [
        AdditiveCoupling(half_mask(4), MLP(2, 2, activation="relu")),
        AffineCoupling(half_mask(4), MLP(2, 4, activation="relu"), LearnedTanh(2)),
        AffineCoupling(half_mask(4), MLP(2, 4, activation="relu"), None),
        AffineCoupling(half_mask(4), MLP(2, 4, activation="silu")),
        AffineCoupling(half_mask(4), MLP(2, 4, activation="relu", context_features=3)),
        AffineCoupling(half_mask(4), torch.nn.Linear(2, 4)),
    ],
    ids=["additive", "learned bound", "no bound", "silu", "context", "another network"],
)
def test_it_refuses_couplings_that_it_cannot_fuse(coupling):
    with pytest.raises(ValueError, match="fused expects AffineCoupling"):
        CouplingStack(coupling, fused=True)


def test_the_builder_hands_it_on_and_refuses_what_excludes_it():
    x = torch.randn(6, 3)
    assert fused_nodes(real_nvp(3, fused=True).log_prob(x)) == 1
    assert fused_nodes(real_nvp(3).log_prob(x)) == 0
    for other in ("reversible", "batch_norm"):
        with pytest.raises(ValueError, match="fused without reversible and batch_norm"):
            real_nvp(3, fused=True, **{other: True})
