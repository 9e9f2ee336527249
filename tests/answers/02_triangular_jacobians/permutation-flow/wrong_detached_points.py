# mistake: The points are detached, so no gradient passes through the flow to what comes before it.
# hint: A permutation has nothing to train, but the gradients of its points must get through.
class PermutationFlow(torch.nn.Module):
    def __init__(self, destination):
        super().__init__()
        destination = torch.as_tensor(destination)
        D = len(destination)
        if sorted(destination.tolist()) != list(range(D)):
            raise ValueError("destination must hold each of 0, ..., D-1 exactly once")
        self.register_buffer("destination", destination.clone())

    def forward(self, x):
        z = x.detach()[..., torch.argsort(self.destination)]
        return z, x.new_zeros(x.shape[:-1])

    def inverse(self, z):
        return z.detach()[..., self.destination], z.new_zeros(z.shape[:-1])
