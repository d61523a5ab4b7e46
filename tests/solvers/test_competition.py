"""The creator competition: reference traces, the definitions spelled out, the incremental engine
against the plain one, theorem 2.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.competition import (
    Ball,
    Competition,
    DiscreteActions,
    DotProduct,
    Euclidean,
    Static,
    from_ratings,
    from_watching,
    group_users,
    is_soft,
    local_better_response,
    orthogonal,
    sharp_slope,
    simulate,
    soft_slope,
    specialise,
    synthetic,
    toy,
)
from solvers.competition.engine import Incremental
from solvers.reweighting import update_weights

GOLDEN = json.loads((Path(__file__).parents[1] / "cases" / "competition.json").read_text())[
    "golden"
]
TRACES = [
    (script, name)
    for script in ("lbr_script", "lbr_script_boundary")
    for name in GOLDEN[script]["results"]
]
SMALL = {"sizes": (30, 15, 6, 3, 3, 2, 1), "creators": 12, "candidates": 4, "groups": 6}


def golden_game(**changes):
    game = Competition(
        GOLDEN["X"],
        GOLDEN["S"],
        temperature=GOLDEN["beta"],
        candidates=GOLDEN["K"],
        weights=GOLDEN["w"],
    )
    return replace(game, **changes)


def bumps(strategies, users):
    """A relevance that the engine has no loop for."""
    return np.exp(-((strategies[:, None] - users) ** 2).sum(axis=2))


@st.composite
def games(draw):
    n, m, d = draw(st.integers(1, 9)), draw(st.integers(1, 9)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    strategies = rng.normal(0, 0.3, (n, d))
    if draw(st.booleans()):
        strategies[:] = strategies[0]
    return Competition(
        rng.normal(0, 1, (m, d)),
        strategies,
        draw(st.sampled_from([Euclidean(), Euclidean(scale=0.6), DotProduct(-1, 1), bumps])),
        draw(st.sampled_from([0.002, 0.02, 0.1, 1.0, 50.0])),
        draw(st.integers(1, n + 2)),
        draw(st.sampled_from(["relevance", "traffic"])),
        draw(
            st.sampled_from(
                [
                    "base",
                    "uir",
                    "smt",
                    "hmt",
                    "coordinated",
                    Static(temperature=0.03),
                    Static(candidates=1),
                ]
            )
        ),
        rng.uniform(0.2, 5, m),
    )


# ---- reference numbers


@pytest.mark.parametrize("mechanism", list(GOLDEN["mech"]))
def test_reference_utilities(mechanism):
    expected, game = GOLDEN["mech"][mechanism], golden_game(mechanism=mechanism)
    assert game.matching.candidates.tolist() == expected["K_j"]
    np.testing.assert_allclose(1 / game.matching.temperature, expected["inv_beta_j"], rtol=1e-14)
    np.testing.assert_allclose(game.utilities(), expected["u_eq5_mean"], rtol=1e-13)
    np.testing.assert_allclose(
        replace(game, reward="traffic").utilities(), expected["u_eq6_mean"], rtol=1e-13
    )
    np.testing.assert_allclose(game.user_utilities(), expected["pi"], rtol=1e-13)
    assert game.welfare() == pytest.approx(expected["W"], rel=1e-13)


def test_reference_tie():
    tie = GOLDEN["tie_case"]
    game = golden_game(strategies=tie["S"], candidates=tie["K"])
    np.testing.assert_allclose(game.utilities(), tie["u_mean"], rtol=1e-13)


@pytest.mark.parametrize(("script", "name"), TRACES)
@pytest.mark.parametrize("engine", ["incremental", "reference"])
def test_reference_traces(script, name, engine):
    expected, (reading, mechanism) = GOLDEN[script]["results"][name], name.split("/")
    actions, game = (
        Ball(GOLDEN[script]["radius"], project_first=reading == "project"),
        golden_game(mechanism=mechanism),
    )
    incremental, accepted = Incremental(game), []
    for t, welfare in enumerate(expected["W_after_each_step"]):
        order = np.array([(i + t) % 5 for i in range(5)])
        angle = 2 * np.pi * (0.37 * t + 0.21 * np.arange(5))
        directions = np.column_stack([np.cos(angle), np.sin(angle)])
        if engine == "reference":
            game, moved = local_better_response(
                game, order, directions, step_size=GOLDEN[script]["eta"], actions=actions
            )
            assert game.welfare() == pytest.approx(welfare, rel=1e-13)
        else:
            tried, landed = actions.moves(game.strategies, directions, GOLDEN[script]["eta"])
            moved = incremental.step(order, tried, landed)
            game = replace(game, strategies=np.where(moved[:, None], landed, game.strategies))
            assert incremental.user_utilities()[0].mean() == pytest.approx(welfare, rel=1e-13)
        accepted += moved[order].tolist()
    assert accepted == expected["accepted"]
    np.testing.assert_allclose(game.strategies, expected["S_final"], rtol=1e-13, atol=1e-15)


# ---- the definitions


@given(games())
def test_matching_from_its_definition(game):
    n, m = game.scores.shape
    shares = np.zeros((n, m))
    for j in range(m):
        ranked = sorted(range(n), key=lambda i: (-game.scores[i, j], i))[
            : game.matching.candidates[j]
        ]
        top = game.scores[ranked[0], j]
        e = [math.exp((game.scores[i, j] - top) / game.matching.temperature[j]) for i in ranked]
        shares[ranked, j] = np.array(e) / math.fsum(e)
    np.testing.assert_allclose(game.matching.shares(game.scores), shares, rtol=1e-12, atol=1e-300)
    worth = game.matching.importance * (game.scores if game.reward == "relevance" else 1)
    np.testing.assert_allclose(
        game.utilities(), (worth * shares).sum(axis=1) / m, rtol=1e-12, atol=1e-300
    )
    assert game.welfare() == pytest.approx((game.scores * shares).sum() / m, rel=1e-12, abs=1e-300)


def test_what_mechanisms_deploy():
    weights = [0.2, 0.5, 1.0, 1.1, 2.0, 5.0]
    game = golden_game(weights=weights, candidates=4)
    assert replace(game, mechanism="uir").matching.importance.tolist() == weights
    np.testing.assert_allclose(
        replace(game, mechanism="smt").matching.temperature, np.multiply(0.1, weights), rtol=1e-15
    )
    assert replace(game, mechanism="hmt").matching.candidates.tolist() == [1, 2, 4, 5, 5, 5]
    assert replace(game, mechanism=Static(candidates=2)).matching.candidates.tolist() == [2] * 6
    assert (
        replace(game, mechanism=Static(temperature=0.3)).matching.temperature.tolist() == [0.3] * 6
    )
    for mechanism in ("smt", "hmt", Static(0.3, 1)):
        deployed = replace(game, mechanism=mechanism)
        assert deployed.welfare(default=True) == game.welfare()
        assert deployed.welfare() != game.welfare()


def test_rewards_add_up_to_welfare_and_traffic_to_one():
    game = golden_game()
    assert game.utilities().sum() == pytest.approx(game.welfare())
    assert replace(game, reward="traffic").utilities().sum() == pytest.approx(1)


def test_limits_of_the_temperature():
    game = golden_game(candidates=5)
    assert replace(game, temperature=1e-6).welfare() == pytest.approx(
        game.scores.max(axis=0).mean()
    )
    assert replace(game, temperature=1e6).welfare() == pytest.approx(game.scores.mean(), rel=1e-6)


def test_actions():
    points, directions = np.array([[0.9, 0.0], [0.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0]])
    tried, landed = Ball().moves(points, directions, 0.2)
    assert tried.tolist() == [[1.1, 0.0], [0.0, 0.2]]
    assert landed.tolist() == [[1.0, 0.0], [0.0, 0.2]]
    tried, landed = Ball(project_first=True).moves(points, directions, 0.2)
    assert tried.tolist() == landed.tolist() == [[1.0, 0.0], [0.0, 0.2]]
    assert Ball(math.inf).moves(points, directions, 5.0)[1].tolist() == [[5.9, 0.0], [0.0, 5.0]]


def test_discrete_actions():
    grid = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0], [-1.0, -1.0]])
    actions = DiscreteActions(grid, np.array([[0, 1, 2], [0, 1, 3], [0, 0, 0]]))
    present, directions = grid[[0, 0, 0]], np.array([[0.6, 0.8], [0.6, 0.8], [1.0, 0.0]])
    tried, landed = actions.moves(present, directions, 0.2)
    assert tried.tolist() == landed.tolist() == [[0.0, 3.0], [1.0, 0.0], [0.0, 0.0]]


# ---- the two engines


@settings(max_examples=40)
@given(games(), st.booleans(), st.integers(0, 1000))
def test_engines_take_the_same_decisions(game, project_first, seed):
    run = {
        engine: simulate(
            game,
            steps=12,
            epoch=4,
            actions=Ball(1.0, project_first),
            step_size=0.3,
            seed=seed,
            rates=(2.0, 0.5),
            engine=engine,
        )
        for engine in ("incremental", "reference")
    }
    fast, plain = run["incremental"], run["reference"]
    assert (fast.game.strategies == plain.game.strategies).all()
    assert (fast.accepted == plain.accepted).all()
    for curve in ("welfare", "welfare_default", "group_utility", "group_weight"):
        np.testing.assert_allclose(
            getattr(fast, curve), getattr(plain, curve), rtol=1e-11, atol=1e-13
        )


@pytest.mark.parametrize("mechanism", ["base", "uir", "smt", "hmt", "coordinated"])
def test_engines_with_more_creators_than_are_kept(mechanism):
    start = synthetic(3, sizes=(25, 10, 5), creators=40, candidates=3, groups=4)
    runs = [
        simulate(start.game, steps=10, groups=start.groups, mechanism=mechanism, engine=e)
        for e in ("incremental", "reference")
    ]
    assert (runs[0].game.strategies == runs[1].game.strategies).all()
    np.testing.assert_allclose(runs[0].welfare, runs[1].welfare, rtol=1e-12)


@settings(max_examples=40)
@given(games(), st.integers(0, 1000))
def test_engines_on_discrete_actions(game, seed):
    rng = np.random.default_rng(seed)
    n, d = game.strategies.shape
    actions = DiscreteActions(
        rng.normal(0, 0.5, (8, d)), np.array([rng.permutation(8)[:4] for _ in range(n)])
    )
    runs = [
        simulate(game, steps=5, actions=actions, seed=seed, engine=engine)
        for engine in ("incremental", "reference")
    ]
    assert (runs[0].game.strategies == runs[1].game.strategies).all()


@pytest.mark.parametrize(
    "relevance", [Euclidean(), Euclidean(2.0, 0.7), DotProduct(), DotProduct(-0.5, 0.8)]
)
def test_compiled_scores_are_the_same_to_the_bit(relevance):
    rng = np.random.default_rng(0)
    game = Competition(rng.normal(size=(30, 4)), rng.normal(size=(9, 4)), relevance)
    loops = Incremental(game)
    assert (loops._scores(game.strategies, np.empty((9, 30))) == game.scores).all()


def test_a_creator_who_is_indifferent_moves():
    """Between two users on a line nothing is gained or lost; rounding must not decide."""
    game = Competition([[0.0], [3.0]], [[1.0], [1.4]], reward="traffic", candidates=2)
    for step in (0.1, 0.2, 0.3):
        assert local_better_response(game, [0, 1], [[1.0], [-1.0]], step_size=step)[1].all()


# ---- simulation


def test_the_same_seed_gives_the_same_run():
    start = toy(1)
    runs = [start.simulate("hmt", steps=20, seed=seed) for seed in (4, 4, 5)]
    assert (runs[0].game.strategies == runs[1].game.strategies).all()
    assert (runs[0].welfare == runs[1].welfare).all()
    assert (runs[0].game.strategies != runs[2].game.strategies).any()


_PLAY = """
import hashlib, json
from solvers.competition.settings import synthetic
start = synthetic(3, sizes=(12, 6, 4), creators=10, candidates=3, groups=4)
found = {}
for name in ("base", "smt", "hmt", "coordinated"):
    run = start.simulate(name, steps=10, seed=5)
    found[name] = [hashlib.sha256(run.game.strategies.tobytes() + run.accepted.tobytes()).hexdigest(), run.welfare.tolist()]
