"""Attribution: the definition over all orders by brute force, the four axioms, and whole parts."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from solvers.attribution import shapley, whole_parts

WORTH = st.floats(-1e6, 1e6)


@st.composite
def games(draw, least=1, most=5):
    """The worth of every coalition of k players, in binary order."""
    players = draw(st.integers(least, most))
    return draw(arrays(np.float64, 1 << players, elements=WORTH))


def players_of(game):
    return game.size.bit_length() - 1


def solve(game):
    """Shapley value of a table of worths."""
    return shapley(lambda on: game[on @ (1 << np.arange(on.shape[1]))], players_of(game))


@given(games())
def test_it_is_what_a_player_adds_averaged_over_all_orders(game):
    added = []
    for order in permutations(range(players_of(game))):
        on, row = 0, np.zeros(len(order))
        for player in order:
            row[player] = game[on | 1 << player] - game[on]
            on |= 1 << player
        added.append(row)
    assert solve(game) == pytest.approx(np.mean(added, axis=0), abs=1e-6)


@given(games(least=0, most=9))
def test_the_parts_add_up(game):
    assert solve(game).sum() == pytest.approx(game[-1] - game[0], abs=1e-6)


@given(games(least=2), st.data())
def test_players_that_can_be_exchanged_get_the_same(game, data):
    first, second = data.draw(st.permutations(range(players_of(game))))[:2]
    index = np.arange(game.size)
    swapped = (
        index & ~(1 << first | 1 << second)
        | (index >> first & 1) << second
        | (index >> second & 1) << first
    )
    parts = solve(game + game[swapped])
    assert parts[first] == pytest.approx(parts[second], abs=1e-6)


@given(games(most=4), st.data())
def test_a_player_that_changes_nothing_gets_exactly_nothing(game, data):
    place = data.draw(st.integers(0, players_of(game)))
    index = np.arange(2 * game.size)
    without = index & (1 << place) - 1 | (index >> place + 1) << place
    assert solve(game[without])[place] == 0


@given(games(), st.floats(-100, 100), st.data())
def test_sums_of_games_add_up(game, factor, data):
    other = data.draw(arrays(np.float64, game.size, elements=WORTH))
    assert solve(game + factor * other) == pytest.approx(
        solve(game) + factor * solve(other), abs=1e-3
    )


def test_a_product_of_three_by_hand():
    """v = x y z from (1, 1, 1) to (2, 3, 5): the six orders by hand."""
    parts = shapley(lambda on: np.where(on, [2.0, 3.0, 5.0], 1.0).prod(axis=1), 3)
    x = (2 * 1 + 2 * 15 + 1 * 3 + 1 * 5) / 6
    y = (2 * 2 + 2 * 20 + 1 * 4 + 1 * 10) / 6
    z = (2 * 4 + 2 * 24 + 1 * 8 + 1 * 12) / 6
    assert parts == pytest.approx([x, y, z])
    assert parts.sum() == pytest.approx(29)


@pytest.mark.parametrize(
    ("value", "players", "message"),
    [
        (lambda on: on[:, 0], 21, "from 0 to 20"),
        (lambda on: on, 2, r"4 numbers, not shape \(4, 2\)"),
        (lambda on: np.where(on.all(axis=1), np.nan, 0.0), 2, r"coalition \[0, 1\] is nan"),
    ],
)
def test_what_is_no_game_is_refused(value, players, message):
    with pytest.raises(ValueError, match=message):
        shapley(value, players)


@given(
    arrays(
        np.float64,
        st.integers(0, 12),
        elements=st.floats(-1e9, 1e9) | st.integers(-50, 50).map(float),
    )
)
def test_whole_parts_are_next_to_their_parts_and_sum_to_the_total(parts):
    total = sum(np.floor(parts).astype(int).tolist()) + round(
        float((parts - np.floor(parts)).sum())
    )
    whole = whole_parts(parts, total)
    assert whole.sum() == total
    assert (np.abs(whole - parts) < 1).all()
    assert (whole[parts == np.floor(parts)] == parts[parts == np.floor(parts)]).all()


@given(arrays(np.float64, st.integers(1, 12), elements=st.floats(-1e6, 1e6)))
def test_whole_parts_leave_the_least_squared_error(parts):
    """Largest remainder is the closest whole vector: exchanging a unit between any two parts never
    brings it closer.
    """
    whole = whole_parts(
        parts,
        sum(np.floor(parts).astype(int).tolist()) + round(float((parts - np.floor(parts)).sum())),
    )
    error = whole - parts
    assert error.max() - error.min() <= 1 + 1e-6


def test_ties_go_to_the_earlier_part():
    assert whole_parts([0.5, 0.5, -0.5], 0).tolist() == [1, 0, -1]
    assert whole_parts([0.5, 0.5, -0.5, -0.5], 0).tolist() == [1, 1, -1, -1]


@pytest.mark.parametrize(
    ("parts", "total"),
    [([1.0, 2.0], 4), ([0.5], 2), ([0.5], -1), ([np.nan], 0), ([1e16], 0), ([[1.0]], 1)],
)
def test_totals_out_of_reach_are_refused(parts, total):
    with pytest.raises(ValueError, match="parts"):
        whole_parts(parts, total)
