# mistake: apply_reflections builds every reflection as a matrix of D x D numbers.
# hint: You need v'x, one number a point, and never the matrix v v'.
def apply_reflections(x, vectors):
    """Return H(v_K) ... H(v_1) x_n for every row x_n of x (N, D); vectors (K, D) holds v_1 first."""
    for v in vectors:
        v = v / v.norm()
        H = torch.eye(len(v), dtype=v.dtype) - 2 * torch.outer(v, v)
        x = x @ H.T
    return x


def rotation_matrix(vectors):
    """Return Q = H(v_K) ... H(v_1) S, shape (D, D), with S = diag(s, 1, ..., 1) such that det Q = +1."""
    K, D = vectors.shape
    Q = apply_reflections(torch.eye(D, dtype=vectors.dtype), vectors).T.clone()  # row n of the batch is Q e_n
    Q[:, 0] *= (-1) ** K
    return Q
