"""A database, through SQLAlchemy: one SELECT, read in parts, every cell as text.

Nothing is ever written: only one statement that selects is accepted, SQLite files are opened read-only, PostgreSQL is
asked for a read-only transaction, and what was begun is rolled back. A password is never shown, and neither is what a
driver says of a value, because it quotes the value.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import hashlib
import json
import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bedside.core.errors import DataError, MissingExtra
from bedside.core.extras import require
from bedside.core.files import sha256_bytes
from bedside.core.progress import Progress
from bedside.data.table import Table, name_columns
from bedside.data.wording import counted
from bedside.protocol import DataSection

if TYPE_CHECKING:
    import polars as pl
    from sqlalchemy import URL, Connection, CursorResult, Engine

_ENVIRONMENT = "env:"
_SCHEME = re.compile(r"[A-Za-z]\w*(\+\w+)?://")
_SQLITE = re.compile(r"sqlite(?:\+\w+)?:///(?P<path>[^?]+)(?:\?.*)?")
_ROWS_AT_ONCE = 2_000
_SECONDS_TO_CONNECT = 10
_WAITS = {"psycopg", "psycopg2", "pymysql", "mysqldb"}  # drivers that take connect_timeout
_UNREAD = re.compile(
    r"""'(?:[^']|'')*' | "(?:[^"]|"")*" | `[^`]*` | (\$\w*\$).*?\1 | --[^\n]* | /\*(?!!).*?\*/""",
    re.DOTALL | re.VERBOSE,
)
_WRITES = re.compile(
    r"(?<![\w.])(insert|update|delete|merge|into|create|alter|drop|truncate|grant|revoke|call|copy|vacuum|attach)(?!\w)",
    re.IGNORECASE,
)
_NAMES_ONLY = re.compile(
    r"no such (table|column|function)|near \".*\": syntax error|incomplete input|ambiguous column|"
    r"file is not a database|database is locked|database disk image|unable to open|wrong number of arguments|"
    r"read-only transaction"
)  # what is said without quoting a cell


def is_address(source: str) -> bool:
    """Whether a source is a database: a URL, or the name of an environment variable that holds one."""
    return source.startswith(_ENVIRONMENT) or _SCHEME.match(source) is not None


def files_of(source: str, base: Path) -> dict[str, Path]:
    """The files behind a database, so that a manifest notices a change; a server has none."""
    path = sqlite_file(_given(source), base)
    if path is None:
        return {}
    log = path.with_name(f"{path.name}-wal")  # what was committed last may still stand there
    return {"table": path, **({"table-wal": log} if log.is_file() else {})}


def sqlite_file(address: str, base: Path) -> Path | None:
    """The file of an SQLite URL, relative to ``base``; None for other databases."""
    found = file_in(address)
    return base / Path(found).expanduser() if found else None


def file_in(address: str) -> str | None:
    """The path that an SQLite URL holds, as it is written; None for other databases."""
    found = _SQLITE.fullmatch(address)
    return found["path"] if found else None


def read(data: DataSection, base: Path, progress: Progress) -> Table:
    """Read what a query selects.

    Args:
        data: ``source`` is a SQLAlchemy URL, or ``env:NAME``; ``query`` selects the rows.
        base: the folder that a relative SQLite file is relative to.
        progress: told how many rows there are.

    Raises:
        MissingExtra: SQLAlchemy is not installed.
        DataError: no address, no database, no driver, no SELECT, or what the database says; one sentence.
    """
    query = one_select(data.query)
    url = _url(data.source)
    engine, name = _engine(url, base)
    frames, digests = [], []
    try:
        with (
            _told(url, name, "cannot be reached"),
            engine.connect() as connection,
            progress.task(f"reading {name}", unit="rows") as task,
        ):
            with _told(url, name, "refused data.query"):
                result = _asked(connection, query)
                names, remarks = name_columns(list(result.keys()), name)
            with _told(url, name, "broke off while it was read"):
                for cells in _parts(result):
                    frames.append(_frame(names, cells))
                    digests += [_digest(row) for row in cells]
                    task.advance(len(cells))
    finally:
        engine.dispose()
    if not frames:
        raise DataError(f"{name}: data.query selects no row; is a condition too narrow, or the table empty?")
    frame = _joined(frames)
    kind = url.get_backend_name()
    said = f"read {counted(frame.height, 'row')} and {counted(frame.width, 'column')} of {name}: {kind}"
    seen = {
        "format": "database",
        "database": kind,
        "address": name,
        "query_sha256": sha256_bytes(query.encode("utf-8")),
        "rows_sha256": sha256_bytes(b"".join(sorted(digests))),  # in whatever order the database answers
    }
    notes = (said, *_again(url))
    return Table(frame, tuple(range(1, frame.height + 1)), name, seen, notes, (*remarks, *_open_password(data, url)))


