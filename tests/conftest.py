"""The fixtures that every test may ask for; each starts what it names only when a test does."""

import sys

# Modules behind those that they import: pytest can't rewrite the assertions of one that is imported already.
pytest_plugins = [
    "tests.fixtures.anvil",
    "tests.fixtures.azurite",
    "tests.fixtures.stores",
    "tests.fixtures.transaction_stores",
    "tests.fixtures.postgres",
    "tests.fixtures.databases",
    "tests.fixtures.paper_nodes",
    "tests.fixtures.network",
]


def pytest_runtest_setup() -> None:
    """Python's own limit, as in a node: libraries that tests import raise it, and deep JSON would end the process."""
    sys.setrecursionlimit(1000)
