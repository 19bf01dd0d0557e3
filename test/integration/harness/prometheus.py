"""A Prometheus that scrapes poolers: the real one, on a port of its own."""

import json
import os
import shutil
import subprocess
import tempfile
import urllib.parse
import urllib.request

import yaml

from .system import as_account, eventually, free_port, give_away, stop_process


class Prometheus:
    """config: what would stand in prometheus.yml; files: copied beside it."""

    def __init__(self, config, files=()):
        self.directory = tempfile.mkdtemp(prefix="prometheus-", dir="/tmp")
        give_away(self.directory)
        os.chmod(self.directory, 0o755)
        self.port = free_port()
        self.log_file = os.path.join(self.directory, "log")
        path = os.path.join(self.directory, "prometheus.yml")
        with open(path, "w") as f:
            yaml.safe_dump(config, f)
        for name in files:
            shutil.copy(name, self.directory)
        with open(self.log_file, "w") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={path}", f"--web.listen-address=127.0.0.1:{self.port}",
                 f"--storage.tsdb.path={self.directory}/data"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=self.directory, **as_account())
        try:
            eventually(self._is_ready, "Prometheus is ready")
        except AssertionError:
            self.close()
            raise

    def _is_ready(self):
        with open(self.log_file) as log:
            assert self.process.poll() is None, log.read()[-4000:]
        try:
            self._get("/-/ready")
        except OSError:
            return False
        return True

    def _get(self, path, **parameters):
        url = f"http://127.0.0.1:{self.port}{path}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.read()

    def ask(self, path, **parameters):
        """One of /api/v1; what it cannot read raises."""
        return json.loads(self._get(f"/api/v1/{path}", **parameters))["data"]

    def query(self, expression):
        """[(labels, value)] as of now."""
        return [(r["metric"], float(r["value"][1])) for r in self.ask("query", query=expression)["result"]]

    def close(self):
        try:
            stop_process(self.process)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)