def one_select(query: str | None) -> str:
    """The query, if it is one statement that only selects.

    Raises:
        DataError: it is absent, no SELECT, more than one statement, or it writes.
    """
    if query is None or not query.strip():
        raise DataError(
            "data.source is a database, so data.query must say what to read: "
            'query = "SELECT note, diagnosis FROM notes".'
        )
    bare = _UNREAD.sub(" ", query).strip().rstrip(";").strip()
    first = bare.lstrip("( \n\t\r").partition(" ")[0].split("\n")[0].split("(")[0].upper()
    if not re.match(r"\(*\s*(select|with)(?!\w)", bare, re.IGNORECASE):
        raise DataError(f"data.query begins with '{first[:30]}', and only a SELECT (or WITH … SELECT) is run.")
    if ";" in bare:
        raise DataError("data.query holds more than one statement; leave one SELECT.")
    found = _WRITES.search(bare)
    if found or "/*!" in bare:
        word = found[0].upper() if found else "/*!"
        raise DataError(
            f"data.query holds {word}, and bedside only reads; write one SELECT (a column of that name goes in quotes)."
        )
    return query.strip().rstrip(";")


def require_no_query(data: DataSection) -> None:
    """Refuse a query where the source is a file.

    Raises:
        DataError: there is one.
    """
    if data.query is not None:
        raise DataError(
            f"data.query is for a database, and data.source = '{data.source}' is none: leave data.query out, or write "
            "sqlite:/// before the name of an SQLite file."
        )


def _given(source: str) -> str:
    """The address itself; empty where the environment variable that should hold it is not set."""
    if not source.startswith(_ENVIRONMENT):
        return source
    return os.environ.get(source.removeprefix(_ENVIRONMENT).strip(), "").strip()


def _url(source: str) -> URL:
    """The parsed address.

    Raises:
        DataError: the environment variable is not set, or this is no database URL.
    """
    alchemy = require("sqlalchemy", "sql")
    address = _given(source)
    if not address:
        name = source.removeprefix(_ENVIRONMENT).strip()
        raise DataError(
            f"data.source = '{source}', and the environment variable {name or '(no name)'} is not set; set it to the "
            "database's URL, such as postgresql+psycopg://user:password@host/database."
        )
    try:
        url: URL = alchemy.engine.make_url(address)
        url.get_dialect()
    except alchemy.exc.NoSuchModuleError:
        raise DataError(
            f"'{address.partition('://')[0]}' is no database that SQLAlchemy knows; a URL begins with, for example, "
            "sqlite:///, postgresql+psycopg:// or mysql+pymysql://."
        ) from None
    except (alchemy.exc.ArgumentError, ValueError):
        raise DataError(
            "data.source is no database URL that can be read; write it as postgresql+psycopg://user@host:5432/database "
            "or sqlite:///file.db, and special characters of a password as %40 for @ and the like."
        ) from None
    except ModuleNotFoundError as error:
        raise _no_driver(address.partition("://")[0], error) from None
    return url


def _engine(url: URL, base: Path) -> tuple[Engine, str]:
    """A way to connect, and the database's name for sentences.

    Raises:
        DataError: no such file, or a driver that only works asynchronously.
        MissingExtra: the driver is not installed.
    """
    alchemy = require("sqlalchemy", "sql")
    pool = require("sqlalchemy.pool", "sql").NullPool
    if url.get_backend_name() == "sqlite":
        path = _existing(url, base)
        return alchemy.create_engine("sqlite://", creator=lambda: _read_only(path), poolclass=pool), path.name
    waits = url.get_driver_name() in _WAITS and "connect_timeout" not in url.query
    more = {"connect_args": {"connect_timeout": _SECONDS_TO_CONNECT}} if waits else {}
    try:
        engine: Engine = alchemy.create_engine(url, poolclass=pool, **more)
    except ModuleNotFoundError as error:
        raise _no_driver(url.drivername, error) from None
    if engine.dialect.is_async:
        raise DataError(
            f"{url.drivername} is a driver for asynchronous programs; use another, such as postgresql+psycopg."
        )
    return engine, _shown(url)


