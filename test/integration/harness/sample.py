"""
A plugin for tools under which a test takes ten times as long: pytest -p harness.sample [--cases N] [--minutes M].
Of each test at most N cases, spread over those that it has; after M minutes the rest of the tests is skipped. Which
these are does not depend on where they stand: the tests are run in another order, the same each time.
"""

import itertools
import random
import time

import pytest

START = time.monotonic()


def pytest_addoption(parser):
    parser.addoption("--cases", type=int, metavar="N", help="of each test N cases only")
    parser.addoption("--minutes", type=float, metavar="M", help="skip what has not begun within M minutes")


def some_cases(items, most):
    kept = []
    for _, group in itertools.groupby(items, lambda item: (item.path, item.originalname)):
        cases = list(group)
        n = min(most, len(cases))
        kept += [cases[i * len(cases) // n] for i in range(n)]
    return kept


def pytest_collection_modifyitems(config, items):
    kept = some_cases(items, config.getoption("--cases") or len(items))
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    if config.getoption("--minutes"):
        random.Random(1).shuffle(kept)
    items[:] = kept


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    minutes = item.config.getoption("--minutes")
    if minutes and time.monotonic() > START + 60 * minutes:
        pytest.skip("the time is over")
