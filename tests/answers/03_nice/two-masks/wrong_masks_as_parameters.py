# mistake: The masks are kept as parameters, not as buffers.
# hint: Which kind of tensor of a module is saved with it, but is not trained?
class TwoMaskCoupling(torch.nn.Module):
    """The additive coupling z[moves] = x[moves] + net(x[reads]); all else stays.

    reads, moves: masks, bool tensors (D,) or lists of D bools; ValueError if a coordinate is in both.
    net: a module from (*batch, number read) to (*batch, number moved).
    """

    def __init__(self, reads, moves, net):
        super().__init__()
        reads, moves = torch.as_tensor(reads), torch.as_tensor(moves)
        both = reads & moves
        if both.any():
            raise ValueError(f"expected no coordinate in both masks, found {both.nonzero().flatten().tolist()}")
        self.reads = torch.nn.Parameter(reads.clone(), requires_grad=False)
        self.moves = torch.nn.Parameter(moves.clone(), requires_grad=False)
        self.net = net

    def forward(self, x):
        """Map x (*batch, D) to z (*batch, D); return z and the log-determinants (*batch) of x -> z."""
        z = x.clone()
        z[..., self.moves] += self.net(x[..., self.reads])
        return z, x.new_zeros(x.shape[:-1])

    def inverse(self, z):
        """Map z (*batch, D) to x (*batch, D); return x and the log-determinants (*batch) of z -> x."""
        x = z.clone()
        x[..., self.moves] -= self.net(z[..., self.reads])
        return x, z.new_zeros(z.shape[:-1])
