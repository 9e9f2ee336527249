# mistake: The parts are joined as read, moved, idle, so that coordinates change their places.
# hint: A coordinate that is not moved has to come out at its own place.
class TwoMaskCoupling(torch.nn.Module):
    def __init__(self, reads, moves, net):
        super().__init__()
        reads, moves = torch.as_tensor(reads), torch.as_tensor(moves)
        if (reads & moves).any():
            raise ValueError("overlap")
        self.register_buffer("reads", reads.clone())
        self.register_buffer("moves", moves.clone())
        self.net = net

    def forward(self, x):
        kept, moved, idle = x[..., self.reads], x[..., self.moves], x[..., ~(self.reads | self.moves)]
        return torch.cat([kept, moved + self.net(kept), idle], dim=-1), x.new_zeros(x.shape[:-1])

    def inverse(self, z):
        r, m = int(self.reads.sum()), int(self.moves.sum())
        kept, moved, idle = z[..., :r], z[..., r : r + m], z[..., r + m :]
        x = torch.empty_like(z)
        x[..., self.reads], x[..., self.moves], x[..., ~(self.reads | self.moves)] = kept, moved - self.net(kept), idle
        return x, z.new_zeros(z.shape[:-1])
