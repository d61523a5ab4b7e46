"""What solvers raise: no solution exists, or a row of the input has no meaning."""


class InfeasibleError(ValueError):
    """The constraints contradict each other; the message names the numbers that do not fit.

    A malformed input (NaN, a negative count, a wrong shape) is a plain `ValueError` instead.

    Examples
    --------
    >>> from solvers.ad_pool import allocate_pool
    >>> allocate_pool(1.0, [1.0, 1.0], floor=0.75)
    Traceback (most recent call last):
        ...
    solvers.errors.InfeasibleError: the floors add up to 1.5, more than the pool of 1.0

    Attributes
    ----------
    row : the row that alone contradicts itself, if one does; whoever knows what it stands for can
        name that instead
    """

    def __init__(self, message: str, *, row: int | None = None) -> None:
        super().__init__(message)
        self.row = row


class RowError(ValueError):
    """A value that has no meaning, in the row `row` of an argument."""

    def __init__(self, message: str, *, row: int) -> None:
        super().__init__(message)
        self.row = row
