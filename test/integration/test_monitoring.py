"""etc/prometheus and etc/grafana: that they are valid, and that what they ask for is what a pooler tells."""

import concurrent.futures
import json
import math
import os
import re
import time

import pytest
import yaml

from harness.http import Http
from harness.metrics import assert_promtool_is_content, promtool, samples
from harness.pooler import Pooler, is_pgbouncer
from harness.prometheus import Prometheus
from harness.system import eventually, free_port
from harness.wire import query

if is_pgbouncer():
    pytest.skip("PgBouncer has no metrics", allow_module_level=True)

HERE = os.path.dirname(os.path.abspath(__file__))
ETC = os.path.normpath(os.path.join(HERE, "../../etc"))
CONFIG = os.path.join(ETC, "prometheus/prometheus.yml")
RULES = os.path.join(ETC, "prometheus/pgsluice.rules.yml")
RULE_TESTS = os.path.join(HERE, "data/pgsluice.rules.test.yml")
DASHBOARD = os.path.join(ETC, "grafana/pgsluice.json")

# Of pgbouncer_exporter 0.12: type and labels, and the metrics that have them.
EXPORTER = {
    ("gauge", ""): """
        pgbouncer_up pgbouncer_databases pgbouncer_users pgbouncer_pools
        pgbouncer_free_clients pgbouncer_used_clients pgbouncer_login_clients
        pgbouncer_free_servers pgbouncer_used_servers
        pgbouncer_cached_dns_names pgbouncer_cached_dns_zones pgbouncer_in_flight_dns_queries
        pgbouncer_config_max_client_connections pgbouncer_config_max_user_connections
        pgbouncer_process_open_fds pgbouncer_process_max_fds pgbouncer_process_virtual_memory_bytes
        pgbouncer_process_resident_memory_bytes pgbouncer_process_start_time_seconds""",
    ("counter", ""): "pgbouncer_process_cpu_seconds_total",
    ("gauge", "version"): "pgbouncer_version_info",
    ("gauge", "database force_user host name pool_mode port"): """
        pgbouncer_databases_pool_size pgbouncer_databases_reserve_pool pgbouncer_databases_reserve_pool_size
        pgbouncer_databases_max_connections pgbouncer_databases_current_connections
        pgbouncer_databases_paused pgbouncer_databases_disabled""",
    ("gauge", "database user"): """
        pgbouncer_pools_client_active_connections pgbouncer_pools_client_waiting_connections
        pgbouncer_pools_client_active_cancel_connections pgbouncer_pools_client_waiting_cancel_connections
        pgbouncer_pools_server_active_connections pgbouncer_pools_server_active_cancel_connections
        pgbouncer_pools_server_being_canceled_connections pgbouncer_pools_server_idle_connections
        pgbouncer_pools_server_used_connections pgbouncer_pools_server_testing_connections
        pgbouncer_pools_server_login_connections pgbouncer_pools_client_maxwait_seconds""",
    ("counter", "database"): """
        pgbouncer_stats_queries_pooled_total pgbouncer_stats_queries_duration_seconds_total
        pgbouncer_stats_received_bytes_total pgbouncer_stats_sent_bytes_total
        pgbouncer_stats_client_wait_seconds_total pgbouncer_stats_sql_transactions_pooled_total
        pgbouncer_stats_server_in_transaction_seconds_total pgbouncer_stats_client_parses_total
        pgbouncer_stats_server_parses_total pgbouncer_stats_binds_total pgbouncer_stats_server_assignments_total""",
}


def read(path):
    with open(path) as f:
        return f.read()


@pytest.fixture(scope="module")
def pooler(cluster):
    """Its second database is refused by the server."""
    port = free_port()
    pooler = Pooler(cluster, start=False, databases={"app": {}, "wrong": {"dbname": "nowhere"}},
                    http_listen_addr="127.0.0.1", http_port=port, default_pool_size=2, stats_period=1,
                    capacity_check_interval=1)
    pooler.http_port = port
    pooler.script = pooler.write_file("script.sql", "SELECT pg_sleep(0.001);\n")
    try:
        yield pooler.start()
    finally:
        pooler.close()


def metrics(pooler):
    with Http(pooler.http_port) as web:
        return web.text("/metrics")


def load(pooler, transactions):
    """Six times as many, by more clients than the pool has servers."""
    done = pooler.pg.pgbench("-n", "-M", "prepared", "-c", "6", "-t", str(transactions), "-f", pooler.script,
                             port=pooler.port)
    assert done.returncode == 0, done.stderr