print(json.dumps(found))
"""


def test_other_processes_and_the_loops_uncompiled_take_the_same_decisions():
    played = []
    for disabled in ("0", "0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": disabled, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, "-c", _PLAY],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        played.append(json.loads(done.stdout))
    compiled, again, plain = played
    assert compiled == again
    for name, (decisions, welfare) in compiled.items():
        assert plain[name][0] == decisions
        np.testing.assert_allclose(plain[name][1], welfare, rtol=1e-13)


def test_curves():
    start = synthetic(0, **SMALL)
    groups = start.groups.max() + 1
    run = simulate(
        start.game, steps=20, groups=start.groups, mechanism="smt", keep=(0, 7, 20), seed=2
    )
    assert run.welfare.shape == run.welfare_default.shape == run.accepted.shape == (20,)
    assert run.group_utility.shape == (4, groups)
    assert run.group_weight.shape == (5, groups)
    assert sorted(run.strategies) == [0, 7, 20]
    assert (run.strategies[0] == start.game.strategies).all()
    assert (run.strategies[20] == run.game.strategies).all()

    # the last profile, priced anew under the weights of the last epoch
    last = replace(run.game, weights=run.group_weight[3][start.groups])
    assert run.welfare[-1] == pytest.approx(last.welfare(), rel=1e-13)
    assert run.welfare_default[-1] == pytest.approx(last.welfare(default=True), rel=1e-13)
    size = np.bincount(start.groups)
    np.testing.assert_allclose(
        run.group_utility @ size / size.sum(), run.welfare.reshape(4, 5).mean(axis=1), rtol=1e-12
    )


def test_weights_follow_algorithm_1_with_the_smaller_rate_in_the_second_half():
    start = synthetic(0, **SMALL)
    run = simulate(start.game, steps=20, groups=start.groups, mechanism="uir", rates=(0.7, 0.2))
    for e, rate in enumerate((0.7, 0.7, 0.2, 0.2)):
        expected = update_weights(run.group_weight[e], run.group_utility[e], rate=rate)
        np.testing.assert_array_equal(run.group_weight[e + 1], expected)


def test_weights_that_are_given_stay_without_rates():
    start = toy()
    weights = np.array([0.5, 1, 1, 1, 1])
    runs = [
        simulate(
            start.game,
            steps=10,
            groups=start.groups,
            actions=start.actions,
            mechanism="uir",
            weights=weights,
            rates=(0, 0),
            engine=e,
        )
        for e in ("incremental", "reference")
    ]
    assert (runs[0].group_weight[0] == weights).all()
    np.testing.assert_allclose(runs[0].group_weight[1:], np.tile(weights / 0.9, (2, 1)))
    assert (runs[0].game.strategies == runs[1].game.strategies).all()
    assert (runs[0].game.strategies != start.simulate("uir", steps=10).game.strategies).any()


@pytest.mark.parametrize("mechanism", ["base", "coordinated", Static(0.02, 3)])
def test_no_weights_without_an_adaptive_mechanism(mechanism):
    run = toy().simulate(mechanism, steps=10)
    assert (run.group_weight == 1).all()


def test_coordinated_welfare_never_falls():
    run = toy(2).simulate("coordinated", steps=100)
    assert (np.diff(run.welfare) >= -1e-11).all()
    assert run.welfare[-1] > toy(2).game.welfare() + 0.1


def test_a_run_of_no_steps():
    start = toy()
    run = start.simulate(steps=0)
    assert run.welfare.size == 0
    assert run.group_utility.shape == (0, 5)
    assert (run.game.strategies == start.game.strategies).all()


def test_static_controls_beat_the_adaptive_mechanisms():
    """And most of any gain over the default vanishes when the same content is matched by default."""
    start = synthetic(1, **SMALL)
    run = {
        name: start.simulate(name, steps=40)
        for name in ("base", "smt", "hmt", "coordinated", Static(0.02))
    }
    deployed = {name: r.welfare[-20:].mean() for name, r in run.items()}
    default = {name: r.welfare_default[-20:].mean() for name, r in run.items()}
    assert deployed[Static(0.02)] > max(deployed["smt"], deployed["hmt"], deployed["base"])
    assert deployed[Static(0.02)] - deployed["base"] > 2 * (default[Static(0.02)] - default["base"])
    assert deployed["coordinated"] > deployed["base"]


def test_toy_hard_truncation_serves_everybody_and_the_default_does_not():
    served = {
        name: [
            (
                toy(s).simulate(name, steps=400, seed=s, step_size=0.1).game.scores.max(axis=0)
                > 1.5
            ).all()
            for s in range(5)
        ]
        for name in ("base", "hmt")
    }
    assert sum(served["base"]) <= 1
    assert sum(served["hmt"]) >= 4


# ---- settings


def test_toy_has_the_targeted_equilibrium_at_a_tenth_and_not_at_ten():
    grid = [np.array(p) for p in product(np.linspace(-1.5, 1.5, 31), repeat=2)]

    def best_gain(temperature):
        game = replace(toy(temperature=temperature).game, strategies=toy().game.users)
        gains = []
        for i, point in product((0, 1), grid):
            strategies = game.strategies.copy()
            strategies[i] = point
            gains.append(replace(game, strategies=strategies).utilities()[i] - game.utilities()[i])
        return max(gains)

    assert best_gain(0.1) <= 1e-12
    assert best_gain(10.0) > 0.01


def test_synthetic_population():
    start = synthetic(7)
    norms = np.linalg.norm(start.game.users, axis=1)
    assert start.game.users.shape == (2000, 5)
    assert (norms > 1).mean() > 0.5
    assert np.linalg.norm(start.game.strategies, axis=1).max() <= 1 + 1e-15
    inside = synthetic(7, unit_ball=True)
    np.testing.assert_allclose(np.linalg.norm(inside.game.users, axis=1), np.minimum(norms, 1))
    assert (synthetic(7).game.users == start.game.users).all()
    assert (synthetic(8).game.users != start.game.users).any()
    assert (
        np.linalg.norm(start.game.strategies - start.game.users[:1000].mean(axis=0), axis=1).max()
        < 0.8
    )


def test_groups_are_the_clusters_when_these_are_far_apart():
    users = np.repeat(10 * np.eye(3), (5, 4, 3), axis=0) + 0.01 * np.random.default_rng(0).normal(
        size=(12, 3)
    )
    labels = group_users(users, 3, seed=1)
    for cluster in (labels[:5], labels[5:9], labels[9:]):
        assert (np.bincount(labels) > 0).all()
        assert (cluster == cluster[0]).all()


def test_setting_from_ratings():
    rng = np.random.default_rng(0)
    user, movie = np.nonzero(rng.random((40, 60)) < 0.5)
    sizes = {"dimension": 3, "active": 28, "common": 20, "private": 10, "creators": 4, "groups": 3}
    start = from_ratings(user, movie, rng.integers(1, 6, user.size), **sizes)
    assert start.game.users.shape == ((np.bincount(user) > 28).sum(), 3)
    allowed = start.actions.allowed
    assert allowed.shape == (4, 30)
    assert (allowed[:, :20] == allowed[0, :20]).all()
    assert all(np.unique(row).size == 30 for row in allowed)
    offered = replace(start.game, strategies=start.actions.points[np.unique(allowed)]).scores
    assert (offered.min(), offered.max()) == pytest.approx((0, 1))
    common = replace(start.game, strategies=start.actions.points[allowed[0, :20]]).scores.mean(
        axis=1
    )
    assert start.game.scores.mean(axis=1) == pytest.approx(common.max())
    run = start.simulate("hmt", steps=10)
    assert run.welfare[-1] > start.game.welfare()
    choices = {tuple(p) for p in start.actions.points[np.unique(allowed)]}
    assert all(tuple(s) in choices for s in run.game.strategies)


def test_setting_from_watching():
    viewer, video = np.nonzero(np.random.default_rng(0).random((30, 24)) < 0.7)
    alike = viewer % 2 == video % 2
    start = from_watching(
        viewer,
        video,
        np.where(alike, 1.0, 0.1),
        np.arange(24) % 4,
        dimension=2,
        creators=3,
        users=20,
        groups=3,
    )
    assert start.game.users.shape == (20, 2)
    assert start.game.strategies.shape == (3, 2)
    assert np.linalg.norm(start.game.strategies, axis=1).max() <= 1
    assert (start.game.scores >= 0).all()
    assert start.simulate(steps=20).welfare[-1] > start.game.welfare()
    # creators on the surface of the ball are not thrown about
    coordinated = start.simulate("coordinated", steps=100)
    assert (np.diff(coordinated.welfare) >= -1e-11).all()
    assert np.linalg.norm(coordinated.game.strategies, axis=1).max() > 1 - 1e-9


# ---- theorem 2

weights_of_some = st.lists(st.floats(0.2, 5), min_size=2, max_size=6)


@given(weights_of_some)
def test_soft_slope_is_the_derivative_of_welfare(weights):
    w, eta = np.array(weights), 1e-5

    def welfare(t):
        moved = w * np.exp(-t * w / np.linalg.norm(w))
        return orthogonal(moved, creators=3, temperature=0.9).welfare()

    assert soft_slope(w) == pytest.approx((welfare(eta) - welfare(-eta)) / (2 * eta), abs=1e-9)
    s1, s2, s3 = w.sum(), (w**2).sum(), (w**3).sum()
    assert soft_slope(w) == pytest.approx((s1 * s3 / s2**2 - 1) / w.size, abs=1e-12)
    assert soft_slope(w) >= 0


def best_deviation(game, rng, reach):
    strategies, gain = game.strategies.copy(), -math.inf
    for _ in range(300):
        point = game.strategies[0] + reach * rng.normal(size=game.users.shape[1])
        strategies[0] = point / max(1.0, np.linalg.norm(point))
        gain = max(
            gain, replace(game, strategies=strategies).utilities()[0] / game.utilities()[0] - 1
        )
    return gain


@pytest.mark.parametrize("weights", [[1, 1, 1, 1], [1, 2], [1, 1, 3]])
def test_where_creators_stay_together(weights):
    """With many creators, down to the largest curvature along the sphere; the soft regime lies
    above it.
    """
    w, rng = np.array(weights), np.random.default_rng(0)
    s = w / np.linalg.norm(w)
    tangent = np.eye(w.size) - np.outer(s, s)
    edge = np.linalg.eigvalsh(tangent @ np.diag(s) @ tangent)[-1]
    assert not is_soft(w, 0.9 * edge)
    assert best_deviation(orthogonal(w, creators=400, temperature=1.1 * edge), rng, 0.02) <= 1e-12
    assert best_deviation(orthogonal(w, creators=400, temperature=0.9 * edge), rng, 0.02) > 1e-7


@pytest.mark.parametrize(
    ("weights", "counts", "temperature"),
    [
        ([2, 1], [250, 750], 0.2),
        ([2, 1], [500, 500], 0.3),
        ([2, 1, 1, 0.5], [250, 250, 250, 250], 0.2),
    ],
)
def test_theorem_2_fails_where_creators_specialise(weights, counts, temperature):
    assert not is_soft(weights, temperature)
    assert sharp_slope(weights, counts, temperature) < 0


def test_specialised_profiles_are_local_equilibria():
    weights, counts = [2.0, 1.0], [25, 75]
    profile = specialise(weights, counts, 0.2)
    rng = np.random.default_rng(0)
    for first in (0, 1):
        everybody = np.repeat(profile, counts, axis=0)
        game = replace(
            orthogonal(weights, creators=100, temperature=0.2),
            strategies=np.roll(everybody, -25 * first, axis=0),
        )
        assert best_deviation(game, rng, 0.05) <= 1e-9


def test_no_specialised_profile_in_the_soft_regime():
    with pytest.raises(ValueError, match="found no local equilibrium"):
        specialise([2.0, 1.0], [250, 750], 0.3)


# ---- refusals and imports


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: golden_game(strategies=[[1.0]]),
            r"users have shape \(6, 2\) and strategies \(1, 1\)",
        ),
        (lambda: golden_game(strategies=[[1.0, math.nan]]), "must be finite"),
        (lambda: golden_game(strategies=np.empty((0, 2))), "users have shape"),
        (lambda: golden_game(temperature=0), "temperature is 0"),
        (lambda: golden_game(candidates=0), "candidates is 0"),
        (lambda: golden_game(weights=[1]), "weights have shape"),
        (lambda: golden_game(weights=[1, 1, 1, 1, 1, 0]), "the weight of group 5 is 0.0"),
        (lambda: golden_game(reward="likes"), "reward is 'likes'"),
        (lambda: golden_game(mechanism="magic"), "mechanism is 'magic'"),
        (
            lambda: golden_game(relevance=lambda s, u: s @ s.T).utilities(),
            r"scores of shape \(5, 5\), not finite ones of shape \(5, 6\)",
        ),
        (lambda: simulate(golden_game(), steps=7), "7 steps are not a whole number of epochs of 5"),
        (lambda: simulate(golden_game(), steps=5, groups=[0, 1]), "groups must be 6 whole numbers"),
        (
            lambda: simulate(golden_game(), steps=5, groups=[0, 0, 0, 2, 2, 2]),
            "group 1 has no users",
        ),
        (lambda: simulate(golden_game(), steps=5, engine="warp"), "engine is 'warp'"),
        (
            lambda: simulate(golden_game(), steps=5, weights=[1, 1]),
            r"weights have shape \(2,\), not one for each of 6 groups",
        ),
        (
            lambda: from_watching([0, 0], [0, 1], [1, 1], [0]),
            r"creators have shape \(1,\), not one for each of 2 videos",
        ),
        (
            lambda: from_watching([0, 0], [0, 1], [1, 1], [0, 0]),
            "no viewer watched 10 videos or more",
        ),
        (
            lambda: from_ratings([0, 0], [0, 1], [1.0, 2.0], active=1, dimension=1),
            "1 users have over 1 ratings and there are 2 movies",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_importing_the_game_imports_nothing_heavy():
    heavy = "{'numba', 'scipy', 'cvxpy', 'pandas', 'pipelines', 'solvers.competition.engine'}"
    code = (
        f"import sys, solvers, solvers.competition, solvers.competition.settings; print({heavy} &"
        " set(sys.modules))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )
