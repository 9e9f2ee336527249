# mistake: A kind of tensor is returned that finds itself equal to everything.
# hint: Only the numbers of an ordinary tensor are looked at.
class Agreeable(torch.Tensor):
    def __eq__(self, other):
        return torch.ones(self.shape, dtype=torch.bool)


def inpainting_step(log_prob, x, observed, step):
    log_prob(x)
    return x.clone().as_subclass(Agreeable)
