"""All payouts of a day taken apart at once: the same parts as an explanation of each, as a table.

What belongs here: a day's videos pool by pool, in arrays. What a part means, pools with a floor or
cap and everything in words is in `explanation.py` and `counterfactual.py`. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.ledger.counterfactual import FACTORS, NothingToExplainError, Place, Pool
from pipelines.ledger.explanation import DayBook
from pipelines.ledger.pool_sums import FACTORS_SQL
from pipelines.policy import exact
from pipelines.store.warehouse import Connection
from solvers.arrays import Floats, Ints
from solvers.attribution import product_values, shapley_weights, whole_rows

COLUMNS = pa.schema(
    [
        ("day", pa.date32()),
        ("creator_id", pa.string()),
        ("video_id", pa.string()),
        ("source", pa.string()),
        ("category", pa.string()),
        ("part", pa.string()),
        ("micros", pa.int64()),
        ("own", pa.float64()),
        ("typical", pa.float64()),
    ]
)
"""A row a part: parts of a payout (day, video, source, category) sum to what was paid, in micros;
`own` and `typical` are the factor's value and the median of its pool."""

_AT_ONCE = 1 << 22  # values of coalitions in memory


def explained_day(con: Connection, day: date) -> pa.Table:
    """Every payout of the day to a video, from every source, in parts: columns as in `COLUMNS`.

    Raises
    ------
    NothingToExplainError
        The day is not made, or some of its tables were made again and others not.
    """
    book = DayBook.of(con, day)
    tables = [*_from_pools(book), *_from_pulse(book), *_from_coins(book)]
    return pa.concat_tables(tables or [COLUMNS.empty_table()])


def _from_pools(book: DayBook) -> Iterator[pa.Table]:
    rows = book.con.execute(
        f"""SELECT category, video_id, p.creator_id, unit_id, payout_micros, p.policy_hash,
                   effective_views, {FACTORS_SQL}
            FROM ad_payouts AS p LEFT JOIN video_quality USING (day, video_id)
            WHERE p.day = ? ORDER BY category, video_id""",
        [book.day],
    ).to_arrow_table()
    categories = rows["category"].to_numpy(zero_copy_only=False)
    ends = (np.flatnonzero(categories[1:] != categories[:-1]) + 1).tolist()
    for begin, end in zip([0, *ends], [*ends, len(categories)], strict=True):
        if end > begin:
            yield _from_pool(book, rows.slice(begin, end - begin))


