"""docex: secure document exchange and notarisation."""

__version__ = "0.1.0"
