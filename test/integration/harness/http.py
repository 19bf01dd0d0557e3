"""Asking a pooler over HTTP."""

import base64
import collections
import http.client
import json
import ssl

Answer = collections.namedtuple("Answer", "status headers body")


def basic(user, password):
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Http:
    """One connection, kept alive while the answers allow it; a new one for each request when it is not."""

    def __init__(self, port, context=None, login=None, timeout=30, host="127.0.0.1"):
        self.login = basic(*login) if login else {}
        if context is None:
            self.connection = http.client.HTTPConnection(host, port, timeout=timeout)
        else:
            self.connection = http.client.HTTPSConnection(host, port, timeout=timeout, context=context)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.connection.close()

    def ask(self, method, path, body=None, **headers):
        """Underlines in the names of headers stand for hyphens."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, {**self.login, **named})
        answer = self.connection.getresponse()
        return Answer(answer.status, dict(answer.getheaders()), answer.read())

    def get(self, path, **headers):
        return self.ask("GET", path, **headers)

    def text(self, path, status=200, **headers):
        answer = self.get(path, **headers)
        assert answer.status == status, answer
        return answer.body.decode()

    def json(self, path, status=200, **headers):
        answer = self.get(path, **headers)
        assert answer.status == status, answer
        assert answer.headers["Content-Type"] == "application/json"
        return json.loads(answer.body)

    def command(self, text, **headers):
        """As the page gives one; None takes a header away."""
        usual = {"Content_Type": "application/json", "X_CSRF_Token": self.json("/api/session")["csrf_token"]}
        named = {name: value for name, value in {**usual, **headers}.items() if value is not None}
        answer = self.ask("POST", "/api/commands", json.dumps({"command": text}), **named)
        return answer.status, json.loads(answer.body)


def trusting(certs):
    return ssl.create_default_context(cafile=certs.ca.cert)
