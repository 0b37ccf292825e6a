"""The terminal that progress and errors go to, one for all, so that they do not overwrite."""

from rich.console import Console

# stdout carries results alone, so that they can be piped; progress and errors go to stderr.
err = Console(stderr=True, emoji=False)
