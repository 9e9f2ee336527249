def log_abs_det(fn, x):
    J = torch.func.vmap(torch.func.jacfwd(lambda p: fn(p.reshape(1, *x.shape[1:])).reshape(-1)))(x.reshape(len(x), -1))
    out = []
    for A in J:
        total = A.new_zeros(())
        while len(A):
            k = A[:, 0].abs().argmax()
            pivot = A[k, 0]
            total = total + pivot.abs().log()
            if pivot == 0:
                break
            rest = torch.cat([A[:k], A[k + 1 :]])
            A = rest[:, 1:] - rest[:, :1] * A[k, 1:] / pivot
        out.append(total)
    return torch.stack(out)
