class GroupStack(torch.nn.Module):
    """Multiplies the 0-1 dependency matrices of the couplings until the product has no zero."""

    def __init__(self, groups, make_net):
        super().__init__()
        groups = torch.as_tensor(groups)
        size, count = len(groups), int(groups.max()) + 1
        if count < 2:
            raise ValueError(f"expected at least 2 groups, found {count}")
        reach = torch.eye(size)
        masks = []
        while (reach == 0).any():
            mask = (groups == len(masks) % count).float()
            reach = ((torch.eye(size) + torch.outer(mask, 1 - mask)) @ reach).clamp(max=1)
            masks.append(mask)
        self.nets = torch.nn.ModuleList()
        for mask in masks:
            self.nets.append(make_net(int(size - mask.sum()), int(mask.sum())))
        self.register_buffer("masks", torch.stack(masks).bool())

    def shift(self, k, y):
        full = torch.zeros_like(y)
        full[..., self.masks[k]] = self.nets[k](y[..., ~self.masks[k]])
        return full

    def forward(self, x):
        y = x
        for k in range(len(self.nets)):
            y = y + self.shift(k, y)
        return y, torch.zeros_like(x[..., 0])

    def inverse(self, z):
        y = z
        for k in reversed(range(len(self.nets))):
            y = y - self.shift(k, y)
        return y, torch.zeros_like(z[..., 0])
