class TwoMaskCoupling(torch.nn.Module):
    """Keeps the places of the two masks as index buffers."""

    def __init__(self, reads, moves, net):
        super().__init__()
        to_read = [place for place, flag in enumerate(reads) if flag]
        to_move = [place for place, flag in enumerate(moves) if flag]
        if set(to_read) & set(to_move):
            raise ValueError("a coordinate cannot be read and moved")
        self.register_buffer("to_read", torch.tensor(to_read, dtype=torch.int64))
        self.register_buffer("to_move", torch.tensor(to_move, dtype=torch.int64))
        self.net = net

    def _move(self, points, sign):
        shift = self.net(points.index_select(-1, self.to_read))
        moved = points.index_add(-1, self.to_move, shift, alpha=sign)
        return moved, torch.zeros(points.shape[:-1], dtype=points.dtype)

    def forward(self, x):
        return self._move(x, 1)

    def inverse(self, z):
        return self._move(z, -1)
