"""Logs: one JSON line an event on standard error. Nothing that decrypts, and no document content, is ever logged."""

from __future__ import annotations

import logging
import sys

import structlog


def configure() -> None:
    """Send docex's events to standard error as JSON, and the libraries' warnings with them."""
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="%(levelname)s %(name)s %(message)s")
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
