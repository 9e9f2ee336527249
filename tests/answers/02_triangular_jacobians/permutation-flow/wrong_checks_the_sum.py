# mistake: Only the sum of the numbers is checked.
# hint: 1, 1, 1 has the sum of 0, 1, 2: compare the sorted numbers.
class PermutationFlow(torch.nn.Module):
    def __init__(self, destination):
        super().__init__()
        destination = torch.as_tensor(destination)
        D = len(destination)
        if destination.sum() != D * (D - 1) // 2:
            raise ValueError("destination must hold each of 0, ..., D-1 exactly once")
        self.register_buffer("destination", destination.clone())

    def forward(self, x):
        z = x[..., torch.argsort(self.destination)]
        return z, x.new_zeros(x.shape[:-1])

    def inverse(self, z):
        return z[..., self.destination], z.new_zeros(z.shape[:-1])
