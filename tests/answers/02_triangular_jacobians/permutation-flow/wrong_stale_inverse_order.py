# mistake: The inverse order is a plain attribute, so after loading forward is new and inverse is old.
# hint: Everything that one direction needs has to be in the state dictionary, or be computed from what is.
class PermutationFlow(torch.nn.Module):
    """The flow z[destination[i]] = x[i].

    destination: each of 0, ..., D-1 exactly once, a list or an int64 tensor (D,); ValueError otherwise.
    """

    def __init__(self, destination):
        super().__init__()
        destination = torch.as_tensor(destination)
        if sorted(destination.tolist()) != list(range(len(destination))):
            raise ValueError(f"expected each of 0 to {len(destination) - 1} exactly once, found {destination.tolist()}")
        self.register_buffer("destination", destination)
        self.order = destination.argsort()

    def forward(self, x):
        """Map x (*batch, D) to z (*batch, D); return z and the log-determinants (*batch) of x -> z."""
        return x[..., self.order], torch.zeros_like(x[..., 0])

    def inverse(self, z):
        """Map z (*batch, D) to x (*batch, D); return x and the log-determinants (*batch) of z -> x."""
        return z[..., self.destination], torch.zeros_like(z[..., 0])
