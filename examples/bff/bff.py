"""A backend for one kind of client: asks the gateway's aggregate, and keeps of it what that client shows.

    python3 bff.py mobile http://GATEWAY:8080 [PORT]
    python3 bff.py web http://GATEWAY:8080 [PORT]

It prints the port that it listens on. Standard library only.
"""

import html
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

# What makes it one request for logs, traces and policies.
PASSED_ON = ["X-API-Key", "X-Request-Id", "traceparent", "tracestate"]


def mobile(data):
    """As little as a small screen needs."""
    orders = data["orders"]
    count = None if orders is None else len(orders)
    return "application/json", json.dumps({"hello": data["user"]["name"], "orders": count})


def web(data):
    """A page. Without hints it has no corner for them; without orders it says so."""
    orders = data["orders"]
    lines = "<p>Your orders can't be shown now.</p>" if orders is None else "".join(
        f"<li>{html.escape(str(order['id']))}</li>" for order in orders)
    hints = "".join(f"<aside>{html.escape(hint)}</aside>" for hint in data.get("hints", []))
    return "text/html; charset=utf-8", f"<h1>{html.escape(data['user']['name'])}</h1>{lines}{hints}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        passed_on = {name: self.headers[name] for name in PASSED_ON if name in self.headers}
        ask = Request(GATEWAY + "/dashboard", headers={"Host": "api.shop.example.com", **passed_on})
        try:
            with urlopen(ask, timeout=5) as answer:
                status, (kind, body) = 200, SHAPE(json.load(answer))
        except HTTPError as error:
            # What the gateway refuses, such as 401 and 429, is refused here, too.
            status, kind, body = error.code, "application/problem+json", error.read().decode()
        body = body.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


SHAPE = {"mobile": mobile, "web": web}[sys.argv[1]]
GATEWAY = sys.argv[2].rstrip("/")
server = ThreadingHTTPServer(("", int(sys.argv[3]) if len(sys.argv) > 3 else 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
