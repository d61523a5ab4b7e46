"""What several demonstrations share: a small made-up world of viewers, scored by the project's query."""

from __future__ import annotations

import warnings
from datetime import date
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipelines.policy import read_policy

Array: TypeAlias = NDArray[Any]


Floats: TypeAlias = NDArray[np.float64]


ROOT = Path(__file__).resolve().parents[2]


DAY = date(2026, 3, 1)


PRINTED = read_policy(ROOT / "assets_data/policies/printed.toml")


HARDENED = read_policy(ROOT / "assets_data/policies/hardened.toml")


def assets() -> tuple[Any, Any]:
    """The modules that size and split money. Imported late: dagster takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pipelines.ads import assets as ads
        from pipelines.coins import assets as coins
    return ads, coins
