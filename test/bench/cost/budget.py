"""What each case may cost: budget.json, and how a count looks beside it."""

import json
import os
import platform
import re

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "budget.json")
SLACK = 0.05


def conditions(program):
    """What instructions hang on besides the source."""
    with open(program, "rb") as f:
        compilers = set(re.findall(rb"(GCC|clang version)(?:: \([^)]*\))? (\d+)\.", f.read()))
    return ", ".join([platform.machine(), *sorted(b" ".join(c).decode() for c in compilers)])


def load():
    with open(PATH) as f:
        return json.load(f)


def save(budget):
    """A line for each case, for whoever reads the difference."""
    cases = ",\n".join(f'  "{name}": {json.dumps(case)}' for name, case in budget["cases"].items())
    with open(PATH, "w") as f:
        f.write(f'{{\n "conditions": {json.dumps(budget["conditions"])},\n "cases": {{\n{cases}\n }}\n}}\n')


def instructions(functions):
    return round(sum(functions.values()))


def entry(functions, calls):
    return {"instructions": instructions(functions), "calls": dict(sorted(calls.items()))}


def is_over(instructions, recorded):
    return instructions > recorded * (1 + SLACK)


def is_well_under(instructions, recorded):
    return instructions < recorded * (1 - SLACK)
