class PermutationFlow(torch.nn.Module):
    """Writes to places in forward and reads from them in inverse."""

    def __init__(self, destination):
        super().__init__()
        places = torch.tensor([int(place) for place in destination])
        if not torch.equal(torch.sort(places).values, torch.arange(places.numel())):
            raise ValueError("destination must hold each place exactly once")
        self.register_buffer("places", places)

    def forward(self, x):
        z = torch.empty_like(x)
        z[..., self.places] = x
        return z, x.new_zeros(x.shape[:-1])

    def inverse(self, z):
        return z.index_select(-1, self.places), z.new_zeros(z.shape[:-1])
