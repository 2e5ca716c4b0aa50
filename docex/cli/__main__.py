"""``python -m docex.cli``."""

from docex.cli import main

main()
