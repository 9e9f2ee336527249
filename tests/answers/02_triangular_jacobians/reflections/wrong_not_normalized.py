# mistake: The division by v'v is missing, which is right for unit vectors only.
# hint: Which length did you have in mind for v? Try v and 2 v.
def apply_reflections(x, vectors):
    """Return H(v_K) ... H(v_1) x_n for every row x_n of x (N, D); vectors (K, D) holds v_1 first."""
    for v in vectors:
        x = x - 2 * (x @ v)[:, None] * v
    return x


def rotation_matrix(vectors):
    """Return Q = H(v_K) ... H(v_1) S, shape (D, D), with S = diag(s, 1, ..., 1) such that det Q = +1."""
    K, D = vectors.shape
    Q = apply_reflections(torch.eye(D, dtype=vectors.dtype), vectors).T.clone()  # row n of the batch is Q e_n
    Q[:, 0] *= (-1) ** K
    return Q