def _no_driver(name: str, error: ModuleNotFoundError) -> MissingExtra:
    """The sentence for a driver that is not installed."""
    line = "'bedside[sql]'" if error.name == "psycopg" else str(error.name)
    return MissingExtra(
        f"{name} needs the Python package {error.name}, which is not installed; run: pip install {line}"
    )


def _existing(url: URL, base: Path) -> Path:
    """The SQLite file, which SQLite itself would make where it is absent.

    Raises:
        DataError: the URL names none, or it is not there.
    """
    path = base / Path(url.database or "").expanduser()
    if not url.database or not path.is_file():
        what = f"{path} does not exist" if url.database else "data.source names no file"
        raise DataError(
            f"{what}; write sqlite:///notes.db for a file beside, sqlite:////data/notes.db for one elsewhere."
        )
    return path


def _read_only(path: Path) -> sqlite3.Connection:
    """An SQLite file, opened so that nothing can be written."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
    connection.text_factory = lambda cell: cell.decode("utf-8", errors="replace")  # else the error quotes the cell
    return connection


def _asked(connection: Connection, query: str) -> CursorResult[Any]:
    """The answer to a query, left on the server until it is fetched; as it was written, with no ``:name`` filled in."""
    if connection.dialect.name == "postgresql":
        connection = connection.execution_options(postgresql_readonly=True)
    return connection.execution_options(no_parameters=True, yield_per=_ROWS_AT_ONCE).exec_driver_sql(query)


def _parts(result: CursorResult[Any]) -> Iterator[list[list[str]]]:
    """Blocks of rows of text."""
    for part in result.partitions():
        yield [[_text(cell) for cell in row] for row in part]


def _text(value: Any) -> str:
    """A value as the text of a cell: what the database holds, not what Python would print."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", errors="replace")
    if isinstance(value, (dict, list, tuple)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def _frame(names: Sequence[str], cells: list[list[str]]) -> pl.DataFrame:
    import polars as pl

    return pl.DataFrame(cells, schema=dict.fromkeys(names, pl.String), orient="row")


def _joined(frames: list[pl.DataFrame]) -> pl.DataFrame:
    import polars as pl

    return pl.concat(frames, rechunk=True)


def _digest(row: Sequence[str]) -> bytes:
    """A hash of one row, in which no two rows of other cells look alike."""
    marked = "".join(f"{len(cell)}:{cell}" for cell in row)
    return hashlib.sha256(marked.encode("utf-8", errors="surrogatepass")).digest()


def _again(url: URL) -> tuple[str, ...]:
    """How a study notices that the data changed, where there is no file to look at."""
    if url.get_backend_name() == "sqlite":
        return ()
    return ("a database server is not watched for changes: read it anew with bedside prepare --again",)


def _open_password(data: DataSection, url: URL) -> tuple[str, ...]:
    """A sentence on a password that stands in the protocol, where whoever reads the study reads it."""
    if data.source.startswith(_ENVIRONMENT) or not (url.password or "password" in url.query):
        return ()
    return (
        "data.source holds a password, which whoever sees protocol.toml can read: put the whole URL into an "
        'environment variable, NOTES_DB say, and write source = "env:NOTES_DB"',
    )


def _shown(url: URL) -> str:
    """An address without its password and options."""
    return url.set(query={}).render_as_string(hide_password=True)


@contextlib.contextmanager
def _told(url: URL, name: str, what: str) -> Iterator[None]:
    """Turn what a database or its driver raises into one sentence without password and without cells."""
    errors = require("sqlalchemy.exc", "sql")
    try:
        yield
    except errors.SQLAlchemyError as error:
        said = _safe(error, url, connecting=what == "cannot be reached")
    except ModuleNotFoundError as error:
        raise _no_driver(url.drivername, error) from None
    else:
        return
    raise DataError(f"{name} {what}: {said}; check data.source and data.query.")


def _safe(error: Exception, url: URL, *, connecting: bool) -> str:
    """What may be shown of an error: what is said of names, syntax and connections; of values only the kind."""
    inner = getattr(error, "orig", None) or error
    said = " ".join(str(inner).split("\n")[0].split()).rstrip(".")
    kind = f"{type(inner).__module__.partition('.')[0]}.{type(inner).__name__}"
    if connecting or type(error).__name__ == "ProgrammingError" or _NAMES_ONLY.search(said):
        secret = url.password
        hidden = said.replace(str(secret), "***") if secret else said
        return hidden[:300] or kind
    return f"{kind} (what it says is not shown, because it may quote a cell)"
