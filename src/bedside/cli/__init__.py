"""The command line: one thin file a verb, over the same functions that Python users call.

Here, and nowhere else, it is decided how a failure ends: a user's mistake in one sentence and exit code 2, Ctrl-C
in 130, a bug in a traceback. What the user asked for goes to standard output; progress and errors go to standard
error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

_USER_MISTAKE = 2
_INTERRUPTED = 130
_KEPT = "Stopped. A study keeps the stages that were finished; the same command goes on after them."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: without the program's name; those of this process if not given.
    """
    import typer

    from bedside.cli.app import app
    from bedside.core.errors import BedsideError

    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(args=words, standalone_mode=False, prog_name="bedside")
        sys.stdout.flush()
    except typer.TyperException as error:
        tell = getattr(error, "format_message", error.__str__)
        complain(f"{tell()} See: {_asked(words)} --help")
        return _USER_MISTAKE
    except BedsideError as error:
        complain(str(error))
        return _USER_MISTAKE
    except (KeyboardInterrupt, typer.Abort):
        result = _INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left (as `head` does); Python would complain once more while shutting down.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if result == _INTERRUPTED:
        complain(_KEPT)
    return result if isinstance(result, int) else 0


def complain(sentence: str) -> None:
    """Write a sentence to standard error."""
    sys.stderr.write(f"{sentence}\n")


def _asked(words: Sequence[str]) -> str:
    """The command that was asked for, as far as its first word goes."""
    first = next((word for word in words if not word.startswith("-")), None)
    from bedside.cli.app import VERBS

    return f"bedside {first}" if first in VERBS else "bedside"
