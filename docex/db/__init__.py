"""The database: a node's state of record, over SQLAlchemy (SQLite or PostgreSQL)."""
