class PermutationFlow(torch.nn.Module):
    def __init__(self, destination):
        super().__init__()
        d = [int(v) for v in destination]
        if set(d) != set(range(len(d))) or len(set(d)) != len(d):
            raise ValueError("no permutation")
        self.register_buffer("d", torch.tensor(d, dtype=torch.int32))

    def forward(self, x):
        z = torch.empty_like(x)
        z[..., self.d] = x
        return z, 0 * x[..., 0]

    def inverse(self, z):
        return z[..., self.d], torch.zeros_like(z[..., 0])
