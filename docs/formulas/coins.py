"""Gifted coins: the split, its corners, and its floor.

Section 3 of docs/formulas.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from formulas.register import demonstration
from formulas.world import HARDENED, Floats, assets
from pipelines.lab.finding import Cell, Finding
from pipelines.policy import Coins
from solvers.coin_split import split_videos


def _coins(normal: Any, premium: Any, quality: Any, coins: Coins, **change: Any) -> Any:
    arguments: dict[str, Any] = {
        **{
            name: getattr(coins, name)
            for name in (
                "theta",
                "normal_max",
                "premium_max",
                "min_gap",
                "max_gap",
                "lambda_rev",
                "lambda_util",
                "lambda_inc",
            )
        },
        "epsilon": coins.epsilon,
        "utility": coins.utility,
        "revenue_floor": coins.floor * (np.asarray(normal, float) + np.asarray(premium, float)),
        **change,
    }
    return split_videos(normal, premium, quality, **arguments)


def _grid_best(
    normal: float,
    premium: float,
    coins: Coins,
    utility: Callable[[Floats], Floats],
    *,
    steps: tuple[int, int] = (600, 800),
) -> tuple[float, float, float, float]:
    """Best (x_n, x_p, pay, objective) on a grid; `utility` is the normalised term U_norm as a
    function of pay.
    """
    x_n, x_p = np.meshgrid(
        np.linspace(0, coins.normal_max, steps[0] + 1),
        np.linspace(0, coins.premium_max, steps[1] + 1),
        indexing="ij",
    )
    total = normal + premium
    floor = coins.floor * total
    pay = x_n * normal + x_p * premium
    gap = x_p - x_n
    value = (
        coins.lambda_rev * (total - pay - floor) / (total - floor)
        + coins.lambda_util * utility(pay)
        + coins.lambda_inc * (gap - coins.min_gap) / (coins.max_gap - coins.min_gap)
    )
    allowed = (
        (gap >= coins.min_gap - 1e-12)
        & (gap <= coins.max_gap + 1e-12)
        & (total - pay >= floor - 1e-9)
    )
    best = np.unravel_index(np.argmax(np.where(allowed, value, -np.inf)), value.shape)
    return float(x_n[best]), float(x_p[best]), float(pay[best]), float(value[best])


def _log1p_utility(
    normal: float, premium: float, quality: float, coins: Coins
) -> Callable[[Floats], Floats]:
    most = coins.normal_max * normal + coins.premium_max * premium
    scale = (1 + coins.theta * quality) / (1 + coins.theta) / np.log1p(most / coins.epsilon)
    return lambda pay: scale * np.log1p(pay / coins.epsilon)


@demonstration("coin-chain")
def coin_chain() -> Finding:
    """The closed form against a grid search of the objective, on random policies and gifts."""
    rows: list[tuple[Cell, ...]] = []
    for steps in (50, 100, 200):
        rng = np.random.default_rng(60)
        beaten, behind = 0, 0.0
        for _ in range(60):
            weights = rng.dirichlet([1, 1, 1])
            least = rng.uniform(0, 0.2)
            coins = Coins(
                normal_max=rng.uniform(0.3, 0.8),
                premium_max=rng.uniform(0.4, 1),
                min_gap=least,
                max_gap=least + rng.uniform(0.05, 0.4),
                lambda_rev=weights[0],
                lambda_util=weights[1],
                lambda_inc=weights[2],
                revenue_floor=rng.uniform(0, 0.3),
                theta=rng.uniform(0, 2),
            )
            normal, premium, quality = (
                float(rng.lognormal(4, 2)),
                float(rng.lognormal(4, 2)),
                float(rng.random()),
            )
            best = _coins([normal], [premium], [quality], coins)
            utility = _log1p_utility(normal, premium, quality, coins)
            *_, grid = _grid_best(normal, premium, coins, utility, steps=(steps, steps))
            pay, gap = best.payout, best.premium_share - best.normal_share
            total, floor = normal + premium, coins.floor * (normal + premium)
            built = float(
                coins.lambda_rev * (total - pay[0] - floor) / (total - floor)
                + coins.lambda_util * utility(pay)[0]
                + coins.lambda_inc * (gap[0] - coins.min_gap) / (coins.max_gap - coins.min_gap)
            )
            beaten += grid > built + 1e-12
            behind = max(behind, built - grid)
        rows.append((f"{steps + 1} x {steps + 1}", 60, beaten, behind))
    return Finding(
        "no grid point beats the closed form, and a finer grid comes closer to it",
        {"grid": "", "problems": "d", "closed form beaten": "d", "grid behind by at most": ".4f"},
        rows,
    )


@demonstration("coin-quality")
def coin_quality() -> Finding:
    """U_max = f(Q) u(max), as printed, cancels Q; with f(1) the creator of the better video keeps
    more.
    """
    coins, normal, premium = HARDENED.coins, 2000.0, 200.0
    most = coins.normal_max * normal + coins.premium_max * premium
    rows: list[tuple[Cell, ...]] = []
    for quality in (0.0, 0.25, 0.5, 0.75, 1.0):
        f = 1 + coins.theta * quality

        def printed(pay: Floats, f: float = f) -> Floats:
            return np.asarray(f * np.log(coins.epsilon + pay) / (f * np.log(coins.epsilon + most)))

        _, _, literal, _ = _grid_best(normal, premium, coins, printed)
        built = _coins([normal], [premium], [quality], coins)
        gifts = np.random.default_rng(61).lognormal(4, 1.5, (2, 2000))
        many = _coins(gifts[0], gifts[1], np.full(2000, quality), coins).payout.sum() / gifts.sum()
        rows.append((quality, literal, built.payout[0], built.payout[0] / (normal + premium), many))
    return Finding(
        "as printed every quality is paid the same; under the shipped policy a creator keeps more"
        " the better the video",
        {
            "Q": ".2f",
            "pay, printed U_max (grid)": ".1f",
            "pay, f(1)": ".1f",
            "share of 2200 coins": ".1%",
            "of 2000 mixed videos' coins": ".1%",
        },
        rows,
    )


@demonstration("coin-size")
def coin_size() -> Finding:
    """What a creator keeps as a video is given more coins, and if the same gifts were spread over
    ten videos.
    """
    rows: list[tuple[Cell, ...]] = []
    for coins in (10, 100, 1_000, 10_000, 100_000):
        normal, premium = 0.8 * coins, 0.2 * coins
        one, tenth = (
            float(_coins([normal / k], [premium / k], [0.5], HARDENED.coins).payout[0]) * k
            for k in (1, 10)
        )
        rows.append((coins, one / coins, tenth / coins, tenth / one))
    return Finding(
        "log utility is normalised video by video, so much-gifted videos keep a smaller share, and"
        " the same gifts on ten videos earn more",
        {
            "coins (20 % premium)": "d",
            "kept on one video": ".1%",
            "kept on ten": ".1%",
            "gain": ".2f",
        },
        rows,
    )


@demonstration("coin-log-sign")
def coin_log_sign() -> Finding:
    """log(eps + pay) is negative for small pay; divided by a negative U_max it pays less for more
    utility weight.
    """
    coins = HARDENED.coins.model_copy(
        update={"epsilon": 0.01, "lambda_rev": 0.1, "lambda_util": 0.8, "lambda_inc": 0.1}
    )
    rows: list[tuple[Cell, ...]] = []
    for normal, premium in ((1.0, 0.2), (1.0, 1.0), (10.0, 2.0), (1000.0, 200.0)):
        most = coins.normal_max * normal + coins.premium_max * premium
        u_max = float(np.log(coins.epsilon + most))
        _, _, literal, _ = _grid_best(
            normal, premium, coins, lambda pay, u_max=u_max: np.log(coins.epsilon + pay) / u_max
        )  # type: ignore[misc]
        _, _, grid, _ = _grid_best(
            normal, premium, coins, _log1p_utility(normal, premium, 1.0, coins)
        )
        built = float(_coins([normal], [premium], [1.0], coins).payout[0])
        total = normal + premium
        rows.append(
            (
                total,
                u_max,
                float(np.log(coins.epsilon) / u_max),
                literal / total,
                grid / total,
                built / total,
            )
        )
    return Finding(
        "at eps = 0.01 the printed term pays next to nothing for one coin, too much for a few: its"
        " range is not [0, 1] anywhere",
        {
            "coins": ".1f",
            "U_max": ".3f",
            "U_norm at pay 0": ".2f",
            "kept, printed (grid)": ".1%",
            "kept, log1p (grid)": ".1%",
            "kept, built": ".1%",
        },
        rows,
    )


def _active_constraints(
    found: Any, normal: Floats, premium: Floats, floor: Floats, bounds: dict[str, Any]
) -> NDArray[np.int64]:
    """How many of the seven bounds hold with equality at each optimum."""
    x_n, x_p, total = found.normal_share, found.premium_share, normal + premium
    off = [
        x_n,
        bounds["normal_max"] - x_n,
        x_p,
        bounds["premium_max"] - x_p,
        x_p - x_n - bounds["min_gap"],
        bounds["max_gap"] - (x_p - x_n),
        (total - found.payout - floor) / total,
    ]
    return np.asarray(np.sum([np.abs(x) < 1e-9 for x in off], axis=0), dtype=np.int64)


@demonstration("coin-corners")
def coin_corners() -> Finding:
    """ "The log term prevents corner solutions": how many optima are corners all the same."""
    rng = np.random.default_rng(62)
    n = 20_000
    rows: list[tuple[Cell, ...]] = []
    for name in ("shipped policy", "random policies"):
        normal, premium, quality = rng.lognormal(4, 1.5, n), rng.lognormal(4, 1.5, n), rng.random(n)
        shipped = HARDENED.coins
        bounds: dict[str, Any] = {
            field: getattr(shipped, field)
            for field in ("normal_max", "premium_max", "min_gap", "max_gap")
        }
        change: dict[str, Any] = {}
        if name == "random policies":
            weights = rng.dirichlet([1, 1, 1], n)
            least = rng.uniform(0, 0.2, n)
            bounds = {
                "normal_max": rng.uniform(0.3, 0.8, n),
                "premium_max": rng.uniform(0.4, 1, n),
                "min_gap": least,
                "max_gap": least + rng.uniform(0.05, 0.4, n),
            }
            change = {
                **bounds,
                "lambda_rev": weights[:, 0],
                "lambda_util": weights[:, 1],
                "lambda_inc": weights[:, 2],
            }
        floor = shipped.floor * (normal + premium)
        for utility in ("log", "linear"):
            found = _coins(normal, premium, quality, shipped, utility=utility, **change)
            active = _active_constraints(found, normal, premium, floor, bounds)
            rows.append(
                (
                    name,
                    utility,
                    *(float(np.mean(there)) for there in (active >= 2, active == 1, active == 0)),
                )
            )
    return Finding(
        "with the log most optima under random policies are still corners, and none lies inside:"
        " the incentive always pushes to an edge",
        {
            "drawn from": "",
            "utility": "",
            "at a corner": ".1%",
            "on an edge": ".1%",
            "inside": ".1%",
        },
        rows,
    )


@demonstration("coin-edges")
def coin_edges() -> Finding:
    """Coin splits where the printed normalisation divides by zero, and where nothing is feasible."""
    coins = HARDENED.coins
    cases: list[tuple[str, float, float, dict[str, Any]]] = [
        ("ordinary", 100, 50, {}),
        ("Delta = delta: no incentive term", 100, 50, {"max_gap": 0.05}),
        ("N = R_min: no revenue term", 100, 0, {"revenue_floor": 100}),
        ("no premium coins", 100, 0, {}),
        ("no normal coins", 0, 50, {}),
        ("no coins", 0, 0, {}),
        ("delta above Delta", 100, 50, {"min_gap": 0.5}),
        ("delta N_p above N - R_min", 100, 50, {"revenue_floor": 149}),
    ]
    rows: list[tuple[Cell, ...]] = []
    for name, normal, premium, change in cases:
        best = _coins([normal], [premium], [0.5], coins, **change)
        if best.feasible[0]:
            rows.append(
                (
                    name,
                    f"{best.normal_share[0]:.3f}",
                    f"{best.premium_share[0]:.3f}",
                    f"{best.payout[0]:.2f}",
                )
            )
        else:
            rows.append((name, "-", "-", "infeasible"))
    return Finding(
        "a term whose range is empty is dropped; infeasible rows say so and are never paid",
        {"case": "", "x_n": "", "x_p": "", "pay": ""},
        rows,
    )


@demonstration("coin-floor")
def coin_floor() -> Finding:
    """The platform's revenue floor in whole micros: ceiled, so that rounding the creator's pay
    cannot break it.
    """
    _, module = assets()
    rows: list[tuple[Cell, ...]] = []
    for normal, share in ((1, 0.25), (10, 0.25), (1, 1 / 3), (7, 0.1)):
        coins = Coins(
            coin_micros=1,
            normal_max=1.0,
            premium_max=1.0,
            min_gap=0.0,
            max_gap=0.0,
            lambda_rev=0.0,
            lambda_util=1.0,
            lambda_inc=0.0,
            revenue_floor=share,
        )
        gifts = pa.table(
            {
                "video_id": ["v"],
                "creator_id": ["c"],
                "compliant": [True],
                "normal_coins": [normal],
                "premium_coins": [0],
                "quality": [1.0],
            }
        )
        paid = int(module.split_coins(gifts, coins).rows["payout_micros"][0].as_py())
        nearest = int(np.rint((1 - share) * normal))
        rows.append((normal, share, share * normal, normal - nearest, paid, normal - paid))
    banned = pa.table(
        {
            "video_id": ["v"],
            "creator_id": ["c"],
            "compliant": [False],
            "normal_coins": [100],
            "premium_coins": [50],
            "quality": [0.0],
        }
    )
    paid = int(module.split_coins(banned, HARDENED.coins).rows["payout_micros"][0].as_py())
    rows.append(
        (
            "150, C = 0",
            HARDENED.coins.floor,
            None,
            None,
            paid,
            150 * HARDENED.coins.coin_micros - paid,
        )
    )
    return Finding(
        "the nearest micro alone can leave the platform less than R_min; a video that does not"
        " comply pays its creator nothing",
        {
            "coins": "",
            "revenue_floor": ".3f",
            "R_min": ".2f",
            "kept, nearest": "d",
            "creator": "d",
            "platform keeps": "d",
        },
        rows,
    )
