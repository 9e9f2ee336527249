# class: processes
# attack: starts the workers of a data loader
# task: 00_mini/scale-density
# form: refused

list(torch.utils.data.DataLoader(list(range(9)), num_workers=2))
