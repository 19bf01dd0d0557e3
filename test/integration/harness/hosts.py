"""Servers at several addresses, to see which of them a pooler goes to."""

from harness.wire import FakeServer

ONE, OTHER, DEAD = "127.0.0.1", "127.0.0.2", "127.0.0.3"


class Hosts:
    """Fake servers on one port of several addresses; which of them had logins, in order."""

    def __init__(self, *hosts, script=None):
        self.logins, self.servers, self.port = [], [], 0
        for host in hosts:
            server = FakeServer(lambda peer, host=host: self._play(peer, host, script), host, self.port)
            self.port = server.port
            self.servers.append(server)

    def _play(self, peer, host, script):
        peer.read_startup()
        self.logins.append(host)
        if script is None or not script(peer, host):
            peer.welcome()
            peer.serve()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.__exit__()


def use(pooler, n=1):
    """n queries, each on a server connection of its own when server_lifetime is 0."""
    with pooler.wire() as w:
        for _ in range(n):
            assert w.query("SELECT 1").tags == ["SELECT 0"]


def each_its_own(make_pooler, hosts, host, **settings):
    return make_pooler(databases={"app": {"host": host, "port": hosts.port}},
                       **{"server_lifetime": 0, "server_login_retry": 1, **settings})
