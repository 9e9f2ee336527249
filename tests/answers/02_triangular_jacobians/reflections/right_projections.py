def apply_reflections(x, vectors):
    lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    for unit in (vectors / lengths).unbind(0):
        along = torch.outer(torch.mv(x, unit), unit)
        x = (x - along) - along
    return x.clone()


def rotation_matrix(vectors):
    number, size = vectors.shape
    start = torch.eye(size, dtype=vectors.dtype)
    start[0, 0] = 1.0 if number % 2 == 0 else -1.0
    images = apply_reflections(start, vectors)
    return images.transpose(0, 1)
