# mistake: The points are changed in place.
# hint: x belongs to the caller, and autograd needs its old values: make a new tensor.
def apply_reflections(x, vectors):
    """Return H(v_K) ... H(v_1) x_n for every row x_n of x (N, D); vectors (K, D) holds v_1 first."""
    for v in vectors:
        v = v / v.norm()
        x -= 2 * (x @ v)[:, None] * v
    return x


def rotation_matrix(vectors):
    """Return Q = H(v_K) ... H(v_1) S, shape (D, D), with S = diag(s, 1, ..., 1) such that det Q = +1."""
    K, D = vectors.shape
    Q = apply_reflections(torch.eye(D, dtype=vectors.dtype), vectors).T.clone()  # row n of the batch is Q e_n
    Q[:, 0] *= (-1) ** K
    return Q
