# mistake: rotation_matrix returns the reflected unit vectors as rows, which is the transpose of Q.
# hint: Row n of the batch is Q e_n. Is that a row or a column of Q?
def apply_reflections(x, vectors):
    """Return H(v_K) ... H(v_1) x_n for every row x_n of x (N, D); vectors (K, D) holds v_1 first."""
    for v in vectors:
        v = v / v.norm()
        x = x - 2 * (x @ v)[:, None] * v
    return x


def rotation_matrix(vectors):
    """Return Q = H(v_K) ... H(v_1) S, shape (D, D), with S = diag(s, 1, ..., 1) such that det Q = +1."""
    K, D = vectors.shape
    Q = apply_reflections(torch.eye(D, dtype=vectors.dtype), vectors).clone()
    Q[:, 0] *= (-1) ** K
    return Q
