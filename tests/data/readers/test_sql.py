"""A database as a source: what is read, what is refused, and what is never said."""

from __future__ import annotations

import datetime
import decimal
import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from told import Told

from bedside.core.errors import BedsideError, DataError, MissingExtra
from bedside.data.readers import files_of, read
from bedside.data.table import Table
from bedside.protocol import DataSection

SECRET = "s3cr@t/Wort"
PATIENT = "Erika Mustermann"


def table_of(source: str, query: str | None, base: Path = Path()) -> Table:
    return read(DataSection(source=source, query=query, text="note", label="dx"), base)


@pytest.fixture
def notes(tmp_path) -> Path:
    """An SQLite file with a table of notes."""
    path = tmp_path / "notes.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE notes (id INTEGER, note TEXT, dx TEXT, day DATE, value REAL, raw BLOB)")
    rows = [
        (n, f"100% of :x {n}; it's", None if n == 2 else "Gout", "2020-01-02", 1.5, b"caf\xc3\xa9") for n in range(4)
    ]
    connection.executemany("INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?)", rows)
    connection.commit()
    connection.close()
    return path


def test_every_cell_is_text_and_nothing_in_the_query_is_filled_in(notes, tmp_path) -> None:
    query = "SELECT note, dx, id, day, value, raw, dx FROM notes WHERE note LIKE '100% of :x%' ORDER BY id;"
    table = table_of("sqlite:///notes.db", query, tmp_path)
    assert table.frame.columns == ["note", "dx", "id", "day", "value", "raw", "dx_2"]
    assert table.frame.row(0) == ("100% of :x 0; it's", "Gout", "0", "2020-01-02", "1.5", "café", "Gout")
    assert table.frame["dx"].to_list() == ["Gout", "Gout", "", "Gout"]
    assert table.rows == (1, 2, 3, 4)
    assert table.file == "notes.db"
    assert table.seen["format"] == "database"
    assert "read 4 rows and 7 columns of notes.db: sqlite" in table.observations


def test_more_rows_than_are_fetched_at_once(tmp_path) -> None:
    connection = sqlite3.connect(tmp_path / "many.db")
    connection.execute("CREATE TABLE notes (n INTEGER)")
    connection.executemany("INSERT INTO notes VALUES (?)", [(n,) for n in range(4_500)])
    connection.commit()
    connection.close()
    up = table_of("sqlite:///many.db", "SELECT n FROM notes ORDER BY n", tmp_path)
    down = table_of("sqlite:///many.db", "SELECT n FROM notes ORDER BY n DESC", tmp_path)
    assert up.frame["n"].to_list() == [str(n) for n in range(4_500)]
    assert up.seen["rows_sha256"] == down.seen["rows_sha256"]  # a database without ORDER BY answers as it likes
    fewer = table_of("sqlite:///many.db", "SELECT n FROM notes WHERE n > 0", tmp_path)
    assert fewer.seen["rows_sha256"] != up.seen["rows_sha256"]


