"""The one base of errors that are not the code's fault."""

from __future__ import annotations


class ExpectedError(Exception):
    """What is wrong with the input, the policy or the machine: its message says where, and what to
    do. Nobody needs the stack.
    """
