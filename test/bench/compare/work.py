"""What a line of the table is made of: a work that contenders are put to in turn, and the figures it has."""

import collections
import statistics

# name: for --rows. contenders: who does it, ours first. session(bench): a context whose value measures one contender
# once, as {figure: value}. figures: what of that is told.
Work = collections.namedtuple("Work", "name contenders session figures")

# what: for the reader. at_most: {contender: ratio}, and LIMIT: the figure itself.
Figure = collections.namedtuple("Figure", "key what unit at_most")

LIMIT = "limit"


def measure(bench, work):
    """{figure: {contender: a value for each round}}; who begins changes from round to round."""
    values = {f.key: {who: [] for who in work.contenders} for f in work.figures}
    with work.session(bench) as once:
        for i in range(bench.rounds):
            first = i % len(work.contenders)
            for who in work.contenders[first:] + work.contenders[:first]:
                for key, value in once(who).items():
                    values[key][who].append(value)
    return values


def is_met(value, at_most):
    """Rounded as it is printed."""
    return None if at_most is None else round(value, 2) <= at_most


def ratio(ours, theirs):
    """The median of the rounds' ratios: what slows the machine down in one round slows both."""
    pairs = [a / b for a, b in zip(ours, theirs) if b]
    return statistics.median(pairs) if pairs else None


def comparison(who, ours, theirs, at_most):
    """How we do beside another."""
    r = ratio(ours, theirs)
    return {"to": who, "median": statistics.median(theirs), "ratio": r, "at_most": at_most,
            "met": None if r is None else is_met(r, at_most)}


def outcome(work, figure, values):
    """A figure with all its comparisons, as it goes into the table and the JSON."""
    ours = values[work.contenders[0]]
    median = statistics.median(ours)
    limit = figure.at_most.get(LIMIT)
    return {
        "work": work.name, "figure": figure.key, "what": figure.what, "unit": figure.unit,
        "median": median, "limit": limit, "met": is_met(median, limit),
        "comparisons": [comparison(who, ours, values[who], figure.at_most.get(who)) for who in work.contenders[1:]],
        "rounds": values,
    }
