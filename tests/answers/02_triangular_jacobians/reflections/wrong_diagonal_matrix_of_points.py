# mistake: Every reflection makes a matrix of shape (N, N), with the factors of the points on its diagonal.
# hint: A row of numbers is multiplied by a factor without a matrix: give the factors the shape (N, 1).
def apply_reflections(x, vectors):
    for v in vectors:
        v = v / v.norm()
        c = x @ v
        x = x - 2 * (torch.diag(c) @ v.expand(len(x), -1))
    return x


def rotation_matrix(vectors):
    K, D = vectors.shape
    s = torch.eye(D, dtype=vectors.dtype)
    if K % 2 == 1:
        s[0, 0] = -1
    return apply_reflections(s, vectors).T
