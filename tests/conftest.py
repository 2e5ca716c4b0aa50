"""The fixtures that every test may ask for; each starts what it names only when a test does."""

import os
import sys

import pytest
from hypothesis import HealthCheck, settings

# Modules behind those that they import: pytest can't rewrite the assertions of one that is imported already.
pytest_plugins = [
    "tests.fixtures.schedule",
    "tests.fixtures.anvil",
    "tests.fixtures.azurite",
    "tests.fixtures.stores",
    "tests.fixtures.transaction_stores",
    "tests.fixtures.postgres",
    "tests.fixtures.databases",
    "tests.fixtures.paper_nodes",
    "tests.fixtures.network",
    "tests.fixtures.tsa",
    "tests.fixtures.issuer",
]


if not os.environ.get("CI"):  # hypothesis sets no limits of time there: a busy machine is no fault anywhere
    settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")


def pytest_runtest_setup() -> None:
    """Python's own limit, as in a node: libraries that tests import raise it, and deep JSON would end the process."""
    sys.setrecursionlimit(1000)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Name a failure at once: a run that is ended from outside prints no summary."""
    if report.failed and not os.environ.get("PYTEST_XDIST_WORKER"):
        crash = getattr(report.longrepr, "reprcrash", None)
        print(f"\nFAILED at {report.when}: {report.nodeid}: {crash.message[:400] if crash else ''}", file=sys.stderr)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A skipped test is a failure where CI is set: there everything that a test needs has to be there."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    if os.environ.get("CI") and reporter is not None and reporter.stats.get("skipped"):
        reporter.write_line("skipped tests are failures here (CI is set); -rs names them", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
