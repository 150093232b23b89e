"""The command line: each command is one public call."""

from conceptlab.cli.entry import main as main

__all__ = ["main"]
