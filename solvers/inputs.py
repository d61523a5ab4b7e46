"""Checks of arguments that several solvers share: one number or a column, and the first row that is
refused.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def refuse(bad: npt.NDArray[np.bool_], rule: str, values: npt.NDArray[np.float64]) -> None:
    """Raise ValueError with the rule, the first bad row and its value, if there is one."""
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{rule}: row {row} is {float(values[row])!r}")


def column_of(values: npt.ArrayLike, name: str, n: int) -> npt.NDArray[np.float64]:
    """`values` as n numbers: one of them is repeated, any other number of them is refused."""
    column = np.asarray(values, dtype=np.float64)
    if column.shape not in ((), (n,)):
        raise ValueError(f"{name} must be one number or have shape ({n},), not {column.shape}")
    return np.broadcast_to(column, (n,))
