"""What every solver says of its arrays: the three kinds there are, one number or a column, and the
first row that is refused.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


def refuse(bad: Mask, rule: str, values: Floats) -> None:
    """Raise ValueError with the rule, the first bad row and its value, if there is one."""
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(f"{rule}: row {row} is {float(values[row])!r}")


def column_of(values: npt.ArrayLike, name: str, n: int) -> Floats:
    """`values` as n numbers: one of them is repeated, any other number of them is refused."""
    column = np.asarray(values, dtype=np.float64)
    if column.shape not in ((), (n,)):
        raise ValueError(f"{name} must be one number or have shape ({n},), not {column.shape}")
    return np.broadcast_to(column, (n,))
