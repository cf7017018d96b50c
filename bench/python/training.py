#!/usr/bin/env python3
"""What a training job in Python sees of its embeddings, in pairs:

    python_lookup_w1              lookups of the package quire, of the same by
                                  one prepared call of its C library
    embedding_time_torch_local    torch.nn.Embedding(sparse=True) and Adagrad
                                  in this process, over ours
    embedding_time_torch_rpc      the same in another process, by
                                  torch.distributed.rpc, over ours
    prefetch_hides                share of the lookups' time that Prefetch
                                  hides behind a computation as long as them

The time is that of a step: rows of 4096 uniform ids of 1M x 64 float32, and the
push of their gradients, Adagrad. A pair is one measurement of each side, one
after the other; a line has the median of the ratios and their quartiles.

    training.py SERVER [--pairs 15] [--seconds 0.5] [--only NAME]
"""

from __future__ import annotations

import argparse
import ctypes
import os
import pathlib
import statistics
import sys
import tempfile
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, Tuple

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[1:1] = [str(ROOT / "python"), str(ROOT / "tests/e2e")]
os.environ.setdefault("QUIRE_LIBRARY",
                      str(ROOT / "build/release/lib/libquire.so"))
# As the C++ programs are tuned: memory that calls give back stays here.
TUNED = {"MALLOC_TRIM_THRESHOLD_": "268435456",
         "MALLOC_MMAP_THRESHOLD_": "33554432",
         # rpc listens on loopback.
         "TP_SOCKET_IFNAME": "lo"}
if any(os.environ.get(name) != value for name, value in TUNED.items()):
    os.environ.update(TUNED)
    os.execv(sys.executable, [sys.executable, *sys.argv])

import numpy as np  # noqa: E402
import quire_process  # noqa: E402
import torch  # noqa: E402
from torch import multiprocessing, nn  # noqa: E402
from torch.distributed import rpc  # noqa: E402

import quire  # noqa: E402
import quire.torch  # noqa: E402
from quire import _library  # noqa: E402

ROWS, DIM, IDS = 1_000_000, 64, 4096
# So many that no row of one is in a cache when it comes again.
BATCHES = 256
RATE = 0.05

Step = Callable[[], None]


def per_second(step: Step, seconds: float) -> float:
    """How often a step is done."""
    count, start = 0, time.perf_counter()
    while (now := time.perf_counter()) - start < seconds or count == 0:
        step()
        count += 1
    return count / (now - start)


def report(name: str, gate: float, first: Step, second: Step,
           options: argparse.Namespace) -> None:
    """The rate of the first over that of the second."""
    if not name.startswith(options.only):
        return
    for step in (first, second):
        per_second(step, options.seconds)
    rates = [(per_second(first, options.seconds),
              per_second(second, options.seconds))
             for _ in range(options.pairs)]
    low, median, high = quartiles([ours / theirs for ours, theirs in rates])
    ours, theirs = (statistics.median(side) for side in zip(*rates))
    print(f"ratio {name} {median:.3f} {low:.3f} {high:.3f}\n"
          f"      {1e3 / ours:.3f} ms a step, beside {1e3 / theirs:.3f}; "
          f"{gate:.2f} is asked for{'' if median >= gate else ': SHORT'}",
          flush=True)


def quartiles(values: List[float]) -> Tuple[float, float, float]:
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4)
    return low, median, high


class Ids:
    """The same batches of ids for both sides, over and over."""

    def __init__(self) -> None:
        random = np.random.default_rng(1)
        self._all = random.integers(ROWS, size=(BATCHES, IDS))
        self._next = 0

    def next(self) -> np.ndarray:
        self._next = (self._next + 1) % BATCHES
        return self._all[self._next]


# --- Lookups ---

def prepared_lookup(server: str) -> Step:
    """One call of the C library, whose arguments are all there."""
    ids, out = Ids(), np.empty((IDS, DIM), np.float32)
    client = ctypes.c_void_p()
    _library.check(_library.library.quire_connect(server.encode(), -1,
                                                  ctypes.byref(client)))
    item = _library.LookupItem(b"bench", None, None, IDS, None, out.size, None,
                               None)
    call = _library.library.quire_lookup

    def step() -> None:
        item.ids, item.out = ids.next().ctypes.data, out.ctypes.data
        _library.check(call(client, ctypes.byref(item), 1, -1))
    return step


def python_lookup(client: quire.Client) -> Step:
    ids = Ids()

    def step() -> None:
        client.lookup("bench", ids.next())
    return step


# --- Steps of training ---

