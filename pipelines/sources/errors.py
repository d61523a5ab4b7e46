"""The one error of everything that reads files other people wrote."""

from pipelines.errors import ExpectedError


class SourceError(ExpectedError, ValueError):
    """A source or landing file that cannot be used: says which file, and which line or column of
    it.
    """
