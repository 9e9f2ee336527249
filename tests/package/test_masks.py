"""Masks: shape, dtype, which places they keep, and that `flip` keeps exactly the others."""

from __future__ import annotations

import pytest
import torch

from course_flows.transforms import AffineCoupling, alternating_mask, channel_mask, checkerboard_mask, half_mask

MASKS = {
    "half": (lambda flip: half_mask(5, flip), (5,)),
    "alternating": (lambda flip: alternating_mask(5, flip), (5,)),
    "checkerboard": (lambda flip: checkerboard_mask(3, 4, flip), (1, 3, 4)),
    "channel": (lambda flip: channel_mask(5, flip), (5, 1, 1)),
}


@pytest.mark.parametrize(("build", "shape"), MASKS.values(), ids=MASKS.keys())
def test_shape_and_flip(build, shape):
    kept, flipped = build(False), build(True)
    assert kept.dtype == flipped.dtype == torch.bool
    assert kept.shape == flipped.shape == shape
    assert torch.equal(kept, ~flipped)
    assert kept.any()
    assert flipped.any()


def test_what_is_kept():
    assert half_mask(5).tolist() == [True, True, False, False, False]
    assert alternating_mask(5).tolist() == [True, False, True, False, True]
    assert channel_mask(3)[:, 0, 0].tolist() == [True, False, False]
    board = checkerboard_mask(3, 4)[0]
    for row in range(3):
        for column in range(4):
            assert board[row, column].item() == ((row + column) % 2 == 0)


def test_neighbors_on_a_checkerboard_differ():
    board = checkerboard_mask(6, 5)[0]
    assert (board[1:] != board[:-1]).all()
    assert (board[:, 1:] != board[:, :-1]).all()


@pytest.mark.parametrize("mask", [half_mask(1), alternating_mask(1), checkerboard_mask(1, 1), channel_mask(1)])
def test_masks_that_leave_nothing_to_do_are_refused_by_the_coupling(mask):
    with pytest.raises(ValueError, match="keeps some and moves some"):
        AffineCoupling(mask, torch.nn.Identity())


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (torch.tensor([1.0, 0.0]), r"bool mask .* found torch.float32 of shape \(2,\)"),
        (torch.tensor([[True, False]]), r"found torch.bool of shape \(1, 2\)"),
        (torch.ones(2, dtype=torch.bool, device="meta"), "mask with values, found one on the meta device"),
    ],
)
def test_what_is_no_mask_is_refused(mask, words):
    with pytest.raises(ValueError, match=words):
        AffineCoupling(mask, torch.nn.Identity())
