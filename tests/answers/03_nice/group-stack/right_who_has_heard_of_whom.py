class GroupStack(torch.nn.Module):
    """Follows which outputs have heard of which inputs, and adds couplings until all have heard of all."""

    def __init__(self, groups, make_net):
        super().__init__()
        members = {}
        for place, group in enumerate(int(g) for g in groups):
            members.setdefault(group, []).append(place)
        if len(members) < 2:
            raise ValueError("one group alone has nothing to read")
        places = range(len(groups))
        heard = [{place} for place in places]
        self.plan, nets = [], []
        while any(len(known) < len(groups) for known in heard):
            moved = members[len(nets) % len(members)]
            read = [place for place in places if place not in moved]
            news = set().union(*(heard[place] for place in read))
            for place in moved:
                heard[place] = heard[place] | news
            self.plan.append((read, moved))
            nets.append(make_net(len(read), len(moved)))
        self.nets = torch.nn.ModuleList(nets)

    def forward(self, x):
        for (read, moved), net in zip(self.plan, self.nets):
            x = x.index_add(-1, torch.tensor(moved), net(x[..., read]))
        return x, x.new_zeros(x.shape[:-1])

    def inverse(self, z):
        for (read, moved), net in reversed(list(zip(self.plan, self.nets))):
            z = z.index_add(-1, torch.tensor(moved), net(z[..., read]), alpha=-1)
        return z, z.new_zeros(z.shape[:-1])
