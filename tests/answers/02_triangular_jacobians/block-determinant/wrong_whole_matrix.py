# mistake: The determinant of the whole stored matrix is taken, with what was never written.
# hint: What is above the diagonal blocks is no zero in memory.
def block_log_det(matrix, sizes):
    """Return (sign, log|det|), each (*batch), of lower block triangular matrices (*batch, D, D)."""
    return tuple(torch.linalg.slogdet(matrix))
