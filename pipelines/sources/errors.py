"""The one error of everything that reads files other people wrote."""


class SourceError(ValueError):
    """A source or landing file that cannot be used: says which file, and which line or column of it."""
