"""Answers every GET with the page of one upstream, at SITE_URI, under a heading."""

import http.client
import os
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

UPSTREAM = os.environ["SITE_URI"]


class Gateway(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # keeps the client's connection open
    disable_nagle_algorithm = True  # else the body waits for the client's late acknowledgement of the head

    def do_GET(self):
        try:
            with urllib.request.urlopen(UPSTREAM, timeout=5) as page:
                status, text = 200, page.read()
        except (OSError, http.client.HTTPException) as error:
            status, text = 502, f"{UPSTREAM}: {error!r}\n".encode()
        body = b"gateway: " + text
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # as many clients may connect at the same moment


Server(("", int(os.environ["PORT"])), Gateway).serve_forever()
