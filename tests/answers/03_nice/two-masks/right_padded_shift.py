class TwoMaskCoupling(torch.nn.Module):
    def __init__(self, reads, moves, net):
        super().__init__()
        reads, moves = (torch.tensor([bool(v) for v in mask], dtype=torch.bool) for mask in (reads, moves))
        if (reads.int() + moves.int()).max() == 2:
            raise ValueError("a coordinate is in both masks")
        self.register_buffer("masks", torch.stack((reads, moves)))
        self.conditioner = net

    def shift(self, x):
        reads, moves = self.masks
        outputs = self.conditioner(x[..., reads.nonzero().squeeze(1)])
        padded = torch.cat([outputs, x.new_zeros(x.shape[:-1] + (1,))], dim=-1)
        return padded[..., torch.where(moves, moves.cumsum(0) - 1, padded.shape[-1] - 1)]

    def forward(self, x):
        return x + self.shift(x), torch.zeros(x.shape[:-1]).to(x)

    def inverse(self, z):
        return z - self.shift(z), torch.zeros_like(z).sum(dim=-1)
