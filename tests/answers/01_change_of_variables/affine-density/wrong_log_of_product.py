# mistake: The scales are multiplied before the logarithm is taken, which underflows or overflows for large D.
# hint: What does a computer make of 0.001 to the power 700?
def affine_log_density(x, a, b, base_log_prob):
    if (a == 0).any():
        raise ValueError("every entry of a must differ from zero")
    z = (x - b) / a
    return base_log_prob(z) - torch.log(torch.prod(a).abs())
