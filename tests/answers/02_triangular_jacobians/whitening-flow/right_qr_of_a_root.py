class WhiteningFlow(torch.nn.Module):
    def __init__(self, data):
        super().__init__()
        m = data.mean(0)
        c = data - m
        e, V = torch.linalg.eigh(c.T @ c / len(data))
        A = (V / e.sqrt()).T  # some whitening matrix
        Q, R = torch.linalg.qr(A)  # A = Q R, R upper
        W = R * R.diagonal().sign()[:, None]
        self.register_buffer("m", m)
        self.register_buffer("W", W.triu())

    def forward(self, x):
        return (x - self.m) @ self.W.T, self.W.diagonal().log().sum().repeat(len(x))

    def inverse(self, z):
        return torch.linalg.solve(self.W, z.T).T + self.m, -self.W.diagonal().log().sum().repeat(len(z))
