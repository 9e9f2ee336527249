# mistake: One round is used where all groups but the first have a single member.
# hint: Who is the last to hear of whom: the members of the first group moved, or those of the others?
class GroupStack(torch.nn.Module):
    """Additive couplings that move one group after the other; as few as make every output depend on every input.

    groups: the group of each coordinate, each of 0, ..., G-1 at least once: a list or an int64 tensor (D,);
        ValueError if G = 1.
    make_net: make_net(R, M) returns a new module from (*batch, R) to (*batch, M).
    """

    def __init__(self, groups, make_net):
        super().__init__()
        groups = torch.as_tensor(groups)
        sizes = groups.bincount()
        G = len(sizes)
        if G == 1:
            raise ValueError("expected at least two groups, found one")
        # After one round only the members of group 0 have not heard of each other, unless there is but one of them.
        K = G if (sizes[1:] == 1).all() else G + 1
        self.register_buffer("moves", torch.stack([groups == k % G for k in range(K)]))
        self.nets = torch.nn.ModuleList(make_net(int((~moved).sum()), int(moved.sum())) for moved in self.moves)

    def forward(self, x):
        """Map x (*batch, D) to z (*batch, D); return z and the log-determinants (*batch) of x -> z."""
        z = x.clone()
        for moved, net in zip(self.moves, self.nets):
            z[..., moved] += net(z[..., ~moved])
        return z, x.new_zeros(x.shape[:-1])

    def inverse(self, z):
        """Map z (*batch, D) to x (*batch, D); return x and the log-determinants (*batch) of z -> x."""
        x = z.clone()
        for moved, net in zip(self.moves.flip(0), reversed(self.nets)):
            x[..., moved] -= net(x[..., ~moved])
        return x, z.new_zeros(z.shape[:-1])