def do_all_that_is_counted(pooler):
    pooler.admin("RECONNECT")
    assert pooler.attempt(user="nobody").error is not None
    assert pooler.attempt(database="wrong").error is not None
    with pooler.wire() as w:
        w.send_raw(query("SELECT pg_sleep(0.01)") + query("SELECT 1"))
        assert w.result().error is None and w.result().error is None
    load(pooler, 130)


# The metrics under load

def assert_metrics_are_sound(text):
    assert_promtool_is_content(text)
    found = samples(text)
    for name in re.findall(r"^# TYPE (\S+) histogram$", text, re.M):
        below = {}
        for labels, value in found[name + "_bucket"].items():
            below.setdefault(tuple(pair for pair in labels if pair[0] != "le"), []).append(
                (float(dict(labels)["le"]), value))
        for labels, buckets in below.items():
            assert [le for le, _ in buckets] == sorted(le for le, _ in buckets)
            assert [n for _, n in buckets] == sorted(n for _, n in buckets), (name, labels)
            assert buckets[-1] == (math.inf, found[name + "_count"][labels])


def counters(text):
    """{(name, labels): value} of all that may only rise."""
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    return {(name, labels): value for name, values in samples(text).items() for labels, value in values.items()
            if types.get(name) == "counter" or types.get(re.sub("_(bucket|sum|count)$", "", name)) == "histogram"}


def test_histograms_add_up_and_counters_never_fall_while_the_periods_of_the_statistics_turn(pooler):
    turns = pooler.log().count("LOG stats: ")
    seen = [metrics(pooler)]
    do_all_that_is_counted(pooler)
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        while pooler.log().count("LOG stats: ") < turns + 3:
            working = executor.submit(load, pooler, 20)
            while not working.done():
                seen.append(metrics(pooler))
                time.sleep(0.1)
            working.result()
    assert_metrics_are_sound(seen[-1])
    told = [counters(text) for text in seen]
    for before, after in zip(told, told[1:]):
        assert [(key, value, after.get(key)) for key, value in before.items() if after.get(key, -1) < value] == []
    name = ("pgsluice_query_seconds_count", (("database", "app"), ("user", "app")))
    assert told[-1][name] - told[0].get(name, 0) > 780


def test_metrics_have_the_names_types_and_labels_of_pgbouncer_exporter(pooler):
    text = metrics(pooler)
    found = {}
    for name, values in samples(text).items():
        found[name] = {" ".join(name for name, _ in labels) for labels in values}
    types = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M))
    wrong = [(name, types.get(name), found.get(name)) for (kind, labels), names in EXPORTER.items()
             for name in names.split() if (types.get(name), found.get(name)) != (kind, {labels})]
    assert wrong == []


# The files by themselves

def alerts():
    return [rule for group in yaml.safe_load(read(RULES))["groups"] for rule in group["rules"] if "alert" in rule]


def records():
    return [rule for group in yaml.safe_load(read(RULES))["groups"] for rule in group["rules"] if "record" in rule]