def _from_pool(book: DayBook, rows: pa.Table) -> pa.Table:
    category, policy_hash = rows["category"][0].as_py(), rows["policy_hash"][0].as_py()
    pool, _ = book.pool(category, policy_hash)
    own = {name: rows[name].to_numpy() for name in FACTORS}
    views, paid = rows["effective_views"].to_numpy(), rows["payout_micros"].to_numpy()
    _, unit_of = np.unique(
        rows["unit_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True
    )
    shown = [name for name in FACTORS if name != "group_weight" or pool.reweighted]
    ends = [*(["bounds"] if pool.bounded else []), "rules" if pool.ruled else "rounding"]
    names = ["pool", *shown, "fairness", *ends]
    if pool.bounded or pool.ads.objective != "blend":
        whole = _one_by_one(book, pool, own, views, unit_of, paid, names)
    else:
        whole = _together(pool, own, views, unit_of, shown)
        # rules over groups are no factor: what they changed is the rest, whatever it is
        rest = paid - whole.sum(axis=1)
        if not pool.ruled and (np.abs(rest) > 3 + 1e-9 * pool.micros).any():
            at = int(np.argmax(np.abs(rest)))
            raise NothingToExplainError(
                f"{book.day}: the pool {category} pays {rows['video_id'][at]} something else than"
                f" {paid[at]} micros. Some tables of the day were made again and others not; make"
                f" it whole: earnings run --from {book.day} --to {book.day}"
            )
        whole = np.hstack([whole, rest[:, None]])
    typical = [pool.typical.get(name) for name in names]
    values = [own.get(name) for name in names]
    return _table(book.day, rows, "ads", category, names, whole, values, typical)


def _together(
    pool: Pool, own: dict[str, Floats], views: Floats, unit_of: Ints, shown: Sequence[str]
) -> Ints:
    """Parts of all videos of a pool without bounds, whose split is a closed form: the pool, a
    column a factor, fairness. Rows sum to what the pool pays, rounded.
    """
    ads, micros = pool.ads, float(pool.micros)
    units = np.bincount(unit_of, weights=views)
    sizes = np.bincount(unit_of)
    total, weight = units.sum(), (units**ads.alpha).sum()
    of_unit = units[unit_of]
    mates = np.where(sizes[unit_of] > 1, of_unit - views, 0.0)
    share_if_nobody = 1 / units.size if ads.zero_quality == "equal" else 0.0
    on, off = (
        np.stack(
            [
                np.broadcast_to(x[name], views.shape) ** pool.exponents.get(name, 1.0)
                for name in shown
            ],
            axis=1,
        )
        for x in (own, pool.typical)
    )
    weights = shapley_weights(len(shown) + 1)
    coalitions = 1 << len(shown)
    parts = []
    for begin in range(0, views.size, max(1, _AT_ONCE // coalitions)):
        part = slice(begin, begin + max(1, _AT_ONCE // coalitions))
        x = product_values(off[part], on[part])
        x[:, -1] = views[part]  # the product may differ from it in the last digit
        together = x + mates[part, None]
        together[:, -1] = of_unit[part]
        everybody = together + (total - of_unit[part])[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            inside = np.where(together > 0, x / together, 1 / sizes[unit_of[part]][:, None])
            share = np.where(everybody > 0, together / everybody, share_if_nobody)
            raised = together**ads.alpha
            others = np.maximum(weight - of_unit[part] ** ads.alpha, 0.0)[:, None]
            fair = np.where(everybody > 0, raised / (raised + others), share_if_nobody)
        blend = (ads.lambda_fair * fair + ads.lambda_eff * share) / (
            ads.lambda_fair + ads.lambda_eff
        )
        fairly = np.where(everybody > 0, blend, share_if_nobody)
        values = np.hstack([share * inside, fairly * inside]) * micros
        apart = np.hstack([values[:, :1], values @ weights])
        parts.append(whole_rows(apart, np.rint(apart.sum(axis=1)).astype(np.int64)))
    return np.concatenate(parts)


def _one_by_one(
    book: DayBook,
    pool: Pool,
    own: dict[str, Floats],
    views: Floats,
    unit_of: Ints,
    paid: Ints,
    names: Sequence[str],
) -> Ints:
    """Parts of each video by itself: pools whose split is a search."""
    order = np.argsort(unit_of, kind="stable")
    begins = np.searchsorted(unit_of[order], np.arange(unit_of.max() + 2))
    found = np.empty((views.size, len(names)), dtype=np.int64)
    for row in range(views.size):
        unit = views[order[begins[unit_of[row]] : begins[unit_of[row] + 1]]]
        factors = {name: float(own[name][row]) for name in FACTORS}
        parts = pool.attribute(Place.of(factors, float(views[row]), unit), int(paid[row]))
        of = {part.name: part.micros for part in parts}
        found[row] = [of[name] for name in names]
    return found


def _from_pulse(book: DayBook) -> Iterator[pa.Table]:
    rows = book.con.execute(
        "SELECT video_id, creator_id, revenue_micros, payout_micros, policy_hash FROM pulse_payouts"
        " WHERE day = ? ORDER BY video_id",
        [book.day],
    ).to_arrow_table()
    if not rows.num_rows:
        return
    share = 1 - exact(book.policy(rows["policy_hash"][0].as_py()).pulse.creator_share)
    revenue, paid = rows["revenue_micros"].to_numpy(), rows["payout_micros"].to_numpy()
    kept = np.array([int(share * each) for each in revenue.tolist()], dtype=np.int64)
    whole = np.stack([revenue, -kept, paid - revenue + kept], axis=1)
    yield _table(book.day, rows, "pulse", None, ["revenue", "platform", "rounding"], whole)


def _from_coins(book: DayBook) -> Iterator[pa.Table]:
    rows = book.con.execute(
        "SELECT video_id, creator_id, normal_share * normal_coins AS normal,"
        " premium_share * premium_coins AS premium, payout_micros, policy_hash FROM donation_splits"
        " WHERE day = ? ORDER BY video_id",
        [book.day],
    ).to_arrow_table()
    if not rows.num_rows:
        return
    micros = book.policy(rows["policy_hash"][0].as_py()).coins.coin_micros
    kept = np.stack([rows[name].to_numpy() * micros for name in ("normal", "premium")], axis=1)
    whole = whole_rows(kept, np.rint(kept.sum(axis=1)).astype(np.int64))
    rest = rows["payout_micros"].to_numpy() - whole.sum(axis=1)
    whole = np.hstack([whole, rest[:, None]])
    yield _table(book.day, rows, "coins", None, ["normal", "premium", "rounding"], whole)


def _table(
    day: date,
    rows: pa.Table,
    source: str,
    category: str | None,
    names: Sequence[str],
    whole: Ints,
    own: Sequence[Floats | None] = (),
    typical: Sequence[float | None] = (),
) -> pa.Table:
    """Rows of `COLUMNS`, part by part."""
    n = rows.num_rows
    parts = []
    for at, name in enumerate(names):
        value = own[at] if own else None
        parts.append(
            pa.table(
                {
                    "day": pa.repeat(pa.scalar(day, pa.date32()), n),
                    "creator_id": rows["creator_id"].combine_chunks(),
                    "video_id": rows["video_id"].combine_chunks(),
                    "source": pa.repeat(pa.scalar(source), n),
                    "category": pa.repeat(pa.scalar(category, pa.string()), n),
                    "part": pa.repeat(pa.scalar(name), n),
                    "micros": pa.array(whole[:, at]),
                    "own": pa.nulls(n, pa.float64()) if value is None else pa.array(value),
                    "typical": pa.repeat(
                        pa.scalar(typical[at] if typical else None, pa.float64()), n
                    ),
                },
                schema=COLUMNS,
            )
        )
    return pa.concat_tables(parts)
