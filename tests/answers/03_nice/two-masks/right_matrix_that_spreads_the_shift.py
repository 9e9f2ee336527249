class TwoMaskCoupling(torch.nn.Module):
    """A matrix of zeros and ones brings every shift to its place; idle and read coordinates get 0 added."""

    def __init__(self, reads, moves, net):
        super().__init__()
        reads = torch.tensor([bool(r) for r in reads])
        moves = torch.tensor([bool(m) for m in moves])
        if torch.logical_and(reads, moves).sum() > 0:
            raise ValueError("reads and moves overlap")
        identity = torch.eye(len(reads), dtype=torch.float64)
        self.register_buffer("places", reads.nonzero()[:, 0])
        self.register_buffer("spread", identity[moves])
        self.network = net

    def forward(self, x):
        return x + self.network(x[..., self.places]) @ self.spread.to(x.dtype), 0 * x.detach().sum(-1)

    def inverse(self, z):
        return z - self.network(z[..., self.places]) @ self.spread.to(z.dtype), 0 * z.detach().sum(-1)