def test_values_of_every_kind_become_what_the_database_holds() -> None:
    from bedside.data.readers.sql import _text

    day = datetime.datetime(2024, 2, 29, 7, 5, tzinfo=datetime.UTC)
    assert _text(decimal.Decimal("1E+2")) == "100"
    assert _text(decimal.Decimal("3.50")) == "3.50"
    assert [_text(one) for one in (True, 3, 0.1, None)] == ["true", "3", "0.1", ""]
    assert _text(day) == "2024-02-29T07:05:00+00:00"
    assert _text(day.date()) == "2024-02-29"
    assert _text({"a": [1, "é"]}) == '{"a": [1, "é"]}'
    assert _text(memoryview(b"caf\xc3\xa9")) == "café"


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (None, "data.query must say what to read"),
        ("   ", "data.query must say what to read"),
        ("DELETE FROM notes", "begins with 'DELETE', and only a SELECT"),
        ("PRAGMA table_info(notes)", "begins with 'PRAGMA'"),
        ("SELECT 1; DROP TABLE notes", "more than one statement"),
        ("/* a */ SELECT 1 -- b\n; VACUUM", "more than one statement"),
        ("WITH gone AS (SELECT 1) DELETE FROM notes", "holds DELETE, and bedside only reads"),
        ("SELECT * INTO copy FROM notes", "holds INTO"),
        ("SELECT 1 /*! INTO OUTFILE 'x' */", "and bedside only reads"),
        ("SELECT note FROM nots", "notes.db refused data.query: no such table: nots;"),
        ("SELECT nott FROM notes", "no such column: nott;"),
        ("SELECT FROM notes", "syntax error;"),
        ("SELECT note FROM notes WHERE 0", "notes.db: data.query selects no row"),
    ],
)
def test_what_does_not_select_is_refused_in_one_sentence(query, said, notes, tmp_path) -> None:
    before = hashlib.sha256(notes.read_bytes()).hexdigest()
    with pytest.raises(DataError) as caught:
        table_of("sqlite:///notes.db", query, tmp_path)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert hashlib.sha256(notes.read_bytes()).hexdigest() == before


@pytest.mark.parametrize(
    "query",
    [
        "select id from notes",
        "  WITH a AS (SELECT id FROM notes) SELECT * FROM a ; ",
        "SELECT 'drop; delete' AS a, replace(note, 'a', 'b') AS updated_at FROM notes",
        'SELECT note AS "update" FROM notes -- delete; what is left',
    ],
)
def test_what_selects_is_run(query, notes, tmp_path) -> None:
    assert table_of("sqlite:///notes.db", query, tmp_path).frame.height == 4


def test_an_sqlite_file_is_opened_so_that_nothing_can_be_written(notes) -> None:
    from bedside.data.readers.sql import _read_only

    connection = _read_only(notes)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        connection.execute("DELETE FROM notes")
    connection.close()


def test_what_is_said_of_a_value_is_not_shown(tmp_path) -> None:
    connection = sqlite3.connect(tmp_path / "notes.db")
    connection.execute("CREATE TABLE notes (note TEXT)")
    connection.execute(f"INSERT INTO notes VALUES ('{PATIENT}')")
    connection.commit()
    connection.close()
    with pytest.raises(DataError) as caught:
        table_of("sqlite:///notes.db", "SELECT json_extract('{}', note) AS note FROM notes", tmp_path)
    assert PATIENT not in str(caught.value)
    assert "sqlite3.OperationalError" in str(caught.value)


def test_letters_in_another_encoding_do_not_end_the_reading(tmp_path) -> None:
    connection = sqlite3.connect(tmp_path / "notes.db")
    connection.execute("CREATE TABLE notes (note TEXT)")
    connection.execute("INSERT INTO notes VALUES (CAST(x'66fc72' AS TEXT))")
    connection.commit()
    connection.close()
    table = table_of("sqlite:///notes.db", "SELECT note FROM notes", tmp_path)
    assert table.frame["note"].to_list() == ["f\ufffdr"]
    assert "replacement character" in table.warnings[0]


