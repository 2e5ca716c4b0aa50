"""An index of the parts of paths: every three and every six characters that follow each other, in lower case (ASCII).

Three find short texts; six are rare enough that a longer text costs the same among a million paths as among a thousand.
A path is indexed once, with its first version, by the database itself: SQLite by a trigger, in a full-text table of the
parts' hexadecimal digits; PostgreSQL by a GIN index, which needs no extension.
"""

from __future__ import annotations

from sqlalchemy import ARRAY, ColumnElement, Text, cast, column, func, literal, literal_column, table
from sqlalchemy.orm import InstrumentedAttribute

SHORTEST = 3
_LONG = 6

TABLE = table("document_parts", column("rowid"))
"""Of SQLite: `rowid` is the number of a path's first version."""

_SQLITE = (
    """
    CREATE VIRTUAL TABLE document_parts
    USING fts5(parts, content = '', detail = none, columnsize = 0, tokenize = 'ascii')
    """,
    # As many zeros as there are parts; a trigger may have no recursive query to count.
    """
    CREATE TRIGGER documents_by_part AFTER INSERT ON documents WHEN new.version = 1 BEGIN
        INSERT INTO document_parts (rowid, parts) SELECT new.number, (
            SELECT group_concat(
                hex(substr(lower(new.path), key + 1, 3)) || ' ' ||
                hex(substr(lower(new.path), key + 1, 6)), ' '
            )
            FROM json_each(
                '[0' || replace(hex(zeroblob(max(length(new.path) - 3, 0))), '00', ',0') || ']'
            )
        );
    END
    """,
)
_POSTGRES = (
    """
    CREATE FUNCTION path_parts(path varchar) RETURNS text[] IMMUTABLE PARALLEL SAFE LANGUAGE sql AS $$
        SELECT array_agg(DISTINCT substr(lower(path COLLATE "C"), start, size))
        FROM generate_series(1, greatest(length(path) - 2, 1)) start,
            unnest(array[3, 6]) size
    $$
    """,
    "CREATE INDEX documents_by_part ON documents USING gin (path_parts(path)) WHERE version = 1",
)


def created(dialect: str) -> tuple[str, ...]:
    """The statements that make the index of a database that has its tables."""
    return _SQLITE if dialect == "sqlite" else _POSTGRES


def dropped(dialect: str) -> str:
    """The statement that removes what is left of it when the documents are gone."""
    return "DROP TABLE document_parts" if dialect == "sqlite" else "DROP FUNCTION path_parts"


def mapped(name: str | None, kind: str, _parents: object) -> bool:
    """Whether the models say what has this name: Alembic need not compare the rest (its ``include_name``)."""
    return name is None or not name.startswith("document_parts" if kind == "table" else "documents_by_part")


def lowered(text: str) -> str:
    """As both databases do in any locale: ASCII letters only."""
    return text.encode().lower().decode()


def of(wanted: str) -> list[str]:
    """Parts that every path has that holds a text of `SHORTEST` characters or more: few, and all of it together."""
    size = _LONG if len(wanted) >= _LONG else SHORTEST
    starts = sorted({*range(0, len(wanted) - size + 1, size), len(wanted) - size})
    return list(dict.fromkeys(wanted[start : start + size] for start in starts))


def match(wanted: list[str]) -> ColumnElement[bool]:
    """SQLite: the row of `TABLE` has all these parts."""
    words = " ".join(each.encode().hex().upper() for each in wanted)
    return literal_column(TABLE.name).op("MATCH", is_comparison=True)(words)


def contains(path: InstrumentedAttribute[str], wanted: list[str]) -> ColumnElement[bool]:
    """PostgreSQL: a path has all these parts."""
    return func.path_parts(path).op("@>", is_comparison=True)(cast(literal(wanted, ARRAY(Text)), ARRAY(Text)))
