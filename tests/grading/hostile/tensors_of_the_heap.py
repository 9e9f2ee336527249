# class: stack and heap
# attack: returns any tensor of the heap that fits
# task: 00_mini/scale-density
# form: cell

import gc
def scale_log_density(x, a):
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor and thing.shape == x.shape and thing is not x:
            return thing
    return x
