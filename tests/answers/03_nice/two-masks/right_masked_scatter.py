class TwoMaskCoupling(torch.nn.Module):
    def __init__(self, reads, moves, net):
        super().__init__()
        role = torch.zeros(len(reads), dtype=torch.int8)
        for place, (read, moved) in enumerate(zip(reads, moves)):
            if read and moved:
                raise ValueError(f"coordinate {place} is read and moved")
            role[place] = 1 if read else 2 if moved else 0
        self.register_buffer("role", role)
        self.add_module("m", net)

    def shift(self, points):
        mask = (self.role == 2).expand(points.shape)
        return torch.zeros_like(points).masked_scatter(mask, self.m(points[..., self.role == 1]))

    def forward(self, x):
        return x + self.shift(x), x.new_zeros(x.shape[:-1])

    def inverse(self, z):
        return z - self.shift(z), z.new_zeros(z.shape[:-1])
