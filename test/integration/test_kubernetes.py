"""etc/kubernetes: there is no cluster here, so what the manifests say is compared, and their command is run."""

import configparser
import os
import shutil
import stat
import subprocess
import tempfile

import pytest
import yaml

from harness.pooler import is_pgbouncer, program_copy
from harness.system import as_account, give_away

if is_pgbouncer():
    pytest.skip("the manifests are for pgsluice", allow_module_level=True)

MANIFESTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../etc/kubernetes/pgsluice.yaml")


@pytest.fixture(scope="module")
def objects():
    with open(MANIFESTS) as f:
        return {(o["kind"], o["metadata"]["name"]): o for o in yaml.safe_load_all(f)}


@pytest.fixture(scope="module")
def workload(objects):
    return objects["StatefulSet", "pgsluice"]["spec"]


@pytest.fixture(scope="module")
def container(workload):
    [container] = workload["template"]["spec"]["containers"]
    return container


@pytest.fixture(scope="module")
def ini(objects):
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.read_string(objects["ConfigMap", "pgsluice"]["data"]["pgsluice.ini"])
    return parser


@pytest.fixture
def pod(cluster, objects, workload, container):
    """The files that the container finds, below a directory of this test."""
    root = tempfile.mkdtemp(prefix="pgsluice-pod-", dir="/tmp")
    os.chmod(root, 0o755)
    for mount in container["volumeMounts"]:
        directory = root + mount["mountPath"]
        os.makedirs(directory)
        texts, mode = files_of(objects, workload, mount["name"])
        for name, text in texts.items():
            with open(os.path.join(directory, name), "w") as f:
                f.write(text.replace("/etc/pgsluice/", f"{root}/etc/pgsluice/"))
            os.chmod(f.name, mode)
            give_away(f.name)
    yield root
    shutil.rmtree(root)


def files_of(objects, workload, volume):
    """What is in them, and their mode."""
    [source] = [v for v in workload["template"]["spec"]["volumes"] if v["name"] == volume]
    if "configMap" in source:
        return objects["ConfigMap", source["configMap"]["name"]]["data"], 0o644
    secret = source["secret"]
    return objects["Secret", secret["secretName"]]["stringData"], secret["defaultMode"]


def run_command(pod, container, name):
    """The container's command in a pod of this name; the program says what it was given, and checks it."""
    program = program_copy(pod, "real")
    shim = os.path.join(pod, "pgsluice")
    with open(shim, "w") as f:
        f.write(f'#!/bin/sh\necho "$@"\nexec {program} --check "$@"\n')
    os.chmod(shim, stat.S_IRWXU | stat.S_IROTH | stat.S_IXOTH | stat.S_IRGRP | stat.S_IXGRP)
    command = [part.replace("/etc/pgsluice/", f"{pod}/etc/pgsluice/") for part in container["command"]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=pod,
                          env={"PATH": f"{pod}:/usr/bin:/bin", "HOSTNAME": name}, **as_account())


def test_the_program_accepts_command_and_configuration(pod, container):
    done = run_command(pod, container, "pgsluice-0")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    assert done.stdout.endswith("pgsluice.ini: ok\n"), done.stdout


def test_what_is_wrong_would_be_noticed(pod, container):
    file = f"{pod}/etc/pgsluice/config/pgsluice.ini"
    with open(file, "a") as f:
        f.write("no_such_setting = 1\n")
    assert run_command(pod, container, "pgsluice-0").returncode != 0
    os.remove(file)
    assert run_command(pod, container, "pgsluice-0").returncode != 0


def test_each_pod_is_the_peer_that_the_others_know(pod, workload, container, ini):
    names = [f"pgsluice-{ordinal}" for ordinal in range(workload["replicas"])]
    known = {}
    for name in names:
        [assignment] = [word for word in run_command(pod, container, name).stdout.split() if "peer_id=" in word]
        known[assignment.partition("=")[2]] = f"host={name}.{workload['serviceName']} port=6432"
    assert len(known) == len(names) > 1
    assert dict(ini["peers"]) == known


def test_the_pod_lives_longer_than_a_drain(workload, ini):
    settings = {name: int(ini["pgsluice"][name]) for name in ("shutdown_delay", "shutdown_pace", "shutdown_deadline")}
    assert ini["pgsluice"]["shutdown_mode"] == "drain"
    assert settings["shutdown_delay"] + settings["shutdown_pace"] < settings["shutdown_deadline"]
    assert settings["shutdown_deadline"] < workload["template"]["spec"]["terminationGracePeriodSeconds"]


def test_labels_and_names_agree(objects, workload):
    labels = workload["template"]["metadata"]["labels"]
    selectors = [workload["selector"]["matchLabels"],
                 objects["PodDisruptionBudget", "pgsluice"]["spec"]["selector"]["matchLabels"],
                 *(o["spec"]["selector"] for (kind, _), o in objects.items() if kind == "Service")]
    assert len(selectors) == 4 and all(s.items() <= labels.items() for s in selectors)
    mounts = {m["name"] for c in workload["template"]["spec"]["containers"] for m in c["volumeMounts"]}
    assert mounts == {v["name"] for v in workload["template"]["spec"]["volumes"]}
    peers = objects["Service", workload["serviceName"]]["spec"]
    # Without an address of its own each pod has a name, and one that drains keeps it.
    assert peers["clusterIP"] == "None" and peers["publishNotReadyAddresses"] is True


def test_ports_agree(objects, container, ini):
    port, http = container["ports"]
    assert str(port["containerPort"]) == ini["pgsluice"]["listen_port"] == "6432"
    assert str(http["containerPort"]) == ini["pgsluice"]["http_port"]
    for (kind, _), service in objects.items():
        if kind == "Service":
            assert [p["targetPort"] for p in service["spec"]["ports"]] == [port["name"]]
    # Nothing translates the ports of a headless service.
    [peers] = objects["Service", "pgsluice-peers"]["spec"]["ports"]
    assert peers["port"] == port["containerPort"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] == http["name"]
