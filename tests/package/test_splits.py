"""From a table to three parts: shares, standardization, and noise where values were rounded."""

import json

import numpy as np
import pytest
import torch

from course_flows.data import DataError, TabularData, Units, load_split, load_tabular, split_table


def table(n=1000, seed=0):
    """Columns: continuous, rounded to 0.25, whole numbers far from 0, nearly all distinct."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 4, generator=g, dtype=torch.float64)
    x[:, 1] = (8 * x[:, 1]).round() / 4
    x[:, 2] = 500 + (3 * x[:, 2]).round()
    x[: n // 50, 3] = x[n // 2 : n // 2 + n // 50, 3]
    return TabularData(x, ("a", "b", "c", "d"), "made up")


def rows(split):
    """The table again, in its own units, in the order of the parts."""
    return torch.cat([split.train, split.validation, split.test]) * split.deviation + split.mean


def test_shares_and_standardization():
    split = split_table(table(1003))
    assert [len(part) for part in (split.train, split.validation, split.test)] == [813, 90, 100]
    known = torch.cat([split.train, split.validation])
    torch.testing.assert_close(known.mean(0), torch.zeros(4).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(known.std(0, correction=0), torch.ones(4).double(), atol=1e-12, rtol=0)
    assert split.columns == ("a", "b", "c", "d")


def test_every_row_is_in_one_part_and_noise_is_less_than_a_step():
    data = table()
    split = split_table(data)
    torch.testing.assert_close(split.noise, torch.tensor([0, 0.25, 1, 0]).double(), rtol=0, atol=1e-9)
    back = rows(split)
    back[:, 1] = (back[:, 1] * 4 + 1e-9).floor() / 4
    back[:, 2] = (back[:, 2] + 1e-9).floor()
    for before, after in zip(data.x.T, back.T):
        torch.testing.assert_close(after.sort().values, before.sort().values, rtol=0, atol=1e-9)
    assert (back - data.x).abs().max() > 1  # shuffled


def test_noise_fills_the_step_evenly():
    share = (rows(split_table(table(20_000)))[:, 2]) % 1
    assert share.mean().item() == pytest.approx(0.5, abs=0.01)
    assert share.var().item() == pytest.approx(1 / 12, abs=0.002)


def test_the_usual_step_decides_about_the_noise():
    data = table()
    data.x[0, 1] += 0.001  # one value that lies close to another
    assert split_table(data).noise[1].item() == pytest.approx(0.25, rel=1e-6)


def test_a_value_that_many_rows_share_makes_noise():
    data = table()
    data.x[:5, 0] = 0.0  # of 1,000 rows
    assert split_table(data).noise[0] == 0
    data.x[:6, 0] = 0.0
    values = data.x[:, 0].unique()
    width = split_table(data).noise[0].item()
    assert values.diff().min() < width < values.diff().max()
    assert (rows(split_table(data))[:, 0].abs() < width).sum() >= 6


def test_the_seed_decides_and_the_test_rows_stay_out_of_the_scale():
    data = table()
    assert torch.equal(split_table(data, 1).test, split_table(data, 1).test)
    assert not torch.equal(split_table(data, 1).test, split_table(data, 2).test)
    split = split_table(data)
    moved = data.x.clone()
    at = (data.x[:, 0, None] == rows(split)[-100:, 0]).any(1) | (
        (data.x[:, 0, None] - rows(split)[-100:, 0]).abs() < 1e-9
    ).any(1)
    assert at.sum() == 100
    moved[at, 0] += 1e3
    other = split_table(TabularData(moved, data.columns, data.name))
    torch.testing.assert_close(other.train, split.train, rtol=0, atol=1e-9)
    assert other.test[:, 0].min() > 900


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "iris", "wine"])
def test_bundled_tables(name):
    split = split_table(load_tabular(name))
    assert all(part.isfinite().all() for part in (split.train, split.validation, split.test))
    for part in rows(split).T:
        assert len(part.unique()) > 0.95 * len(part)


def test_tables_that_cannot_be_split():
    with pytest.raises(DataError, match="has 19 rows: at least 20"):
        split_table(table(19))
    for missing in (float("nan"), float("inf")):
        data = table()
        data.x[3, 1] = missing
        with pytest.raises(DataError, match="made up has 1 of 1000 rows with values that are not finite"):
            split_table(data)
    data = table()
    data.x[:, 2] = 7
    with pytest.raises(DataError, match="c holds the one value 7: leave it out"):
        split_table(data)


def test_units_lead_back_to_the_table():
    data = table()
    split = split_table(data)
    units = Units.from_json(json.loads(json.dumps(split.units.to_json())))
    assert torch.equal(units.restore(split.test), split.mean + split.deviation * split.test)
    assert units.restore(split.test.float()).dtype == torch.float64
    assert units.agrees_with(split.units)
    assert units.columns == data.columns
    # the density of a standardized row and of the same row in the units of the table
    normal = torch.distributions.Normal(0.0, 1.0)
    scaled = torch.distributions.Normal(split.mean, split.deviation)
    difference = normal.log_prob(split.test).sum(1) - scaled.log_prob(units.restore(split.test)).sum(1)
    torch.testing.assert_close(difference, torch.full((len(split.test),), units.log_scale).double())
    for other in (
        Units(units.columns[::-1], units.mean, units.deviation),
        Units(units.columns, units.mean + 1e-6 * units.deviation, units.deviation),
        Units(units.columns, units.mean, units.deviation * (1 + 1e-6)),
    ):
        assert not units.agrees_with(other)
    assert units.agrees_with(Units(units.columns, units.mean + 1e-12 * units.deviation, units.deviation))


def test_a_table_with_holes_is_split_without_them(tmp_path):
    x = table(500).x.numpy()
    x[::10, 0] = np.nan
    np.savez(tmp_path / "holes.npz", x=x)
    with pytest.raises(DataError, match="50 of 500 rows with missing values"):
        load_split("holes", tmp_path)
    split = load_split("holes", tmp_path, drop_missing=True)
    assert (len(rows(split)), split.left_out) == (450, 50)


def write_patches(folder, **arrays):
    generator = np.random.default_rng(0)
    made = {
        part: generator.integers(0, 256, (count, 8, 8), dtype=np.uint8)
        for part, count in {"train": 300, "validation": 40, "test": 50}.items()
    }
    (folder / "bsds300").mkdir()
    np.savez(folder / "bsds300" / "patches8_gray.npz", **{**made, **arrays})
    return made


def test_patches_are_noised_scaled_and_lose_their_mean(tmp_path):
    made = write_patches(tmp_path)
    split = load_split("bsds300", tmp_path)
    for part, patches in made.items():
        x = getattr(split, part)
        assert x.shape == (len(patches), 63)
        last = -x.sum(1, keepdim=True)  # the mean of all 64 is 0
        centered = patches.reshape(-1, 64) - patches.mean((1, 2))[:, None]
        difference = 256 * torch.cat([x, last], 1) - torch.from_numpy(centered)
        assert difference.abs().max() < 1  # noise of [0, 1), less its mean
        assert difference.std().item() == pytest.approx(12**-0.5, rel=0.05)
    assert torch.equal(split.units.restore(split.test), split.test)
    assert split.units.log_scale == 0
    assert torch.equal(load_split("bsds300", tmp_path).test, split.test)


def test_patches_that_are_not_there_or_broken(tmp_path, monkeypatch):
    monkeypatch.delenv("COURSE_FLOWS_DATA", raising=False)
    for folder in (None, tmp_path):
        with pytest.raises(DataError, match=r"bsds300 was not found .*: put patches8_gray\.npz into a folder"):
            load_split("bsds300", folder)
    write_patches(tmp_path, test=np.zeros((5, 7, 8), np.uint8))
    with pytest.raises(DataError, match=r"expected uint8 arrays .* of shape \(N, 8, 8\), found .*\(5, 7, 8\)"):
        load_split("bsds300", tmp_path)
