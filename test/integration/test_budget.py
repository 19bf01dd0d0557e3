"""What a query and a login cost, counted, beside test/bench/budget.json: nobody makes the path longer unnoticed."""

import os
import sys
import warnings

import pytest

from harness.pooler import PROGRAM, has_sanitizers, is_pgbouncer

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "bench"))

from cost import budget, callgrind, counting, strace  # noqa: E402
from cost.cases import CASES  # noqa: E402

if has_sanitizers():
    pytest.skip("sanitizers add instructions and system calls of their own", allow_module_level=True)
if is_pgbouncer():
    pytest.skip("the budget is pgsluice's", allow_module_level=True)

RECORDED = budget.load()
CONDITIONS = budget.conditions(PROGRAM)
WHAT_TO_DO = "CONTRIBUTING.md, Budgets, says what to do about it"
HOT = 10

each_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def hot_list(functions):
    return "\n".join(f"{own:12,.1f} {name}" for name, own in list(functions.items())[:HOT])


@pytest.mark.skipif(CONDITIONS != RECORDED["conditions"],
                    reason=f"instructions were recorded with {RECORDED['conditions']}, this is {CONDITIONS}")
@each_case
def test_no_more_instructions_than_the_budget_has(cluster, case):
    functions = counting.count(PROGRAM, callgrind, case)
    found = budget.instructions(functions)
    recorded = RECORDED["cases"][case.name]["instructions"]
    said = f"{case.name}: {found:,} instructions, recorded {recorded:,}; {WHAT_TO_DO}"
    assert not budget.is_over(found, recorded), f"{said}\n{hot_list(functions)}"
    if budget.is_well_under(found, recorded):
        warnings.warn(said)


@each_case
def test_system_calls_are_those_of_the_budget(cluster, case):
    found = counting.count(PROGRAM, strace, case)
    assert found == RECORDED["cases"][case.name]["calls"], WHAT_TO_DO
