def apply_reflections(x, vectors):
    if vectors.shape[0] == 0:
        return x
    v = vectors[0]
    largest = v.abs().max()
    v = v / largest
    factor = 2.0 * (x * v).sum(dim=1, keepdim=True) / (v * v).sum()
    return apply_reflections(x - factor * v, vectors[1:])


def rotation_matrix(vectors):
    D = vectors.shape[1]
    identity = torch.eye(D, dtype=vectors.dtype)
    Q = identity
    for v in vectors:
        direction = v / torch.sqrt((v / v.abs().max()).square().sum()) / v.abs().max()
        Q = (identity - 2 * direction[:, None] * direction[None, :]) @ Q
    first = -1.0 if len(vectors) % 2 == 1 else 1.0
    S = torch.cat([torch.full((1,), first, dtype=vectors.dtype), torch.ones(D - 1, dtype=vectors.dtype)])
    return Q @ torch.diag(S)
