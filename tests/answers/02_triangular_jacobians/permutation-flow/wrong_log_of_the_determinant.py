# mistake: The log-determinant is the logarithm of det P, NaN for odd permutations.
# hint: The determinant of a permutation is +1 or -1. Which of its properties does a volume see?
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
        return x[..., self.destination.argsort()], self._log_det(x)

    def _log_det(self, x):
        matrix = torch.eye(len(self.destination), dtype=x.dtype)[self.destination]
        return torch.linalg.det(matrix).log().expand(x.shape[:-1])

    def inverse(self, z):
        """Map z (*batch, D) to x (*batch, D); return x and the log-determinants (*batch) of z -> x."""
        return z[..., self.destination], self._log_det(z)
