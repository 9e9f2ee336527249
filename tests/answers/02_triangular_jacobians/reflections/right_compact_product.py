def _compact(vectors):
    """The product of all reflections as I - Y' T Y with unit rows in Y and a small triangular T (K, K)."""
    Y = torch.nn.functional.normalize(vectors, dim=1, eps=0.0)
    gram = Y @ Y.T
    small = 0.5 * torch.eye(len(Y), dtype=Y.dtype) + gram.tril(-1)
    return Y, small


def apply_reflections(x, vectors):
    Y, small = _compact(vectors)
    weights = torch.linalg.solve_triangular(small, Y @ x.T, upper=False)
    return x - weights.T @ Y


def rotation_matrix(vectors):
    Y, small = _compact(vectors)
    D = vectors.shape[1]
    Q = torch.eye(D, dtype=vectors.dtype) - Y.T @ torch.linalg.solve_triangular(small, Y, upper=False)
    signs = torch.ones(D, dtype=vectors.dtype)
    if len(vectors) % 2:
        signs[0] = -1
    return Q * signs
