"""Engines that compute the parts of a folder: local processes, Ray or Dask.

Each engine is a context that gives a function like `concurrent.futures.Executor.submit`. Ray and
Dask compute the parts of a killed worker again by themselves; with local processes all parts that
are left are submitted again.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from ..backends.threads import get_num_threads
from .parts import Outcome, Part, compute
from .predict import Options

AHEAD = 2  # parts submitted for each worker, so that it need not wait for the next one
TRIES = 3  # of a part whose worker ended
OBJECT_STORE = 80 << 20  # bytes of Ray's shared memory, the least it takes: parts are never in it

Submit = Callable[..., "Future[Outcome]"]


def run(engine: str, options: Options, parts: list[Part], workers: int) -> Iterator[Outcome]:
    """Compute parts; the outcome of each as soon as it is there.

    Raises:
        ValueError: the engine is not installed.
        ChildProcessError: a part's workers ended again and again.
    """
    package = NEEDS.get(engine)
    if package is not None and find_spec(package) is None:
        raise ValueError(
            f"--engine {engine} needs {package}, which is not installed: pip install {package}"
        )
    if not parts:
        return
    left, threads = dict.fromkeys(parts), max(1, get_num_threads() // workers)
    for _ in range(TRIES):
        try:
            with ENGINES[engine](workers) as submit:
                for part, outcome in _completed(submit, options, threads, list(left), workers):
                    del left[part]
                    yield outcome
            return
        except BrokenProcessPool:
            continue
    raise ChildProcessError(f"workers ended {TRIES} times; {len(left)} parts are not computed")


def _completed(
    submit: Submit, options: Options, threads: int, parts: list[Part], workers: int
) -> Iterator[tuple[Part, Outcome]]:
    """Submit the parts, a few more at a time than there are workers."""
    waiting, running = iter(parts), dict[Any, Part]()
    while True:
        while len(running) < AHEAD * workers and (part := next(waiting, None)) is not None:
            running[submit(compute, options, threads, part)] = part
        if not running:
            return
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            part = running.pop(future)
            try:
                outcome = future.result()
            except BrokenProcessPool:
                raise
            except Exception as error:  # of the engine: those of a part are in its outcome
                raise ChildProcessError(f"{part.source} is not computed: {error}") from error
            yield part, outcome


@contextmanager
def _local(workers: int) -> Iterator[Submit]:
    """Processes of our own; a single worker is this one."""
    if workers == 1:
        yield _here
        return
    # Ctrl-C reaches all processes: this one reports it, and the others finish their parts.
    ignoring = signal.signal, (signal.SIGINT, signal.SIG_IGN)
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), *ignoring)
    try:
        yield pool.submit
    finally:
        pool.shutdown(cancel_futures=True)


def _here(function: Callable[..., Outcome], *arguments: Any) -> Future[Outcome]:
    future: Future[Outcome] = Future()
    future.set_result(function(*arguments))
    return future


@contextmanager
def _ray(workers: int) -> Iterator[Submit]:
    """Workers of the cluster in RAY_ADDRESS, or else of one that ends with this process."""
    ray = import_module("ray")
    own = {"num_cpus": workers, "include_dashboard": False, "object_store_memory": OBJECT_STORE}
    ray.init(
        log_to_driver=False,
        logging_level=logging.ERROR,
        **({} if os.environ.get("RAY_ADDRESS") else own),
    )
    try:
        task = cache(ray.remote(num_cpus=1, max_retries=TRIES))
        yield lambda function, *arguments: task(function).remote(*arguments).future()
    finally:
        ray.shutdown()


@contextmanager
def _dask(workers: int) -> Iterator[Submit]:
    """Workers of the scheduler that Dask is configured for, or else of one that ends with us."""
    config, distributed = import_module("dask").config, import_module("distributed")
    if config.get("scheduler-address", None):
        with distributed.Client() as client:
            yield client.get_executor(pure=False).submit
        return
    with (
        distributed.LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client.get_executor(pure=False).submit


ENGINES: dict[str, Callable[[int], AbstractContextManager[Submit]]] = {
    "local": _local,
    "ray": _ray,
    "dask": _dask,
}
NEEDS = {"ray": "ray", "dask": "distributed"}
