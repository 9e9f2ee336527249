# mistake: All vectors but the first are detached in rotation_matrix.
# hint: Every vector shapes the matrix, so a gradient must reach each of them.
def apply_reflections(x, vectors):
    for v in vectors:
        v = v / v.norm()
        x = x - 2 * (x @ v)[:, None] * v
    return x


def rotation_matrix(vectors):
    K, D = vectors.shape
    s = torch.eye(D, dtype=vectors.dtype)
    if K % 2 == 1:
        s[0, 0] = -1
    if K > 1:
        vectors = torch.cat([vectors[:1], vectors[1:].detach()])
    return apply_reflections(s, vectors).T
