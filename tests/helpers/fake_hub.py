"""A very small hub of models, as huggingface_hub talks to it: repositories in memory."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

REPO = r"(?P<repo>[^/]+/[^/]+)"


class FakeHub:
    """
    Attributes:
        endpoint: its address.
        repos: files of each repository, branch and commit.
        requests: method and path of every request.
    """

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {}
        self.requests: list[str] = []
        self.endpoint = ""

    def commit(self, repo: str, branch: str, files: dict[str, bytes]) -> str:
        """Add files to a branch; the new commit."""
        branches = self.repos.setdefault(repo, {"main": {}})
        whole = branches.get(branch, {}) | files
        names = sorted((name, sha1(data)) for name, data in whole.items())
        commit = sha1(repr((repo, names)).encode())
        branches[branch] = branches[commit] = whole
        return commit

    def head(self, repo: str, revision: str) -> str:
        """The commit of a branch or commit."""
        files = self.repos[repo][revision]
        return next(k for k, v in self.repos[repo].items() if len(k) == 40 and v == files)


def sha1(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serve() -> Iterator[FakeHub]:
    """A hub on a port of its own until the block ends."""
    hub = FakeHub()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def do_GET(self) -> None:
            answer(self, hub)

        do_HEAD = do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, hub: FakeHub) -> None:
    path = unquote(urlsplit(request.path).path)
    hub.requests.append(f"{request.command} {path}")
    body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
    for pattern, action in ROUTES:
        if found := re.fullmatch(pattern, path):
            status, data, headers = action(hub, body, **found.groupdict())
            break
    else:
        status, data, headers = 404, {"error": "no such page"}, {}
    content = data if isinstance(data, bytes) else json.dumps(data).encode()
    request.send_response(status)
    for name, text in ({"Content-Length": str(len(content))} | headers).items():
        request.send_header(name, text)
    request.end_headers()
    if request.command != "HEAD":
        request.wfile.write(content)


def missing(hub, repo, revision):
    if repo not in hub.repos:
        return 404, {"error": "Repository not found"}, {"X-Error-Code": "RepoNotFound"}
    if revision not in hub.repos[repo]:
        return 404, {"error": "Invalid rev"}, {"X-Error-Code": "RevisionNotFound"}
    return None


def info(hub, body, repo, revision="main"):
    if wrong := missing(hub, repo, revision):
        return wrong
    files = [{"rfilename": name} for name in hub.repos[repo][revision]]
    return 200, {"id": repo, "sha": hub.head(repo, revision), "siblings": files}, {}


def tree(hub, body, repo, revision):
    if wrong := missing(hub, repo, revision):
        return wrong
    files = hub.repos[repo][revision].items()
    rows = [{"type": "file", "path": k, "size": len(v), "oid": sha1(v)} for k, v in files]
    return 200, rows, {}


def resolve(hub, body, repo, revision, file):
    if wrong := missing(hub, repo, revision):
        return wrong
    data = hub.repos[repo][revision].get(file)
    if data is None:
        return 404, {"error": "Entry not found"}, {"X-Error-Code": "EntryNotFound"}
    head = {"ETag": f'"{sha1(data)}"', "X-Repo-Commit": hub.head(repo, revision)}
    return 200, data, head


def create(hub, body):
    fields = json.loads(body)
    repo = "/".join(filter(None, (fields.get("organization"), fields["name"])))
    if repo in hub.repos:
        return 409, {"error": "exists", "url": f"{hub.endpoint}/{repo}"}, {}
    hub.commit(repo, "main", {".gitattributes": b""})
    return 200, {"url": f"{hub.endpoint}/{repo}", "name": repo}, {}


def branch(hub, body, repo, revision):
    hub.repos[repo].setdefault(revision, dict(hub.repos[repo]["main"]))
    return 200, {}, {}


def preupload(hub, body, repo, revision):
    rows = [
        {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False}
        for f in json.loads(body)["files"]
    ]
    return 200, {"files": rows}, {}


def commit(hub, body, repo, revision):
    files = {}
    for line in body.splitlines():
        row = json.loads(line)
        if row["key"] == "file":
            files[row["value"]["path"]] = base64.b64decode(row["value"]["content"])
    oid = hub.commit(repo, revision, files)
    url = f"{hub.endpoint}/{repo}/commit/{oid}"
    return 200, {"success": True, "commitOid": oid, "commitUrl": url}, {}


def validate(hub, body):
    return 200, {"errors": [], "warnings": []}, {}


def whoami(hub, body):
    return 200, {"name": "user", "type": "user", "orgs": []}, {}


ROUTES = [
    ("/api/whoami-v2", whoami),
    ("/api/repos/create", create),
    ("/api/validate-yaml", validate),
    (f"/api/models/{REPO}/revision/(?P<revision>.+)", info),
    (f"/api/models/{REPO}/tree/(?P<revision>[^/]+)", tree),
    (f"/api/models/{REPO}/preupload/(?P<revision>.+)", preupload),
    (f"/api/models/{REPO}/commit/(?P<revision>.+)", commit),
    (f"/api/models/{REPO}/branch/(?P<revision>.+)", branch),
    (f"/api/models/{REPO}", info),
    (f"/{REPO}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", resolve),
]
