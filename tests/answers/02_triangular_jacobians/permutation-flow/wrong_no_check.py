# mistake: Lists that are no permutation are accepted.
# hint: With [0, 0, 1] two coordinates go to one place. Is there an inverse?
class PermutationFlow(torch.nn.Module):
    """The flow z[destination[i]] = x[i].

    destination: each of 0, ..., D-1 exactly once, a list or an int64 tensor (D,); ValueError otherwise.
    """

    def __init__(self, destination):
        super().__init__()
        destination = torch.as_tensor(destination)
        self.register_buffer("destination", destination)

    def forward(self, x):
        """Map x (*batch, D) to z (*batch, D); return z and the log-determinants (*batch) of x -> z."""
        return x[..., self.destination.argsort()], torch.zeros_like(x[..., 0])

    def inverse(self, z):
        """Map z (*batch, D) to x (*batch, D); return x and the log-determinants (*batch) of z -> x."""
        return z[..., self.destination], torch.zeros_like(z[..., 0])