def our_step(server: str) -> Step:
    module = quire.torch.RemoteEmbedding(ROWS, DIM, server=server,
                                         table="bench")
    optimizer = quire.torch.Optimizer(module)
    ids, gradient = Ids(), torch.full((IDS, DIM), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        module(torch.from_numpy(ids.next())).backward(gradient)
        optimizer.step()
    return step


class Local:
    """torch's own, in whichever process it is made."""

    def __init__(self) -> None:
        self._module = nn.Embedding(ROWS, DIM, sparse=True)
        self._optimizer = torch.optim.Adagrad(self._module.parameters(), RATE)

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        return self._module(ids).detach()

    def train(self, ids: torch.Tensor, gradient: torch.Tensor) -> None:
        self._optimizer.zero_grad()
        self._module(ids).backward(gradient)
        self._optimizer.step()


def local_step() -> Step:
    local, ids = Local(), Ids()
    gradient = torch.full((IDS, DIM), 1e-3)
    return lambda: local.train(torch.from_numpy(ids.next()), gradient)


_remote: Dict[str, Local] = {}


def remote_make() -> None:
    torch.set_num_threads(1)
    _remote["it"] = Local()


def remote_rows(ids: torch.Tensor) -> torch.Tensor:
    return _remote["it"].rows(ids)


def remote_train(ids: torch.Tensor, gradient: torch.Tensor) -> None:
    _remote["it"].train(ids, gradient)


def rpc_options(directory: str) -> Any:
    """Over TCP, as ours is."""
    return rpc.TensorPipeRpcBackendOptions(
        init_method=f"file://{directory}/rpc", _transports=["uv"])


def serve_rpc(_: int, directory: str) -> None:
    rpc.init_rpc("rows", rank=1, world_size=2,
                 rpc_backend_options=rpc_options(directory))
    rpc.shutdown()


def rpc_step() -> Step:
    rpc.rpc_sync("rows", remote_make)
    ids, gradient = Ids(), torch.full((IDS, DIM), 1e-3)

    def step() -> None:
        batch = torch.from_numpy(ids.next())
        rpc.rpc_sync("rows", remote_rows, (batch,))
        rpc.rpc_sync("rows", remote_train, (batch, gradient))
    return step


# --- Prefetch ---

def hidden_share(server: str, options: argparse.Namespace) -> None:
    """How much of the lookups' time Prefetch hides."""
    if not "prefetch_hides".startswith(options.only):
        return
    module = quire.torch.RemoteEmbedding(ROWS, DIM, server=server,
                                         table="bench")
    ids, count = Ids(), 200

    def batches() -> Iterator[torch.Tensor]:
        return (torch.from_numpy(ids.next()) for _ in range(count))

    @torch.no_grad()
    def seconds_of(rounds: Iterable[Any], forward: bool,
                   compute: float) -> float:
        """Of one batch; the computation is a device's: it leaves this
        processor to others."""
        start = time.perf_counter()
        for batch in rounds:
            if forward:
                module(batch)
            time.sleep(compute)
        return (time.perf_counter() - start) / count

    shares = []
    for _ in range(options.pairs):
        lookup = seconds_of(batches(), True, 0)
        compute = seconds_of(batches(), False, lookup)
        both = seconds_of(quire.torch.Prefetch(
            batches(), module, lambda batch: {"": batch}), True, lookup)
        shares.append(1 - (both - compute) / lookup)
    low, median, high = quartiles(shares)
    print(f"ratio prefetch_hides {median:.3f} {low:.3f} {high:.3f}\n"
          f"      of {1e3 * lookup:.3f} ms; 0.80 is asked for"
          f"{'' if median >= 0.8 else ': SHORT'}", flush=True)


def measure(server: str, directory: str, options: argparse.Namespace) -> None:
    """All of it."""
    with quire.connect(server) as client:
        client.create_table(
            "bench", ROWS, DIM, optimizer=quire.optimizers.Adagrad(RATE))
        report("python_lookup_w1", 0.85, python_lookup(client),
               prepared_lookup(server), options)
    report("embedding_time_torch_local", 2, our_step(server), local_step(),
           options)
    if "embedding_time_torch_rpc".startswith(options.only):
        worker = multiprocessing.spawn(serve_rpc, (directory,), 1, join=False)
        rpc.init_rpc("trainer", rank=0, world_size=2,
                     rpc_backend_options=rpc_options(directory))
        report("embedding_time_torch_rpc", 5, our_step(server), rpc_step(),
               options)
        rpc.shutdown()
        worker.join()
    hidden_share(server, options)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("server", help="the program quire-server")
    parser.add_argument("--pairs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--only", default="", help="what begins so")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, numpy {np.__version__}, one thread; "
          "the server has one, too")
    with quire_process.server(options.server, "--threads", "1") as (
            _, server, _), tempfile.TemporaryDirectory() as directory:
        measure(server, directory, options)


if __name__ == "__main__":
    main()
