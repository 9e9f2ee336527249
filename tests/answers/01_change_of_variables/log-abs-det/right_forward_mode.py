def log_abs_det(fn, x):
    """Push one unit vector after the other through the map: the columns of the Jacobian."""
    count = math.prod(x.shape[1:])
    columns = []
    for direction in torch.eye(count, dtype=x.dtype):
        tangent = direction.reshape(x.shape[1:]).expand(x.shape).contiguous()
        _, column = torch.func.jvp(fn, (x,), (tangent,))
        columns.append(column.reshape(len(x), count))
    return torch.linalg.slogdet(torch.stack(columns, dim=2)).logabsdet
