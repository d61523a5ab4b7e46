"""What a row would be paid for other shares, against solving the pool again with each of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from solvers import InfeasibleError
from solvers.ad_pool import PoolChunk, ShareSketch, allocate_chunks, allocate_pool, paid_at

SHARES = {
    "log-normal": lambda rng, n: np.exp(rng.normal(0, 2, n)),
    "few values": lambda rng, n: rng.choice([0.0, 1.0, 2.5], n),
    "some zero": lambda rng, n: rng.pareto(1.1, n) * (rng.random(n) < 0.9),
    "nearly equal": lambda rng, n: 1 + 1e-3 * rng.random(n),
}


def problems(seed: int, count: int) -> Iterator[tuple[float, np.ndarray, dict[str, Any]]]:
    rng = np.random.default_rng(seed)
    for _ in range(count):
        n, pool = int(rng.choice([1, 2, 3, 10, 100, 1500])), float(rng.choice([1e4, 1e9, 1e13]))
        share = list(SHARES.values())[rng.integers(len(SHARES))](rng, n)
        fair, eff = float(rng.choice([0, 1e-6, 0.2, 0.5, 1])), float(rng.choice([0.0, 0.5, 1]))
        yield pool, share, {
            "alpha": float(rng.choice([0.3, 0.5, 1])),
            "lambda_fair": fair,
            "lambda_eff": eff if fair else 1.0,
            "objective": str(rng.choice(["blend", "linear"])),
            "floor": float(rng.choice([0, 0, 0.5]) * rng.random()) * pool / n,
            "cap": float(rng.choice([np.inf, pool * min(1, (1 + 5 * rng.random()) / n), pool * (0.4 if n > 3 else 1)])),
        }  # fmt: skip


@pytest.mark.parametrize("few", [0, 4096])
def test_it_is_what_the_pool_pays(few: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """All shares behind points of their bins, and all as they are; floors, caps, ties, a single
    row, the linear program.
    """
    monkeypatch.setattr("solvers.ad_pool.response._FEW", few)
    rng = np.random.default_rng(few)
    for pool, share, knobs in problems(few + 1, 90):
        row = int(rng.integers(share.size))
        other = np.unique(
            [
                share[row],
                share[row] / 2,
                3 * share[row],
                0.0,
                10 * share.max(),
                *rng.choice(share, 2),
            ]
        )
        sketch = ShareSketch([part for part in np.array_split(share, 3) if part.size])
        found = paid_at(pool, sketch, float(share[row]), other, **knobs)
        for value, payout in zip(other, found, strict=True):
            changed = share.copy()
            changed[row] = value
            expected = allocate_pool(pool, changed, **knobs).payout[row]
            assert payout == pytest.approx(expected, rel=1e-10, abs=1e-13 * pool), (
                value,
                share.size,
                knobs,
            )


@pytest.mark.parametrize(
    "knobs",
    [
        {"objective": "linear"},
        {"objective": "linear", "lambda_fair": 1e-4},
        {"floor": 3e6, "cap": 3e8},
    ],
    ids=str,
)
def test_thirty_thousand_rows_to_a_thousandth_of_a_micro(knobs: dict[str, Any]) -> None:
    share = np.exp(np.random.default_rng(1).normal(0, 2, 30_000))
    pool, row = 1e12, int(np.argsort(share)[25_000])
    other = share[row] * np.array([1.0, 0.3, 2.0, 1e4])
    bounds = {name: knobs[name] for name in ("floor", "cap") if name in knobs}
    found = paid_at(pool, ShareSketch(np.array_split(share, 4)), float(share[row]), other, **knobs)
    for value, payout in zip(other, found, strict=True):
        share[row] = value
        chunk = PoolChunk(share, **bounds)
        expected = allocate_chunks(
            pool, [chunk], **{k: v for k, v in knobs.items() if k not in bounds}
        ).payout(chunk)[row]
        assert payout == pytest.approx(expected, rel=1e-12, abs=1e-3)


def test_what_is_not_smooth_is_read_again() -> None:
    """Bins in which rows meet a floor or a cap are opened, a few of them; without bounds none is."""
    share = np.exp(np.random.default_rng(2).normal(0, 2, 20_000))
    sketch = ShareSketch([share])
    before = sketch.points.closed.size
    paid_at(1e12, sketch, float(share[0]), share[:1], objective="linear")
    assert sketch.points.closed.size == before
    paid_at(1e12, sketch, float(share[0]), share[:1], floor=1e7, cap=1e9)
    assert before - 12 < sketch.points.closed.size < before


@pytest.mark.parametrize(
    ("own", "shares", "knobs", "error", "words"),
    [
        (2.0, [1.0], {}, ValueError, "no row has the share 2.0"),
        (1.0, [-1.0], {}, ValueError, "at least 0"),
        (1.0, [[1.0]], {}, ValueError, r"\(k,\) finite"),
        (1.0, [1.0], {"floor": 60.0}, InfeasibleError, "floors add up to 120.0"),
        (1.0, [1.0], {"cap": 40.0}, InfeasibleError, "caps add up to 80.0"),
        (1.0, [1.0], {"floor": 9.0, "cap": 8.0}, InfeasibleError, "above its cap"),
        (1.0, [1.0], {"alpha": 0.0}, ValueError, "alpha must lie"),
    ],
)
def test_bad_input_is_refused(
    own: float, shares: Any, knobs: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        paid_at(100.0, ShareSketch([np.array([1.0, 3.0])]), own, shares, **knobs)


def test_bad_shares_are_refused() -> None:
    with pytest.raises(ValueError, match="row 1 is nan"):
        ShareSketch([np.array([1.0]), np.array([np.nan])])
    with pytest.raises(ValueError, match="again and again"):
        ShareSketch(iter([np.array([1.0])]))
