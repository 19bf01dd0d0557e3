"""Fixtures: one PostgreSQL for the whole run, poolers as each test asks for them."""

import os
import resource
import subprocess
import sys

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from harness.certs import Certs  # noqa: E402
from harness.names import NameServer  # noqa: E402
from harness.netns import Network, Unavailable  # noqa: E402
from harness.pg import Postgres  # noqa: E402
from harness.pooler import PROGRAM, Pooler  # noqa: E402
from harness.replica import Replicas  # noqa: E402
from harness.storm import Storm, build  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="sizes and times of the full test: 1 GB instead of 200 MB")


@pytest.fixture(scope="session")
def is_long(request):
    return request.config.getoption("--long")


@pytest.fixture(scope="session", autouse=True)
def limits():
    """A thousand clients need their descriptors, in pgbench as in the pooler."""
    if not os.access(PROGRAM, os.X_OK):
        pytest.exit(f"no program to test: {PROGRAM}", returncode=2)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    os.umask(0o022)


@pytest.fixture(scope="session")
def cluster(limits):
    """Whoever runs the tests as root without test/run still gets the account."""
    if os.getuid() == 0:
        name = os.environ.get("PGSLUICE_TEST_USER", "pgsluice-test")
        if subprocess.run(["id", name], capture_output=True).returncode != 0:
            subprocess.run(["useradd", "--system", "--user-group", "--no-create-home", "--shell",
                            "/usr/sbin/nologin", name], check=True)
    pg = Postgres()
    yield pg
    pg.close()


@pytest.fixture(scope="session")
def certs(cluster):
    """The cluster has made the account that the files belong to."""
    certs = Certs()
    yield certs
    certs.close()


@pytest.fixture(scope="session")
def storm(certs, tmp_path_factory):
    """storm(port): Storm(...) with TLS."""
    binary = build(tmp_path_factory.mktemp("storm"))
    return lambda port: Storm(binary, port, certs.ca)


@pytest.fixture(scope="session")
def tls_cluster(certs):
    """Another server, with TLS: the first one has none, so that the other tests measure what they mean."""
    pg = Postgres(
        settings=["ssl = on", f"ssl_cert_file = '{certs.server.cert}'", f"ssl_key_file = '{certs.server.key}'",
                  f"ssl_ca_file = '{certs.ca.cert}'"],
        hba=["hostnossl all tls_only,cert_user 127.0.0.1/32 reject",
             "hostssl all plain_only 127.0.0.1/32 reject",
             "hostssl all cert_user 127.0.0.1/32 cert"])
    pg.make_role("tls_only", more="LOGIN SUPERUSER")
    pg.make_role("plain_only")
    pg.make_role("cert_user", more="LOGIN SUPERUSER")
    yield pg
    pg.close()


@pytest.fixture
def tls_pg(tls_cluster):
    tls_cluster.clear()
    return tls_cluster


@pytest.fixture
def pg(cluster):
    """The server, running whatever the last test did to it."""
    if cluster.process is None or cluster.process.poll() is not None:
        cluster.start()
    cluster.thaw()
    cluster.wait_ready()
    cluster.clear()
    return cluster


@pytest.fixture(scope="session")
def replica_files(cluster):
    """The cluster has made the account that the servers run as."""
    replicas = Replicas()
    yield replicas
    replicas.close()


@pytest.fixture
def replicas(replica_files):
    """A primary and its standby, as new for each test."""
    replica_files.renew()
    yield replica_files
    replica_files.stop()


@pytest.fixture
def names(tmp_path):
    """A name server, and in `conf` a resolv.conf that leads to it."""
    if os.getuid() != 0:
        pytest.skip("only root may serve names on port 53")
    server = NameServer()
    server.conf = server.write_conf(tmp_path / "resolv.conf")
    yield server
    server.close()


@pytest.fixture
def network():
    """Two machines and a wire."""
    try:
        network = Network()
    except (Unavailable, OSError) as error:
        pytest.skip(f"no network namespaces: {error}")
    yield network
    network.close()


@pytest.fixture
def make_pooler(pg):
    """make_pooler(...) as Pooler(pg, ...); all are stopped, and held to a clean end, after the test."""
    made = []

    def make(**kwargs):
        # In the list before it starts: one that fails to start is cleaned up too.
        pooler = Pooler(pg, start=False, **{k: v for k, v in kwargs.items() if k != "start"})
        made.append(pooler)
        if kwargs.get("start", True):
            pooler.start()
        return pooler

    yield make
    errors = []
    for pooler in made:
        try:
            pooler.close()
        except AssertionError as error:
            errors.append(str(error))
    assert not errors, "\n".join(errors)


@pytest.fixture
def pooler(make_pooler):
    """The common one: transaction pooling, database app, trust."""
    return make_pooler()
