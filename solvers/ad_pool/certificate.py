"""Judge a split that somebody else made: is it allowed, and how much better could any other be?

Belongs here: the problem itself (an ad pool with rules over groups) and bounds on its optimum that
are built from the split alone. Does not: any solver. Nothing here knows how a split was found, and
the problem is stated anew: weights, bounds and the rules' matrix are made here from the arguments.
Pools in chunks are judged in `chunked_certificate`, coins in `solvers.coin_split.certificate`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.ad_pool.inputs import EachAtMost, Objective, Rule, check_rules
from solvers.arrays import Floats, Ints, Mask, column_of, refuse

_ROUNDING = 1e-14
"""Room between the bounds and the pool that is no room: the feasible set is one point up to the
rounding of its sums.
"""
_NEGLIGIBLE = 1e-280
"""A row whose weight and payout are both below this has no digits left in their quotient, and
nothing to gain.
"""
_GOOD_ENOUGH = 1e-9
"""A gap above this is worth a linear program for better rule multipliers."""
_MOST_FITTED = 200


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PoolProblem:
    r"""An ad pool in parts of the pool, y = p / P: max sum(weight log y) + gain y, sum(y) = 1,
    floor <= y <= cap, lower <= R y <= upper.

    Row i of R belongs to the rule `rule_of_row[i]`; an `EachAtMost` by unit is part of the caps and
    has no row.

    Attributes
    ----------
    pool : money
    weight, gain : (n,) what the logarithm and the linear term count
    floor, cap : (n,) parts of the pool; caps are at most 1
    rows : (k, n) sparse R
    lower, upper : (k,) parts of the pool, infinite where there is no bound
    rule_of_row : (k,) index into the rules
    unit_caps : (rule, maximum) of each `EachAtMost` by unit
    names : of the rules
    scale : sum(weight) + max(gain), the size of the objective's prices; 1 where both are 0
    """

    pool: float
    weight: Floats
    gain: Floats
    floor: Floats
    cap: Floats
    rows: Any
    lower: Floats
    upper: Floats
    rule_of_row: Ints
    unit_caps: tuple[tuple[int, float], ...]
    names: tuple[str, ...]
    scale: float

    def totals(self, y: Floats) -> Floats:
        """(k,) what the rows of R add up to."""
        return np.asarray(self.rows @ y, dtype=np.float64)

    def prices(self, mu: Floats) -> Floats:
        """(n,) what the rules charge each unit for a part of the pool, given a multiplier per
        side.
        """
        row, sign, _ = self.sides()
        by_row = np.bincount(row, weights=sign * mu, minlength=self.lower.size)
        return np.asarray(self.rows.T @ by_row, dtype=np.float64)

    def sides(self) -> tuple[Ints, Floats, Floats]:
        """Every finite bound as sign * (R y)[row] <= limit: rows, signs (1 for a maximum, -1 for a
        minimum) and limits.
        """
        above, below = (
            np.flatnonzero(np.isfinite(self.upper)),
            np.flatnonzero(np.isfinite(self.lower)),
        )
        sign = np.concatenate([np.ones(above.size), -np.ones(below.size)])
        return (
            np.concatenate([above, below]),
            sign,
            np.concatenate([self.upper[above], -self.lower[below]]),
        )


def pool_problem(
    pool: float,
    share: npt.ArrayLike,
    *,
    alpha: float,
    lambda_fair: float,
    lambda_eff: float,
    objective: Objective,
    floor: npt.ArrayLike | None = None,
    cap: npt.ArrayLike | None = None,
    rules: Sequence[Rule | EachAtMost] = (),
) -> PoolProblem:
    r"""The problem of `solvers.ad_pool.allocate_pool` with rules, stated in parts of the pool.

    Parameters are those of `allocate_pool`; rules see `Rule` and `EachAtMost`. Whether bounds and
    rules contradict each other is not looked at. Raises ValueError for anything that is not a
    number of the kind asked for, and names it.

    Source: the ad revenue document, section 3; docs/formulas.md sections 2.3 to 2.5.

    Examples
    --------
    >>> problem = pool_problem(100.0, [1, 4, 16], alpha=0.5, lambda_fair=1.0, lambda_eff=0.0,
    ...     objective="blend",
    ...                        rules=[Rule("small", [True, True, False], minimum=0.5)])
    >>> problem.weight.round(3).tolist(), problem.totals(problem.weight).round(3).tolist()
    ([0.143, 0.286, 0.571], [0.429])
    """
    pool = float(pool)
    if not (math.isfinite(pool) and pool >= 0):
        raise ValueError(f"pool must be finite and at least 0, not {pool!r}")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must lie in (0, 1], not {alpha!r}")
    if not (
        0 <= lambda_fair < math.inf and 0 <= lambda_eff < math.inf and lambda_fair + lambda_eff > 0
    ):
        raise ValueError(
            "lambda_fair and lambda_eff must be finite, at least 0 and not both 0:"
            f" {lambda_fair!r}, {lambda_eff!r}"
        )
    if objective not in ("blend", "linear"):
        raise ValueError(f"objective must be 'blend' or 'linear', not {objective!r}")
    shares = np.asarray(share, dtype=np.float64)
    if shares.ndim != 1:
        raise ValueError(f"share must be one-dimensional, not of shape {shares.shape}")
    n = shares.size
    refuse(~((shares >= 0) & (shares < math.inf)), "share must be finite and at least 0", shares)
    lo, hi = (
        column_of(0.0 if floor is None else floor, "floor", n),
        column_of(math.inf if cap is None else cap, "cap", n),
    )
    refuse(np.isnan(lo) | (lo < 0), "floor must be at least 0", lo)
    refuse(np.isnan(hi) | (hi < 0), "cap must be at least 0", hi)

    check_rules(rules, n)
    log_weight, linear_weight = stated_terms(
        shares, hi > 0, alpha, lambda_fair, lambda_eff, objective
    )
    if pool > 0:
        with np.errstate(over="ignore"):
            least, most = lo / pool, np.minimum(hi / pool, 1.0)
    else:
        least, most = np.zeros(n), np.zeros(n)
    unit_caps = [
        (i, rule.maximum)
        for i, rule in enumerate(rules)
        if isinstance(rule, EachAtMost) and rule.groups is None
    ]
    for _, maximum in unit_caps:
        most = np.minimum(most, maximum)
    rows, lower, upper, rule_of_row = _rule_rows(rules, n)
    return PoolProblem(
        pool=pool,
        weight=log_weight,
        gain=linear_weight,
        floor=least,
        cap=most,
        rows=rows,
        lower=lower,
        upper=upper,
        rule_of_row=rule_of_row,
        unit_caps=tuple(unit_caps),
        names=tuple(rule.name for rule in rules),
        scale=float(log_weight.sum()) + float(linear_weight.max(initial=0.0)) or 1.0,
    )


def stated_terms(
    shares: Floats,
    takes_part: Mask,
    alpha: float,
    lambda_fair: float,
    lambda_eff: float,
    objective: Objective,
) -> tuple[Floats, Floats]:
    """(n,) weights of log y and of y in the document's objective. Rows that cannot be paid leave
    before anything is normalised.
    """
    present = shares[takes_part]
    top = float(present.max(initial=0.0))
    log_weight, linear_weight = np.zeros(shares.size), np.zeros(shares.size)
    if top == 0:
        return log_weight, linear_weight
    in_top = present / top
    part = in_top / in_top.sum()
    if objective == "linear":
        log_weight[takes_part] = lambda_fair * part**alpha
        linear_weight[takes_part] = lambda_eff * part
    else:
        power = in_top**alpha
        log_weight[takes_part] = lambda_fair * power / power.sum() + lambda_eff * part
    return log_weight, linear_weight


def _rule_rows(rules: Sequence[Rule | EachAtMost], n: int) -> tuple[Any, Floats, Floats, Ints]:
    """R with one column a unit, its bounds, and the rule of each of its rows."""
    from scipy import sparse

    entries: list[tuple[Ints, Ints, Floats]] = []
    lower: list[float] = []
    upper: list[float] = []
    owner: list[int] = []
    for index, rule in enumerate(rules):
        if isinstance(rule, Rule):
            members = np.asarray(rule.members, dtype=np.float64)
            units = np.flatnonzero(members)
            entries.append((np.full(units.size, len(owner)), units, members[units]))
            count, least, most = 1, rule.minimum, rule.maximum
        elif rule.groups is not None:
            labels, group = np.unique(np.asarray(rule.groups), return_inverse=True)
            entries.append((len(owner) + group, np.arange(n), np.ones(n)))
            count, least, most = labels.size, None, rule.maximum
        else:
            continue
        lower += [-math.inf if least is None else least] * count
        upper += [math.inf if most is None else most] * count
        owner += [index] * count
    at_row, at_unit, weights = (
        (np.concatenate(column) for column in zip(*entries, strict=True))
        if entries
        else (np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0))
    )
    rows = sparse.csr_array((weights, (at_row, at_unit)), shape=(len(owner), n))
    return rows, np.array(lower), np.array(upper), np.array(owner, dtype=np.int64)


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Certificate:
    """What a split of a pool is worth, and a proof of how much more any other could be.

    Attributes
    ----------
    primal_residual : largest violation, relative: |sum - pool| / pool, a floor or cap / max(it,
        pool / n), a rule / its bound
    stationarity_residual : largest relative difference between a unit's marginal worth and its
        price, where no bound is near enough to explain it
    complementarity_residual : largest multiplier times slack, over bounds and rules, in the unit of
        `gap`
    gap : how much better than this split any other can be to first order, relative to `scale`; an
        upper bound on the objective still to be gained, 0 exactly at the optimum, infinite where a
        unit with a say in the logarithm is paid nothing
    value : the objective of `pool_problem`, with payouts as parts of the pool
    upper_bound : no split that keeps the bounds and rules has a larger value; upper_bound - value
        is mostly far smaller than gap * scale
    multiplier : worth of the last unit of the normalised pool, nu
    rule_multipliers : by rule, how the best value moves with the rule's bound: >= 0 for a maximum,
        <= 0 for a minimum
    scale : sum of the logarithm's weights plus the largest weight of the linear term
    """

    primal_residual: float
    stationarity_residual: float
    complementarity_residual: float
    gap: float
    value: float
    upper_bound: float
    multiplier: float
    rule_multipliers: dict[str, float]
    scale: float


def certify_pool(
    payout: npt.ArrayLike,
    pool: float,
    share: npt.ArrayLike,
    *,
    alpha: float = 0.5,
    lambda_fair: float = 0.5,
    lambda_eff: float = 0.5,
    objective: Objective = "blend",
    floor: npt.ArrayLike | None = None,
    cap: npt.ArrayLike | None = None,
    rules: Sequence[Rule | EachAtMost] = (),
) -> Certificate:
    r"""Judge any split of an ad pool, whoever made it, against the problem of
    `solvers.ad_pool.allocate_pool` with rules.

    With :math:`y = p / P`, gradient :math:`g_v = a_v / y_v + b_v` and the rules :math:`R y \le u`,
    every :math:`\nu` and every :math:`\mu \ge 0` prove

    .. math:: f^* - f(y) \le \sum_v g_v (y^*_v - y_v)
              \le \sum_v \max_{lo \le z \le hi} (g_v - \nu - (R^T \mu)_v)(z - y_v) + \nu (1 - \sum_v
              y_v) + \mu^T (u - R y)

    The first step is concavity, the second weak duality of the linear program on the right of the
    first: (nu, mu) is its dual-feasible point. Every term of the last line is a multiplier times a
    slack, so `gap` is their sum, with absolute values, over `scale`. A payout that is off by a
    relative 1e-6 shows as about 1e-6, although it loses only 1e-12 of the objective: that smaller
    loss is `upper_bound - value`, from the Lagrangian itself.

    Parameters
    ----------
    payout : (n,) money, any finite numbers
    pool, share, alpha, lambda_fair, lambda_eff, objective, floor, cap : as in
        `solvers.ad_pool.allocate_pool`
    rules : `Rule` and `EachAtMost`

    Returns
    -------
    Certificate

    Raises
    ------
    ValueError
        anything that is not a number of the kind asked for. Bounds that nobody can keep are no
        error: some residual is large then.

    Notes
    -----
    mu is fitted to the gradient of units between their bounds (non-negative least squares). If that
    leaves a gap above 1e-9, the linear program is solved with HiGHS for the best mu: 1e6 units take
    20 s then (a second otherwise), rules with a weight per unit longer. Given mu, nu is exact: the
    price at which the largest gradients have used up the pool. Payouts that are equally good are
    not told apart.

    Source: the ad revenue document, section 3; docs/formulas.md sections 2.3 to 2.5.

    Examples
    --------
    >>> good = certify_pool([100 / 7, 200 / 7, 400 / 7], 100.0, [1, 4, 16], lambda_eff=0.0)
    >>> good.gap < 1e-15, round(good.multiplier, 12)
    (True, 0.5)
    >>> swapped = certify_pool([200 / 7, 100 / 7, 400 / 7], 100.0, [1, 4, 16], lambda_eff=0.0)
    >>> round(swapped.gap, 3), round(swapped.upper_bound - swapped.value, 3)
    (1.0, 0.05)
    """
    problem = pool_problem(
        pool,
        share,
        alpha=alpha,
        lambda_fair=lambda_fair,
        lambda_eff=lambda_eff,
        objective=objective,
        floor=floor,
        cap=cap,
        rules=rules,
    )
    paid = np.asarray(payout, dtype=np.float64)
    if paid.shape != problem.weight.shape:
        raise ValueError(f"payout must have shape {problem.weight.shape}, not {paid.shape}")
    refuse(~np.isfinite(paid), "payout must be finite", paid)
    return judge(problem, paid)


def judge(problem: PoolProblem, payout: Floats) -> Certificate:
    """`certify_pool` for a problem that is stated already."""
    nothing = dict.fromkeys(problem.names, 0.0)
    if problem.pool == 0 or payout.size == 0:
        broken = float(np.abs(payout).max(initial=0.0)) if problem.pool == 0 else problem.pool
        return Certificate(
            math.inf if broken > 0 else 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, nothing, problem.scale
        )
    y = payout / problem.pool
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        return _judge(problem, y, nothing)


def _judge(problem: PoolProblem, y: Floats, nothing: dict[str, float]) -> Certificate:
    a, gain, lo, hi, scale = problem.weight, problem.gain, problem.floor, problem.cap, problem.scale
    row, sign, limit = problem.sides()
    slack = limit - sign * problem.totals(y)[row]

    # --- is it allowed
    mean = 1 / y.size
    broken = [
        abs(float(y.sum()) - 1),
        float(((lo - y) / np.maximum(lo, mean)).max()),
        float(((y - hi) / np.maximum(hi, mean)).max()),
    ]
    primal = max(
        0.0, *broken, float((-slack / np.where(limit == 0, 1.0, np.abs(limit))).max(initial=0.0))
    )

    # --- marginal worth; units that the bounds of all the others leave no choice have none
    room, excess = 1 - float(lo.sum()), float(hi.sum()) - 1
    lo, hi = (
        np.maximum(lo, hi - (excess if excess > _ROUNDING else 0.0)),
        np.minimum(hi, lo + (room if room > _ROUNDING else 0.0)),
    )
    gradient = np.where(a > 0, np.where(y > 0, a / y, math.inf), 0.0) + gain
    judged = (lo < hi) & ~((a > 0) & (a < _NEGLIGIBLE) & (np.abs(y) < _NEGLIGIBLE))
    free = judged & (y > lo + 1e-9 * (hi - lo)) & (y < hi - 1e-9 * (hi - lo))

    # --- multipliers: fitted, and if that leaves a gap the best there are
    fitted = _fitted(problem, y, gradient, free, slack)
    nu, mu, terms = _bounded(problem, y, gradient, (lo, hi), judged, fitted)
    if (
        limit.size
        and scale * _GOOD_ENOUGH < terms.sum() < math.inf
        and (best := _best(problem, gradient, (lo, hi), judged)) is not None
    ):
        other = _bounded(problem, y, gradient, (lo, hi), judged, best)
        if other[2].sum() < terms.sum():
            nu, mu, terms = other
    charged = problem.prices(mu)
    r = np.where(judged, gradient - charged - nu, 0.0)

    # --- a difference in price is explained by the bound where that is nearer, relatively
    size = np.where(a > 0, np.maximum(np.abs(gradient), np.abs(charged + nu)), scale)
    off = np.abs(r) / np.maximum(size, np.finfo(np.float64).tiny)
    off[np.isinf(gradient) & judged] = 1.0
    far = np.where(r > 0, hi - y, y - lo) / np.maximum(np.abs(y), np.finfo(np.float64).tiny)
    near_bound = far <= off
    stationarity = float(off[~near_bound & (r != 0)].max(initial=0.0))
    products = np.concatenate([terms[: y.size][near_bound], terms[y.size + 1 :]])

    value = float((a[a > 0] * np.log(np.maximum(y[a > 0], 0.0))).sum()) + float(gain @ y)
    by_rule = np.bincount(problem.rule_of_row[row], weights=sign * mu, minlength=len(nothing))
    for rule, maximum in problem.unit_caps:
        by_rule[rule] = float(r[(r > 0) & (problem.cap == maximum)].sum())
    return Certificate(
        primal_residual=primal,
        stationarity_residual=stationarity,
        complementarity_residual=float(products.max(initial=0.0)) / scale,
        gap=float(terms.sum()) / scale,
        value=value,
        upper_bound=_lagrangian(problem, (lo, hi), charged, nu, float(mu @ limit)),
        multiplier=nu,
        rule_multipliers={name: float(x) for name, x in zip(nothing, by_rule, strict=True)},
        scale=scale,
    )


def _fitted(problem: PoolProblem, y: Floats, gradient: Floats, free: Mask, slack: Floats) -> Floats:
    """Multipliers of the sides that bind, fitted to the gradient of free units; weighted so that a
    unit far off hardly counts.
    """
    row, sign, limit = problem.sides()
    mu = np.zeros(limit.size)
    near = np.flatnonzero(slack <= 1e-3 * np.abs(limit))
    if not near.size or not free.any():
        return mu
    from scipy import sparse
    from scipy.optimize import nnls
    from scipy.sparse.linalg import spsolve

    w = np.where(free, y * y / np.maximum(problem.weight, 1e-12 * problem.scale * y), 0.0)
    centred = np.where(free, gradient - float(w[free] @ gradient[free]) / float(w.sum()), 0.0)
    x = problem.rows[row[near]].multiply(sign[near][:, None]).tocsr()
    weighted, sums, total = x.multiply(w).tocsr(), x @ w, float(w.sum())
    wanted = weighted @ centred
    if near.size > _MOST_FITTED:
        system = sparse.block_array(
            [[weighted @ x.T, sums[:, None]], [sums[None, :], [[total]]]]
        ).tocsc()
        solved = spsolve(system, np.append(wanted, float(w @ centred)))
        mu[near] = np.maximum(np.nan_to_num(solved)[:-1], 0.0)
        return mu
    normal = (weighted @ x.T).toarray() - np.outer(sums, sums) / total
    values, vectors = np.linalg.eigh(normal)
    kept = values > 1e-13 * max(float(values.max()), 1e-300)
    root, vectors = np.sqrt(values[kept]), vectors[:, kept]
    mu[near] = nnls(
        root[:, None] * vectors.T, vectors.T @ (wanted - sums * (float(w @ centred) / total)) / root
    )[0]

    # --- the digits that squaring the problem cost
    used = np.flatnonzero(mu[near] > 0)
    for _ in range(2):
        missing = np.where(free, centred - problem.prices(mu), 0.0)
        right = weighted @ missing - sums * (float(w @ missing) / total)
        mu[near[used]] += np.linalg.lstsq(normal[np.ix_(used, used)], right[used])[0]
    mu = np.maximum(mu, 0.0)
    return mu


def _best(
    problem: PoolProblem, gradient: Floats, bounds: tuple[Floats, Floats], judged: Mask
) -> Floats | None:
    """Multipliers of the linear program max gradient @ z over the same bounds and rules."""
    from scipy import sparse
    from scipy.optimize import linprog

    (lo, hi), (row, sign, limit) = bounds, problem.sides()
    settled = np.where(judged, 0.0, lo)
    sides = problem.rows[row].multiply(sign[:, None]).tocsc()[:, judged]
    program = linprog(
        -np.minimum(gradient[judged] / problem.scale, 1e6),
        A_ub=sides,
        b_ub=limit - sign * problem.totals(settled)[row],
        A_eq=sparse.csr_array(np.ones((1, int(judged.sum())))),
        b_eq=[1 - float(settled.sum())],
        bounds=np.column_stack([lo[judged], hi[judged]]),
        options={"dual_feasibility_tolerance": 1e-10, "primal_feasibility_tolerance": 1e-10},
    )
    return np.maximum(-program.ineqlin.marginals, 0.0) * problem.scale if program.success else None


def _bounded(
    problem: PoolProblem,
    y: Floats,
    gradient: Floats,
    bounds: tuple[Floats, Floats],
    judged: Mask,
    mu: Floats,
) -> tuple[float, Floats, Floats]:
    """The best nu for these rule multipliers, the multipliers, and the gap: a term per unit, for
    the pool and per side of a rule.
    """
    (lo, hi), (row, sign, limit) = bounds, problem.sides()
    net = gradient - problem.prices(mu)

    # --- the largest gradients first: the one at which the pool is used up is its price
    finite = judged & np.isfinite(net)
    prices, ranges, room = net[finite], (hi - lo)[finite], 1 - float(lo.sum())
    nu = 0.0
    if prices.size:
        highest = int(np.argmax(prices))
        if ranges[highest] < room:
            order = np.argsort(-prices)
            highest = order[
                min(int(np.searchsorted(np.cumsum(ranges[order]), room)), prices.size - 1)
            ]
        nu = float(prices[highest])

    r = np.where(judged, net - nu, 0.0)
    units = np.where(
        r > 0, r * np.maximum(hi - y, 0.0), np.where(r < 0, -r * np.maximum(y - lo, 0.0), 0.0)
    )
    slack = np.abs(limit - sign * problem.totals(y)[row])
    return nu, mu, np.concatenate([units, [abs(nu) * abs(1 - float(y.sum()))], mu * slack])


def _lagrangian(
    problem: PoolProblem, bounds: tuple[Floats, Floats], charged: Floats, nu: float, limits: float
) -> float:
    """The least value found of the Lagrangian dual along nu: Newton's steps on the reciprocal of
    what the units ask for.
    """
    (lo, hi), a, best = bounds, problem.weight, math.inf
    for _ in range(8):
        distance = nu + charged - problem.gain
        z = np.clip(
            np.where(distance > 0, a / distance, np.where((a > 0) | (distance < 0), hi, lo)), lo, hi
        )
        worth = np.where(a > 0, a * np.log(np.where(a > 0, z, 1.0)), 0.0) - distance * z
        best = min(best, nu + limits + float(worth.sum()))
        free = (lo < z) & (z < hi) & (a > 0)
        slope, total = float((z[free] ** 2 / a[free]).sum()), float(z.sum())
        if slope <= 0 or abs(total - 1) <= _ROUNDING:
            break
        nu += total * (total - 1) / slope
    return best
