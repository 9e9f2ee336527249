# class: lying objects
# attack: answers an object whose type says that it is a tensor
# task: 00_mini/scale-density
# form: cell

class Meta(type):
    def __eq__(cls, other): return True
    def __instancecheck__(cls, other): return True
    __hash__ = type.__hash__
class Liar(metaclass=Meta):
    __class__ = torch.Tensor
    def __torch_function__(self, *a, **k): return torch.zeros(7)
def scale_log_density(x, a):
    return Liar()
