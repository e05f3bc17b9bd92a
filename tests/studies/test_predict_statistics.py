import itertools

import numpy as np
import pytest

from scoregrain.studies.predict_statistics import (
    crossed_interval,
    inside_permutations,
    interaction,
    mean_correlation,
    network_permutations,
    pooled,
    within,
)

RNG = np.random.default_rng(0)


def test_within_a_data_set_what_differs_between_them_does_not_count():
    x = np.array([[1.0, 2, 3, 4], [4, 3, 2, 1]])
    y = np.array([[101.0, 102, 103, 104], [4, 3, 2, 1]])
    assert within(x, y) == pytest.approx(1)
    assert pooled(x, y) < 0.6
    assert within(x, y * np.array([[1], [-1]])) == pytest.approx(0)


def test_a_data_set_without_an_order_is_left_out():
    x = np.array([[1.0, 2, 3], [1, 1, 1]])
    assert within(x, x) == pytest.approx(1)
    assert np.isnan(within(x[1:], x[1:]))


def test_exchanging_networks_keeps_what_data_sets_have_in_common():
    order = np.arange(4.0)
    x, y = np.tile(order, (6, 1)), np.tile(order, (6, 1)) + 0.1 * RNG.normal(size=(6, 4))
    exact = np.mean([within(x, y[:, list(p)]) >= within(x, y) - 1e-12 for p in itertools.permutations(range(4))])
    assert network_permutations(within, x, y) == exact == 1 / 24  # not 24⁻⁶, as if data sets were independent
    assert network_permutations(within, x, -y) == 1


def test_the_interval_covers_no_correlation_where_networks_differ_alike_in_all_data_sets():
    refused, cells, trials = 0, 0, 60
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        x = rng.normal(size=(1, 7)) + 0.1 * rng.normal(size=(6, 7))  # a property of the network, nearly
        y = rng.normal(size=(1, 7, 1)) + 0.1 * rng.normal(size=(6, 7, 2))  # and another, independent one
        low, high = crossed_interval(within, [(x, y)], draws=500)
        refused += low > 0 or high < 0
        rho = [float(within(x[i : i + 1], y[i : i + 1].mean(-1))) for i in range(6)]
        cells += abs(np.mean(rho)) > 2.57 * np.std(rho, ddof=1) / np.sqrt(6)
    assert refused <= 6  # nominal 3 of 60; a count above 6 has p = 0.03
    assert cells > 20  # data sets taken for independent reject most of the time


def test_the_interval_finds_a_correlation():
    x = RNG.normal(size=(6, 7))
    low, high = crossed_interval(pooled, [(x, x[..., None] + 0.2 * RNG.normal(size=(6, 7, 3)))])
    assert 0.5 < low < high < 1
    assert np.isnan(crossed_interval(within, [(x[:1], x[:1, :, None])])).all()


def test_the_interaction_does_not_see_what_a_network_or_a_data_set_does_alike():
    x = RNG.normal(size=(6, 7))
    rows, columns = RNG.normal(size=(6, 1)), RNG.normal(size=(1, 7))
    assert interaction(x, x + 9 * rows - 7 * columns) == pytest.approx(1)
    assert interaction(x + 5 * rows + 3 * columns, -x) == pytest.approx(-1)
    assert np.isnan(interaction(np.broadcast_to(columns, (6, 7)), x))  # a constant of networks has none
    assert np.isnan(interaction(x, np.broadcast_to(rows, (6, 7))))


def test_the_interval_of_an_interaction_takes_means_in_each_resample():
    x = RNG.normal(size=(8, 8))
    y = x + 20 * RNG.normal(size=(1, 8)) + 20 * RNG.normal(size=(8, 1))
    low, high = crossed_interval(interaction, [(x, y[..., None] + 0.1 * RNG.normal(size=(8, 8, 3)))])
    assert 0.5 < low < high <= 1
    low, high = crossed_interval(pooled, [(x, y[..., None])])
    assert low < 0 < high


def test_parts_are_judged_by_their_mean():
    x = RNG.normal(size=(5, 4))
    runs = x[..., None] + 0.01 * RNG.normal(size=(5, 4, 2))
    assert mean_correlation(within, [(x, runs), (-x, runs)]) == pytest.approx(0)
    low, high = crossed_interval(within, [(x, runs), (-x, runs)])
    assert low < 0 < high
    low, _ = crossed_interval(within, [(x, runs), (x, runs)])
    assert low > 0.5


def test_exchanges_inside_data_sets_are_of_the_statistic_itself():
    x, y = RNG.normal(size=(3, 4)), RNG.normal(size=(3, 4))
    orders = [list(order) for order in itertools.permutations(range(4))]
    for statistic in (within, pooled):
        moved = [np.stack([y[i, p] for i, p in enumerate(three)]) for three in itertools.product(orders, repeat=3)]
        every = statistic(x[None], np.stack(moved))
        exact = np.mean(every >= statistic(x, y) - 1e-12)
        assert inside_permutations(statistic, x, y, draws=4000) == pytest.approx(exact, abs=0.03)


def test_a_resample_of_one_network_leaves_the_other_part_to_count():
    x = RNG.normal(size=(4, 2))
    low, high = crossed_interval(within, [(x, x[..., None])] * 2)
    assert low == high == 1
    assert np.isnan(
        mean_correlation(within, [(x, x[..., None]), (x[:, :1], x[:, :1, None])])
    )  # but no part is left out
