class WhiteningFlow(torch.nn.Module):
    """From the last coordinate to the first: subtract what the later ones tell, divide by what is left."""

    def __init__(self, data):
        super().__init__()
        count, size = data.shape
        mean = data.sum(0) / count
        rest = data - mean
        weight = torch.zeros(size, size, dtype=data.dtype)
        done = []
        for i in reversed(range(size)):
            row = torch.zeros(size, dtype=data.dtype)
            row[i] = 1
            residual = rest[:, i]
            for _ in range(2):
                for j, z in done:
                    slope = (residual @ z) / count
                    residual = residual - slope * z
                    row = row - slope * weight[j]
            spread = (residual @ residual / count).sqrt()
            weight[i] = row / spread
            done.append((i, residual / spread))
        self.register_buffer("offset", -(weight @ mean))
        self.register_buffer("mean", mean)
        self.register_buffer("weight", weight)

    def forward(self, x):
        z = (self.weight @ (x - self.mean)[..., None])[..., 0]
        return z, torch.log(torch.diag(self.weight)).sum() * torch.ones(len(x), dtype=x.dtype)

    def inverse(self, z):
        x = []
        for i in reversed(range(z.shape[1])):
            later = sum((self.weight[i, i + 1 + k] * value for k, value in enumerate(x)), torch.zeros_like(z[:, 0]))
            x.insert(0, (z[:, i] - later) / self.weight[i, i])
        return torch.stack(x, 1) + self.mean, torch.log(1 / torch.diag(self.weight)).sum() * torch.ones_like(z[:, 0])
