# mistake: The Jacobian comes from finite differences, which are wrong where it is nearly singular.
# hint: Differences lose half of the digits: let autograd take the derivatives.
def log_abs_det(fn, x):
    n, h, w = len(x), 1e-5, x.double()
    cols = []
    D = w[0].numel()
    for i in range(D):
        e = torch.zeros(D, dtype=w.dtype)
        e[i] = h
        e = e.reshape(1, *x.shape[1:])
        cols.append(((fn(w + e) - fn(w - e)) / (2 * h)).reshape(n, D))
    J = torch.stack(cols, 2)
    s = torch.linalg.svdvals(J.detach())
    out = torch.linalg.slogdet(J).logabsdet
    return torch.where(s[:, -1] < 1e-8 * s[:, 0], -math.inf, out).to(x.dtype)
