class TwoMaskCoupling(torch.nn.Module):
    """Takes a point apart into coordinates and puts it together again."""

    def __init__(self, reads, moves, net):
        super().__init__()
        self.register_buffer("reads", torch.as_tensor(reads).clone())
        self.register_buffer("moves", torch.as_tensor(moves).clone())
        if any(r and m for r, m in zip(self.reads.tolist(), self.moves.tolist())):
            raise ValueError("the two masks have a coordinate in common")
        self.net = net

    def forward(self, x, sign=1.0):
        columns = list(x.unbind(-1))
        seen = [c for c, r in zip(columns, self.reads.tolist()) if r]
        seen = torch.stack(seen, dim=-1) if seen else x[..., :0]
        shifts = iter(self.net(seen).unbind(-1))
        columns = [c + sign * next(shifts) if m else c for c, m in zip(columns, self.moves.tolist())]
        return torch.stack(columns, dim=-1), torch.zeros_like(columns[0])

    def inverse(self, z):
        return self.forward(z, sign=-1.0)
