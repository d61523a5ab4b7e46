"""The one error that every solver raises when no solution exists."""


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
    """
