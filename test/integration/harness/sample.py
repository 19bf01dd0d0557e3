"""
A plugin for tools under which a test takes ten times as long: of each test at most so many cases, spread over those
that it has. pytest -p harness.sample --cases N
"""

import itertools


def pytest_addoption(parser):
    parser.addoption("--cases", type=int, metavar="N", help="of each test N cases only")


def pytest_collection_modifyitems(config, items):
    most = config.getoption("--cases")
    if not most:
        return
    kept = set()
    for _, group in itertools.groupby(items, lambda item: (item.path, item.originalname)):
        cases = list(group)
        n = min(most, len(cases))
        kept.update(cases[i * len(cases) // n] for i in range(n))
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]
