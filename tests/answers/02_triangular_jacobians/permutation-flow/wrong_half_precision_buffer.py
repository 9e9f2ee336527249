# mistake: The order is kept in a floating point buffer that cannot hold large whole numbers.
# hint: Positions are whole numbers: keep them in an int64 buffer.
class PermutationFlow(torch.nn.Module):
    def __init__(self, destination):
        super().__init__()
        destination = torch.as_tensor(destination)
        D = len(destination)
        if sorted(destination.tolist()) != list(range(D)):
            raise ValueError("destination must hold each of 0, ..., D-1 exactly once")
        self.register_buffer("destination", destination.clone().to(torch.float16))

    def forward(self, x):
        z = x[..., torch.argsort(self.destination)]
        return z, x.new_zeros(x.shape[:-1])

    def inverse(self, z):
        return z[..., self.destination.long()], z.new_zeros(z.shape[:-1])
