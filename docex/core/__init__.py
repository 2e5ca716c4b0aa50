"""The pure core of docex: formats and their cryptography, no I/O beyond streams callers pass."""
