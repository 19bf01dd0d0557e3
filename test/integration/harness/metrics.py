"""What a pooler tells monitors, taken apart."""

from prometheus_client.parser import text_string_to_metric_families

from .system import run


def samples(text):
    """{name: {labels as a sorted tuple: value}}"""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def of(metrics, name, /, **labels):
    return metrics[name][tuple(sorted(labels.items()))]


def promtool(*args, **kwargs):
    return run(["promtool", *args], timeout=60, **kwargs)


def assert_promtool_is_content(text):
    """With what /metrics has answered: no error, and nothing to remark."""
    checked = promtool("check", "metrics", input=text)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
