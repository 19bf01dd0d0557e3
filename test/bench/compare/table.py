"""The outcome for the reader: a line for each comparison, ours beside another's."""

HEAD = f"{'work':48} {'unit':>10} {'pgsluice':>10}   {'beside':>16} {'':>10} {'ratio':>6} {'at most':>8}"

WORDS = {True: "yes", False: "NO", None: ""}


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def line(what, unit, ours, beside="", theirs="", ratio="", at_most="", met=None):
    return f"{what:48} {unit:>10} {ours:>10}   {beside:>16} {theirs:>10} {ratio:>6} {at_most:>8}  {WORDS[met]}".rstrip()


def lines(outcome):
    """The figure itself stands in the first of its lines alone."""
    head = (outcome["what"], outcome["unit"], number(outcome["median"]))
    if outcome["limit"] is not None:
        yield line(*head, at_most=number(outcome["limit"]), met=outcome["met"])
        head = ("", "", "")
    for c in outcome["comparisons"]:
        yield line(*head, c["to"], number(c["median"]), "" if c["ratio"] is None else f"{c['ratio']:.2f}",
                   "" if c["at_most"] is None else f"{c['at_most']:.2f}", c["met"])
        head = ("", "", "")
    if head[0] and not outcome["comparisons"]:
        yield line(*head)
