"""The peer of the viewer's benchmark: OpenSlide Python's Deep Zoom generator, as its example server uses it (tiles of 254 px
with 1 px overlap, JPEG quality 75), behind Python's threading web server with connections kept alive.

usage: viewer_peer.py SLIDE      answers lines: port, levels, memory, cpu, version"""

import io
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openslide
from openslide.deepzoom import DeepZoomGenerator

slide = openslide.OpenSlide(sys.argv[1])
zoom = DeepZoomGenerator(slide, tile_size=254, overlap=1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = 1 << 16

    def do_GET(self):
        match = re.fullmatch(r"/(\d+)/(\d+)_(\d+)\.jpeg", self.path)
        try:
            level, x, y = map(int, match.groups())
            out = io.BytesIO()
            zoom.get_tile(level, (x, y)).save(out, "jpeg", quality=75)
        except (AttributeError, ValueError):
            self.send_error(404)
            return
        body = out.getvalue()
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True


server = Server(("127.0.0.1", 0), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()


def memory():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) / 1024 for line in status if line.startswith("RssAnon:"))


answers = {
    "port": lambda: server.server_address[1],
    "levels": lambda: zoom.level_count,
    "memory": memory,
    "cpu": time.process_time,
    "version": lambda: f"openslide-python {openslide.__version__}, OpenSlide {openslide.__library_version__}",
}
print("ready", flush=True)
for line in sys.stdin:
    print(answers[line.strip()](), flush=True)
