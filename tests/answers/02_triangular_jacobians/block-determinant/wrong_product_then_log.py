# mistake: The determinants are multiplied first and the logarithm is taken last.
# hint: 0.001 to the power 200 is no float. Take the logarithm before you combine.
def block_log_det(matrix, sizes):
    """Return (sign, log|det|), each (*batch), of lower block triangular matrices (*batch, D, D)."""
    product = torch.ones_like(matrix[..., 0, 0])
    start = 0
    for size in sizes:
        stop = start + size
        block = torch.linalg.det(matrix[..., start:stop, start:stop])
        product = product * block
        start = stop
    return product.sign(), product.abs().log()
