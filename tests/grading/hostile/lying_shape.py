# class: lying objects
# attack: answers a tensor that reports another shape and type
# task: 00_mini/scale-density
# form: cell

class Liar(torch.Tensor):
    shape = property(lambda self: torch.Size([7]))
    dtype = property(lambda self: torch.float64)
def scale_log_density(x, a):
    return torch.zeros(0).as_subclass(Liar)
