"""The demonstrations there are, by name."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.lab.finding import Finding

DEMONSTRATIONS: dict[str, Callable[[], Finding]] = {}


def demonstration(name: str) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
    """Register a demonstration; the first line of its docstring is what `--list` shows."""

    def register(function: Callable[[], Finding]) -> Callable[[], Finding]:
        DEMONSTRATIONS[name] = function
        return function

    return register
