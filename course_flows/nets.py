"""Networks that turn what a flow may look at into the parameters of its next step."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

__all__ = ["MLP"]


class MLP(nn.Module):
    """A fully connected network ``(*batch, in_features) -> (*batch, out_features)`` with SiLU between its layers.

    Arguments:
        in_features, out_features: sizes of the input and the output.
        hidden: sizes of the hidden layers.
        zero_init: start with an output of zeros, so that a coupling built on it starts as the identity.
    """

    def __init__(
        self, in_features: int, out_features: int, hidden: Sequence[int] = (64, 64), zero_init: bool = False
    ) -> None:
        super().__init__()
        sizes = [in_features, *hidden]
        layers: list[nn.Module] = []
        for a, b in pairwise(sizes):
            layers += [nn.Linear(a, b), nn.SiLU()]
        last = nn.Linear(sizes[-1], out_features)
        if zero_init:
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(*layers, last)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)
