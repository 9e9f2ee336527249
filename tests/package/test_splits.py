"""From a table to three parts: shares, standardization, and noise where values were rounded."""

import pytest
import torch

from course_flows.data import DataError, TabularData, load_tabular, split_table


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
    data = table()
    data.x[:, 2] = 7
    with pytest.raises(DataError, match="c holds the one value 7: leave it out"):
        split_table(data)
