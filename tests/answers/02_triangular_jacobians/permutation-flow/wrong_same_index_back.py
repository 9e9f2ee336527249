# mistake: inverse reorders with the same index as forward.
# hint: That works where pairs are swapped. Try a cycle of three.
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

    def forward(self, x):
        """Map x (*batch, D) to z (*batch, D); return z and the log-determinants (*batch) of x -> z."""
        return x[..., self.destination.argsort()], torch.zeros_like(x[..., 0])

    def inverse(self, z):
        """Map z (*batch, D) to x (*batch, D); return x and the log-determinants (*batch) of z -> x."""
        return z[..., self.destination.argsort()], torch.zeros_like(z[..., 0])
