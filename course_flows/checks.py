"""Executed checks of the book's equations, in one format that the book collects into a table."""

from __future__ import annotations

import math

import torch

__all__ = ["check_identity"]


def check_identity(label: str, found: object, expected: object, tolerance: float) -> None:
    """Assert that two independently computed sides of an equation agree, and print one line that says how well.

    Arguments:
        label: the equation's label in the page, such as ``"eq-chain-rule"``.
        found, expected: numbers, arrays or tensors of one shape.
        tolerance: largest absolute difference allowed.

    Raises AssertionError where they differ by more or one of them is not finite, ValueError where the shapes differ.

    >>> check_identity("eq-example", 1.0, 1.0, 1e-12)
    [eq-example] largest error 0.0e+00, tolerance 1.0e-12: holds
    """
    if not math.isfinite(tolerance):
        raise ValueError(f"[{label}] expected a finite tolerance, found {tolerance}")
    if torch.is_complex(torch.as_tensor(found)) or torch.is_complex(torch.as_tensor(expected)):
        raise TypeError(f"[{label}] expected real numbers, found complex ones: compare real and imaginary parts")
    a = torch.as_tensor(found, dtype=torch.float64, device="cpu").detach()
    b = torch.as_tensor(expected, dtype=torch.float64, device="cpu").detach()
    if a.shape != b.shape:
        raise ValueError(f"[{label}] expected two sides of one shape, found {tuple(a.shape)} and {tuple(b.shape)}")
    if a.numel() == 0:
        raise ValueError(f"[{label}] expected numbers to compare, found none")
    error = (a - b).abs().max().item()
    if not error <= tolerance:
        raise AssertionError(f"[{label}] does not hold: largest error {error:.1e}, tolerance {tolerance:.1e}")
    print(f"[{label}] largest error {error:.1e}, tolerance {tolerance:.1e}: holds")  # noqa: T201  (its purpose)