def test_promtool_takes_the_example_and_the_rules():
    for what, path in (("config", CONFIG), ("rules", RULES)):
        checked = promtool("check", what, path)
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_should_and_only_then():
    """The file that promtool is given says what should be."""
    done = promtool("test", "rules", RULE_TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("alert", [rule["alert"] for rule in alerts()])
def test_each_alert_is_tested_for_firing(alert):
    assert f'ALERTS{{alertname="{alert}", alertstate="firing"' in read(RULE_TESTS)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_says_how_bad_it_is_where_it_is_and_what_to_look_at(rule):
    assert rule["labels"]["severity"] in ("warning", "critical")
    text = rule["annotations"]["description"]
    assert "{{ $labels.instance }}" in text
    assert re.search(r"SHOW [A-Z_]+", text)


def panels():
    return [panel for panel in json.loads(read(DASHBOARD))["panels"] if panel["type"] != "row"]


def test_a_dashboard_shows_what_it_is_asked_for():
    """One data source and the variables for all; each panel explains itself."""
    dashboard = json.loads(read(DASHBOARD))
    assert [v["name"] for v in dashboard["templating"]["list"]] == ["datasource", "instance", "database"]
    assert dashboard["schemaVersion"] >= 36 and dashboard["id"] is None
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in panels():
        assert panel["title"] and panel["description"].endswith(".") and panel["fieldConfig"]["defaults"]["unit"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'instance=~"$instance"' in target["expr"]


def test_panels_lie_beside_each_other():
    taken = set()
    for panel in json.loads(read(DASHBOARD))["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


# The files with a pooler

@pytest.fixture(scope="module")
def prometheus(pooler):
    """As the example has it, but more often, and with something to count between two looks."""
    config = yaml.safe_load(read(CONFIG))
    config["global"] = {"scrape_interval": "500ms", "evaluation_interval": "500ms"}
    [job] = config["scrape_configs"]
    assert job["static_configs"][0]["targets"] == ["127.0.0.1:9127"]
    job["static_configs"][0]["targets"] = [f"127.0.0.1:{pooler.http_port}"]
    do_all_that_is_counted(pooler)
    prometheus = Prometheus(config, [RULES])
    try:
        eventually(lambda: prometheus.query('pgsluice_query_seconds_count{user="app"}'), "a first look")
        do_all_that_is_counted(pooler)
        yield prometheus
    finally:
        prometheus.close()


def numbers(prometheus, expression):
    return [(labels, value) for labels, value in prometheus.query(expression) if math.isfinite(value)]


def assert_all_have_numbers(prometheus, expressions):
    assert expressions

    def without():
        return [e for e in expressions if not numbers(prometheus, e)]

    try:
        eventually(lambda: not without(), "all expressions have numbers", every=0.5)
    except AssertionError:
        assert without() == []


def filled_in(expression):
    for name, value in (("$__rate_interval", "1m"), ("$instance", ".*"), ("$database", ".*")):
        expression = expression.replace(name, value)
    assert "$" not in expression
    return expression


def expand(name, matchers):
    """One selector for each word of each (a|b|c)."""
    found = [[]]
    for label, operator, value in re.findall(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"', matchers):
        words = value.split("|") if operator == "=~" else [value]
        found = [[*rest, f'{label}{operator}"{word}"'] for rest in found for word in words]
    return [f"{name}{{{','.join(rest)}}}" for rest in found]


def selectors(expression):
    """What is picked out of all series, each apart."""
    bare = re.sub(r"\[[^]]*\]", "", expression)
    bare = re.sub(r"\b(by|without|on|ignoring)\s*\([^)]*\)", "", bare)
    found = re.findall(r"(?<![\w:.])([a-zA-Z_:][\w:]*)(?![\w:])(?:\s*\{([^}]*)\})?(?!\s*\()", bare)
    return [one for name, matchers in found if name not in ("and", "or", "unless", "offset")
            for one in expand(name, matchers)]


def test_selectors_are_found():
    expression = 'sum by (a) (rate(x_total{r=~"A|B", s="c"}[5m])) > 2 * avg_over_time(y:z[1h] offset 10m) and w'
    assert selectors(expression) == ['x_total{r=~"A",s="c"}', 'x_total{r=~"B",s="c"}', "y:z{}", "w{}"]


@pytest.mark.parametrize("rule", alerts() + records(), ids=lambda rule: rule.get("alert") or rule["record"])
def test_what_a_rule_asks_for_is_there(prometheus, rule):
    assert_all_have_numbers(prometheus, selectors(rule["expr"]))


def test_rules_work_and_their_records_have_values(prometheus):
    assert_all_have_numbers(prometheus, [rule["record"] for rule in records()])
    rules = [rule for group in prometheus.ask("rules")["groups"] for rule in group["rules"]]
    assert len(rules) == len(alerts()) + len(records())
    assert [rule for rule in rules if rule["health"] != "ok"] == []


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_an_alert_names_what_it_is_about_and_no_label_that_it_has_not(prometheus, rule):
    """What follows the first series is compared with it (`and`, `unless`), and adds no labels."""
    labels = set(numbers(prometheus, selectors(rule["expr"])[0])[0][0])
    named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["description"]))
    summary = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
    about = labels & {"instance", "name", "user", "address", "host", "reason"}
    assert about | ({"database"} if "user" in labels else set()) <= named
    assert named | summary <= labels


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_has_something_to_show(prometheus, panel):
    expressions = [filled_in(target["expr"]) for target in panel["targets"]]
    assert_all_have_numbers(prometheus, expressions)
    for target, expression in zip(panel["targets"], expressions):
        labels = {label for found, _ in numbers(prometheus, expression) for label in found}
        assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels


def test_the_variables_have_values(prometheus):
    dashboard = json.loads(read(DASHBOARD))
    for variable in dashboard["templating"]["list"][1:]:
        expression, label = re.fullmatch(r"label_values\((.*), (\w+)\)", variable["query"]["query"]).groups()
        assert all(label in labels for labels, _ in numbers(prometheus, filled_in(expression)))
    for annotation in dashboard["annotations"]["list"]:
        prometheus.query(filled_in(annotation["expr"]))


def test_what_texts_tell_to_ask_the_console_it_answers(pooler):
    texts = [rule["annotations"]["description"] for rule in alerts()] + [panel["description"] for panel in panels()]
    commands = {command for text in texts for command in re.findall(r"SHOW [A-Z_]+", text)}
    assert len(commands) > 5
    for command in sorted(commands):
        assert pooler.admin_result(command).error is None, command


# What is told of a pooler that is not as it should be

def value(pooler, name, **labels):
    return samples(metrics(pooler))[name][tuple(sorted(labels.items()))]


def test_a_pause_and_a_drain_are_told(make_pooler):
    pooler = make_pooler(http_listen_addr="127.0.0.1", http_port=free_port())
    pooler.http_port = pooler.settings["http_port"]
    names = ("pgsluice_ready", "pgsluice_paused", "pgsluice_suspended", "pgsluice_draining")

    def told():
        return [value(pooler, name) for name in names]

    assert told() == [1, 0, 0, 0]
    assert pooler.admin_result("PAUSE").error is None
    assert told() == [0, 1, 0, 0]
    assert pooler.admin_result("RESUME").error is None
    with pooler.wire(user="admin", dbname="pgbouncer") as admin:  # it ends when who gave it leaves
        assert admin.query("SUSPEND").error is None
        assert told() == [0, 0, 1, 0]
        assert admin.query("RESUME").error is None
    with pooler.wire() as w:
        w.query("BEGIN")
        assert pooler.admin_result("SHUTDOWN DRAIN").error is None
        assert told() == [0, 0, 0, 1]
        w.query("COMMIT")


def test_a_host_is_up_until_its_breaker_opens(make_pooler):
    pooler = make_pooler(databases={"app": {"host": "127.0.0.1", "port": 1}}, http_listen_addr="127.0.0.1",
                         http_port=free_port(), breaker_failures=1000000, query_wait_timeout=1)
    pooler.http_port = pooler.settings["http_port"]

    def state_and_value():
        """Of one time: nothing has changed between the two looks at the state."""
        [before] = pooler.admin("SHOW HOSTS")
        up = value(pooler, "pgsluice_host_up", address="127.0.0.1:1")
        [after] = pooler.admin("SHOW HOSTS")
        return before["state"] == after["state"] and (after["state"], up)

    assert state_and_value() == ("up", 1)
    assert pooler.attempt().error is not None
    eventually(lambda: state_and_value() == ("failing", 1), "the host fails")
    pooler.reload(breaker_failures=1)
    eventually(lambda: pooler.attempt().error is not None and state_and_value() == ("down", 0), "the breaker opens")


def test_capacity_is_told_as_the_console_tells_it(pooler):
    assert pooler.attempt().error is None
    eventually(lambda: pooler.admin("SHOW CAPACITY")[0]["checked_at"], "the server has answered")
    [row] = pooler.admin("SHOW CAPACITY")
    assert row["state"] == "ok" and 0 < int(row["percent"]) < 85
    for name, expected in (("ratio", int(row["percent"]) / 100), ("over", 0),
                           ("max_connections", int(row["max_connections"])),
                           ("reserved_connections", int(row["reserved"])),
                           ("needed_connections", int(row["needed"]))):
        assert value(pooler, f"pgsluice_capacity_{name}", host=row["host"]) == expected


def test_pools_that_may_ask_for_more_than_there_is_are_told(make_pooler):
    pooler = make_pooler(http_listen_addr="127.0.0.1", http_port=free_port(), default_pool_size=5000,
                         capacity_check_interval=1)
    pooler.http_port = pooler.settings["http_port"]
    assert pooler.attempt().error is None

    def told():
        [row] = pooler.admin("SHOW CAPACITY")
        return row["state"] == "over" and [value(pooler, f"pgsluice_capacity_{name}", host=row["host"])
                                           for name in ("over", "ratio")]

    over, ratio = eventually(told, "the check is over")
    assert over == 1 and ratio > 1
