"""The command line: one thin file a verb, over the same functions that Python users call.

Here, and nowhere else, it is decided how a failure ends: a user's mistake in one sentence and exit code 2, Ctrl-C
in 130, a bug in a traceback and 1. That traceback holds only the places and kinds of errors, because a message may
quote the note that was being read, and what a terminal shows ends up in logs and tickets. What the user asked for goes
to standard output; progress and errors go to standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence

_BUG = 1
_USER_MISTAKE = 2
_INTERRUPTED = 130
_WITHHELD = (
    "This is a fault in bedside. The error's own message is withheld, because it may hold text of a note; "
    "BEDSIDE_DEBUG=1 shows it."
)
# How long a thread of a matrix product spins while it waits for the others. The library's default suits a machine that
# does nothing else; where another process takes a core, it wastes whole seconds.
_SPINS = ("GOMP_SPINCOUNT", "10000")
_KEPT = "Stopped. A study keeps the stages that were finished; the same command goes on after them."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code.

    Args:
        arguments: without the program's name; those of this process if not given.
    """
    import typer

    from bedside.cli.app import app
    from bedside.core.errors import BedsideError

    os.environ.setdefault(*_SPINS)  # read when torch is first imported
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
    except Exception as error:
        complain(_whole(error) if os.environ.get("BEDSIDE_DEBUG") == "1" else f"{_places(error)}\n{_WITHHELD}")
        return _BUG
    if result == _INTERRUPTED:
        complain(_KEPT)
    return result if isinstance(result, int) else 0


def complain(sentence: str) -> None:
    """Write a sentence to standard error."""
    sys.stderr.write(f"{sentence}\n")


def _whole(error: BaseException) -> str:
    """The traceback as Python writes it, with the messages."""
    import traceback

    return "".join(traceback.format_exception(error)).rstrip()


def _places(error: BaseException) -> str:
    """The traceback of an error and of those behind it, first cause first: file, line, function and kind alone."""
    import traceback

    parts = []
    for one in reversed(list(_chain(error))):
        frames = traceback.extract_tb(one.__traceback__)
        # Without the lines of source, which are no help where the version is known, and could hold a literal text.
        bare = [(frame.filename, frame.lineno or 0, frame.name, "") for frame in frames]
        kind = f"{type(one).__module__}.{type(one).__qualname__}".removeprefix("builtins.")
        parts.append("".join(["Traceback (most recent call last):\n", *traceback.format_list(bare), kind]))
    return "\n\n".join(parts)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error, and those that led to it, as Python's own traceback shows them."""
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        yield found
        found = found.__cause__ or (None if found.__suppress_context__ else found.__context__)


def _asked(words: Sequence[str]) -> str:
    """The command that was asked for, as far as its first word goes."""
    first = next((word for word in words if not word.startswith("-")), None)
    from bedside.cli.app import VERBS

    return f"bedside {first}" if first in VERBS else "bedside"