@pytest.mark.parametrize(
    ("source", "kind", "said"),
    [
        ("sqlite://", DataError, "names no file"),
        ("sqlite:///absent.db", DataError, "absent.db does not exist"),
        ("sqlite:///text.db", DataError, "file is not a database"),
        ("oracl://user:geheim@host/db", DataError, "'oracl' is no database that SQLAlchemy knows"),
        ("postgresql+psycopg://user:geheim@host:port/db", DataError, "no database URL that can be read"),
        ("mysql+nothere://user:geheim@host/db", DataError, "'mysql+nothere' is no database"),
        ("mssql+pymssql://user:geheim@host/db", MissingExtra, "needs the Python package pymssql"),
        ("env:BEDSIDE_NOT_SET", DataError, "the environment variable BEDSIDE_NOT_SET is not set"),
    ],
)
def test_a_database_that_is_not_there_ends_in_one_sentence(source, kind, said, tmp_path) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(kind) as caught:
        table_of(source, "SELECT name FROM sqlite_master", tmp_path)
    assert said in str(caught.value)
    assert "geheim" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_server_that_does_not_answer(monkeypatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: whoever calls is refused
        port = taken.getsockname()[1]
        address = f"postgresql+psycopg://user:geheim@127.0.0.1:{port}/db?application_name=geheim"
        monkeypatch.setenv("NOTES_DB", address)
        for source in (address, "env:NOTES_DB"):
            with pytest.raises(DataError) as caught:
                table_of(source, "SELECT 1")
            assert f"postgresql+psycopg://user:***@127.0.0.1:{port}/db cannot be reached" in str(caught.value)
            assert "geheim" not in str(caught.value)


def test_without_sqlalchemy_one_line_says_how_to_install_it(notes) -> None:
    code = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from pathlib import Path\nfrom bedside.core.errors import MissingExtra\n"
        "from bedside.data.readers import read, files_of\nfrom bedside.protocol import DataSection\n"
        "section = DataSection(source='sqlite:///notes.db', query='SELECT 1', text='a', label='b')\n"
        "assert files_of('sqlite:///notes.db', Path())\n"
        "try:\n    read(section, Path())\nexcept MissingExtra as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=notes.parent, capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    assert done.stdout == "This needs sqlalchemy, which is not installed; run: pip install 'bedside[sql]'\n"


def test_a_query_needs_a_database(tmp_path) -> None:
    (tmp_path / "notes.csv").write_text("note,dx\na,b\n")
    with pytest.raises(DataError, match=r"data\.query is for a database"):
        table_of("notes.csv", "SELECT 1", tmp_path)


def test_a_database_named_as_a_file_is_told_how_to_name_it(notes, tmp_path) -> None:
    with pytest.raises(DataError, match=r"write sqlite:///notes\.db with a query"):
        table_of("notes.db", None, tmp_path)


def test_the_files_behind_a_database(notes, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("NOTES_DB", f"sqlite:///{notes}")
    assert files_of("sqlite:///notes.db", tmp_path) == {"table": notes}
    assert files_of("env:NOTES_DB", Path("elsewhere")) == {"table": notes}
    assert files_of("env:BEDSIDE_NOT_SET", tmp_path) == {}
    assert files_of("postgresql+psycopg://user@host/db", tmp_path) == {}
    log = tmp_path / "notes.db-wal"
    log.write_bytes(b"1")
    assert files_of("sqlite:///notes.db", tmp_path) == {"table": notes, "table-wal": log}


# --- PostgreSQL -----------------------------------------------------------------------------------------------------

Server = Callable[..., str]


def run_as_owner(words: list[str]) -> subprocess.CompletedProcess[str]:
    """A command of PostgreSQL, which refuses to run as root."""
    if os.geteuid() == 0:
        words = ["runuser", "-u", "postgres", "--", *words]
    return subprocess.run(words, capture_output=True, text=True, check=True, cwd="/", timeout=120)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A PostgreSQL of its own on a free loopback port, with a table of notes; the address of its owner."""
    programs = {name: shutil.which(name) or newest(name) for name in ("initdb", "pg_ctl")}
    if None in programs.values():
        pytest.skip("needs PostgreSQL (initdb, pg_ctl)")
    place = Path(tempfile.mkdtemp(prefix="bedside-pg-"))  # not below a folder that only root may enter
    if os.geteuid() == 0:
        shutil.chown(place, "postgres")
    password = place / "password"
    password.write_text(SECRET)
    password.chmod(0o644)
    initdb, pg_ctl = programs["initdb"], programs["pg_ctl"]
    try:
        run_as_owner(
            [initdb, "-D", f"{place}/data", "-U", "owner", "-A", "scram-sha-256", f"--pwfile={password}", "-N"]
        )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        options = f"-c port={port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={place} -c fsync=off"
        run_as_owner([pg_ctl, "-D", f"{place}/data", "-l", f"{place}/log", "-o", options, "-w", "start"])
        try:
            address = f"127.0.0.1:{port}/postgres"
            fill(address)
            yield address
        finally:
            run_as_owner([pg_ctl, "-D", f"{place}/data", "-m", "immediate", "stop"])
    finally:
        shutil.rmtree(place, ignore_errors=True)


def newest(name: str) -> str | None:
    """A program where Debian puts it."""
    return next((str(path) for path in sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)), None)


def fill(address: str) -> None:
    import psycopg

    with psycopg.connect(f"postgresql://owner@{address}", password=SECRET) as connection:
        connection.execute(
            "CREATE TABLE notes (id serial, note text, dx text, at timestamptz, day date, dose numeric, ok boolean, "
            "more jsonb, tags text[])"
        )
        connection.execute(
            "INSERT INTO notes (note, dx, at, day, dose, ok, more, tags) SELECT 'note 100% :x ' || n, "
            "CASE WHEN n % 2 = 0 THEN 'Gout' END, '2024-02-29 07:05+00', '2024-02-29', 2.50, true, '{\"a\": 1}', "
            "ARRAY['x', 'y'] FROM generate_series(1, 4500) AS n"
        )


def with_password(address: str) -> str:
    return f"postgresql+psycopg://owner:{SECRET.replace('@', '%40').replace('/', '%2F')}@{address}"


def test_postgresql_is_read_in_parts_and_as_text(server, monkeypatch) -> None:
    monkeypatch.setenv("NOTES_DB", with_password(server))
    table = table_of("env:NOTES_DB", "SELECT * FROM notes WHERE note LIKE 'note 100% :x%' ORDER BY id")
    assert table.frame.height == 4500
    cells = ("1", "note 100% :x 1", "", "2024-02-29T07:05:00+00:00", "2024-02-29", "2.50", "true", '{"a": 1}')
    assert table.frame.row(0)[:3] == cells[:3]
    assert table.frame.row(0)[4:] == (*cells[4:], '["x", "y"]')
    assert table.frame["at"][0].startswith("2024-02-29T")
    assert table.file == f"postgresql+psycopg://owner:***@{server}"
    assert table.warnings == ()
    assert "read it anew with bedside prepare --again" in table.observations[1]


def test_a_password_in_the_protocol_is_warned_of_and_never_shown(server) -> None:
    told = Told()
    section = DataSection(
        source=with_password(server), query="SELECT note, dx FROM notes LIMIT 3", text="note", label="dx"
    )
    table = read(section, Path(), told)
    assert 'write source = "env:NOTES_DB"' in table.warnings[0]
    everything = " ".join([*told.lines, *table.observations, *table.warnings, table.file, str(table.seen)])
    assert SECRET not in everything
    assert "s3cr" not in everything


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("SELECT * FROM nots", 'relation "nots" does not exist'),
        ("SELECT nott FROM notes", 'column "nott" does not exist'),
        ("SELECT setval('notes_id_seq', 900)", "read-only transaction"),
        ("SELECT (note || 'Mustermann')::int FROM notes", "psycopg.InvalidTextRepresentation"),
    ],
)
def test_what_postgresql_refuses_is_one_sentence_without_a_cell(query, said, server) -> None:
    with pytest.raises(DataError) as caught:
        table_of(with_password(server), query)
    assert said in str(caught.value)
    assert "Mustermann" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_wrong_password(server) -> None:
    with pytest.raises(BedsideError) as caught:
        table_of(f"postgresql+psycopg://owner:falsch@{server}", "SELECT 1")
    assert "password authentication failed" in str(caught.value)
    assert "falsch" not in str(caught.value)
