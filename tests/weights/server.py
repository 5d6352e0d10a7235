"""A local HTTP server that plays the host of published weights, well and badly."""

import contextlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Host:
    """What is served, how, and what was asked for.

    Args:
        files: path -> content.
        behave: "well"; "cut" (half of the content, once), "always cut", "slow", "wrong" (other
            bytes), "no ranges" (cut once, and always the whole), "missing" (404), "busy" (503
            once), "silent" (never answers), "endless" (more and more), "trickle" (one byte at a
            time), "odd length" (a length that is no number), "to http" (redirects there).
    """

    def __init__(self, files, behave="well"):
        self.files = files
        self.behave = behave
        self.requests = []
        self.finished = 0
        self.lock = threading.Lock()

    def answer(self, handler):
        with self.lock:
            self.requests.append((handler.path, handler.headers.get("Range")))
            first = len(self.requests) == 1
        content = self.files.get(handler.path.lstrip("/"))
        behave = self.behave
        if content is None or behave == "missing":
            handler.send_error(404)
            return
        if behave == "busy" and first:
            handler.send_error(503)
            return
        if behave == "silent":
            time.sleep(2)
            return
        if behave == "odd length":
            handler.send_response(200)
            handler.send_header("Content-Length", "abc")
            handler.end_headers()
            return
        if behave in ("endless", "trickle"):
            handler.send_response(200)
            handler.end_headers()
            for _ in range(1000):
                handler.wfile.write(bytes(1 if behave == "trickle" else 1 << 16))
                handler.wfile.flush()
                time.sleep(0.01 if behave == "trickle" else 0)
            return
        if behave == "wrong":
            content = bytes(len(content))
        begin = 0
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range") or "")
        if asked and behave != "no ranges":
            begin = int(asked[1])
            if begin >= len(content):
                handler.send_error(416)
                return
            handler.send_response(206)
            handler.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        else:
            handler.send_response(200)
        handler.send_header("Content-Length", str(len(content) - begin))
        handler.end_headers()
        end = len(content)
        if behave == "always cut" or (first and behave in ("cut", "no ranges")):
            end = begin + (end - begin) // 2
        step = max(1, len(content) // 10) if behave == "slow" else len(content)
        for place in range(begin, end, step):
            handler.wfile.write(content[place : min(end, place + step)])
            if behave == "slow":
                handler.wfile.flush()
                time.sleep(0.05)
        with self.lock:
            self.finished += end == len(content)


@contextlib.contextmanager
def serving(host):
    """Serve `host`; gives its base address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            with contextlib.suppress(ConnectionError):
                host.answer(self)

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
