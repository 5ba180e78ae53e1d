"""What the scripts of all peers share: the windows, the clock, and the line that a way of using a peer is reported by."""

import json
import sys
import time

import numpy as np


class Windows:
    """The windows and the head that every peer and SMiLe Stream score, from the file that the bench wrote."""

    def __init__(self, path):
        with open(path, encoding="utf8") as file:
            data = json.load(file)
        # [windows, features] integers, |x| <= 127; [features] integers, |w| <= 1023; [windows] exact integer scores.
        self.features = np.array(data["features"], dtype=np.int64)
        self.weights = np.array(data["weights"], dtype=np.int64)
        self.scores = np.array(data["scores"], dtype=np.int64)
        self.samples = int(data["samples"])

    def error(self, scores):
        """Largest distance of the first scores from the exact ones, in units of the integer score."""
        return float(np.max(np.abs(np.asarray(scores, dtype=np.float64) - self.scores[: len(scores)])))


class Way:
    """One way of using a peer. Times are of the CPU, all threads of this process, in microseconds per window."""

    def __init__(self, windows, name, parameters, batch):
        """`batch`: windows of one sender that fill what is encrypted together."""
        self.windows = windows
        self.report = {"way": name, "parameters": parameters, "windowsPerBatch": batch, "encrypt": [], "service": {}, "decrypt": []}
        self.cpu = self.wall = 0.0

    def timed(self, step, count, work):
        """Does the work on `count` windows and keeps its time under `step`: "encrypt", "decrypt" or a step of the service."""
        wall = time.perf_counter()
        cpu = time.process_time()
        result = work()
        cpu = time.process_time() - cpu
        self.wall += time.perf_counter() - wall
        self.cpu += cpu
        own = step in ("encrypt", "decrypt")
        times = self.report[step] if own else self.report["service"].setdefault(step, [])
        times.append(1e6 * cpu / count)
        return result

    def repeat(self, work):
        """Runs the work once for warming up and then as often as was asked for; only the latter count."""
        work()
        self.report.update(encrypt=[], service={}, decrypt=[])
        self.cpu = self.wall = 0.0
        for _ in range(self.windows.samples):
            work()

    def done(self, *, up, down, up32, down32, public_key, evaluation_keys, scores):
        """Bytes are per window, in full batches and when a sender has 32 windows; of keys in all. `scores` of the first windows."""
        self.report.update(
            bytes={"up": up, "down": down},
            bytesAt32={"up": up32, "down": down32},
            keyBytes={"public": public_key, "evaluation": evaluation_keys},
            largestError=self.windows.error(scores),
            largestScore=float(np.max(np.abs(self.windows.scores[: len(scores)]))),
            # Above 1 the peer computed on several threads; below it other processes took turns.
            coresBusy=self.cpu / max(self.wall, 1e-9),
        )
        return self.report


def main(peer, version, ways):
    """`python SCRIPT WINDOWS RESULT`: runs each way, a failing one with its reason, and writes what came out of them."""
    windows = Windows(sys.argv[1])
    reports = []
    for way in ways:
        print(f"{peer}: {way.__name__}", file=sys.stderr, flush=True)
        try:
            reports.append(way(windows))
        except Exception as error:  # A way that a version of the peer refuses is told of, and does not hide the others.
            reports.append({"way": way.__name__, "failed": f"{type(error).__name__}: {error}"[:500]})
    python = ".".join(map(str, sys.version_info[:3]))
    with open(sys.argv[2], "w", encoding="utf8") as file:
        json.dump({"peer": peer, "version": version, "python": python, "ways": reports}, file)
