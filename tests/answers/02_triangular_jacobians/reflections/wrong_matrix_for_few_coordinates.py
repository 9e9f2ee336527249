# mistake: The matrix of every reflection is built unless D is very large.
# hint: A reflection costs two products with v, for any D: no matrix of shape (D, D) is needed.
def apply_reflections(x, vectors):
    D = x.shape[1]
    if D < 5000:
        for v in vectors:
            x = x @ (torch.eye(D, dtype=x.dtype) - 2 * torch.outer(v, v) / (v @ v))
        return x
    for v in vectors:
        x = x - 2 * (x @ v)[:, None] * v / (v @ v)
    return x


def rotation_matrix(vectors):
    K, D = vectors.shape
    s = torch.eye(D, dtype=vectors.dtype)
    if K % 2 == 1:
        s[0, 0] = -1
    return apply_reflections(s, vectors).T
