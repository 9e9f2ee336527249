# mistake: keeps the shift as a plain tensor
# hint: Only parameters are trained: how does a module know which tensors are parameters?
class Shift(torch.nn.Module):
    """z = x + shift, with a trainable shift."""

    def __init__(self, features):
        super().__init__()
        self.shift = torch.zeros(features).double()

    def forward(self, x):
        return self.shift + x, x.new_zeros(x.shape[:-1])


def apply(function, x):
    """Call function with x."""
    result = function(x)
    return result
