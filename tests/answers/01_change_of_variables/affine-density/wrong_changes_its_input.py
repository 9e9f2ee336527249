# mistake: The data points are overwritten by in-place operations.
# hint: x -= b changes the tensor of whoever called you, and autograd refuses it: compute a new tensor.
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    x -= b
    x /= a
    return base_log_prob(x) - a.abs().log().sum()
