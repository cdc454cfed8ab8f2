"""A Ray cluster to work on: started for this process alone, or joined."""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from nas.executors.protocol import ExecutorError
from nas.executors.ray_environment import (
    ENVIRONMENT,
    LOCAL_ENVIRONMENT,
    authentication,
    environment,
    own_sigterm,
    private_files,
)
from nas.executors.ray_settings import first_line, machine_of_node, node_problem
from proxies.detection import Machine, installed_version

Answer = TypeVar("Answer")

OBJECT_STORE_BYTES = 100 * 1024**2
NODE_SECONDS = 120.0
"""How long a node may take to get our code and look at its data."""
_IS_INTERNAL = re.compile(r"node:|memory$|object_store_memory$|.*_group_")
"""Resources that Ray makes up: nodes, memory, placement groups."""
JOINING_REMEDY = (
    "see that the cluster runs the same Ray and Python, and that its token is here "
    "(~/.ray/auth_token, with RAY_AUTH_MODE=token)"
)
PACKAGES = ("search_spaces", "proxies", "results", "nas", "cli")


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep Ray's and Tune's loggers from the terminal; what matters is told by errors of our own."""
    logger = logging.getLogger("ray")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


def start_cluster(*, num_cpus: int, num_gpus: int, folder: Path, otherwise: str) -> None:
    """Start a cluster of this machine's own, its files in `folder`; `otherwise`: what works without.

    Raises:
        ExecutorError: Ray does not start.
    """
    path = os.pathsep.join(entry or str(Path.cwd()) for entry in sys.path)
    variables = {**LOCAL_ENVIRONMENT, "PYTHONPATH": path}
    with environment(variables, without=("RAY_ADDRESS",)), private_files(), own_sigterm():
        _init(
            otherwise,
            address="local",
            num_cpus=num_cpus,
            num_gpus=num_gpus,
            object_store_memory=OBJECT_STORE_BYTES,
            _temp_dir=str(folder / "ray"),
        )


def join_cluster(address: str, py_modules: Sequence[Path]) -> None:
    """Connect to a cluster, and give it the code to run.

    Raises:
        ExecutorError: it does not let us in.
    """
    modules = [str(Path(import_module(name).__path__[0])) for name in PACKAGES]
    modules += [str(path) for path in py_modules]
    with environment(authentication(), without=("RAY_ADDRESS",)), own_sigterm():
        _init(JOINING_REMEDY, address=address, runtime_env={"py_modules": modules})


def require_same_cluster(address: str | None) -> None:
    """Ray is at most once in a process; see that it is connected to the cluster that is asked for.

    Raises:
        ExecutorError: it is connected to another.
    """
    connected = ray.get_runtime_context().gcs_address
    if address not in (None, "auto", connected):
        raise ExecutorError(
            f"this process is connected to the Ray cluster at {connected}, not {address}; "
            "call ray.shutdown() first, or leave the address out"
        )


def require_able_nodes(
    needs: Mapping[str, float], payload: bytes, main: dict[str, str], *, data: str | None
) -> None:
    """See that every node that may get jobs has our torch and the same data, before it gets any.

    Raises:
        ExecutorError: one has not, or does not answer.
    """
    answers = _ask_nodes(needs, node_problem, payload, main, installed_version("torch"), data)
    problems = [f"the node {address} {problem}" for address, problem in answers if problem is not None]
    if problems:
        raise ExecutorError("; ".join(dict.fromkeys(problems)))


def machines_of(address: str) -> dict[str, Machine]:
    """What every node of a cluster has that has a processor to give, by address.

    A node that is on one machine with another shows as one.

    Raises:
        ExecutorError: the cluster does not let us in, or a node does not answer.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(environment(ENVIRONMENT))
        stack.enter_context(silence())
        if ray.is_initialized():
            require_same_cluster(address)
        else:
            stack.callback(ray.shutdown)
            join_cluster(address, [])
        return dict(_ask_nodes({"CPU": 1.0}, machine_of_node))


def _ask_nodes(
    needs: Mapping[str, float], question: Callable[..., Answer], *arguments: Any
) -> list[tuple[str, Answer]]:
    """The address and the answer of every node that has what is needed, each asked on itself.

    Raises:
        ExecutorError: one does not answer.
    """
    ask = ray.remote(num_cpus=0, max_retries=0)(question)
    asked = []
    for node in ray.nodes():
        has = node["Resources"]
        if node["Alive"] and all(has.get(name, 0.0) >= amount for name, amount in needs.items()):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            answer = ask.options(scheduling_strategy=there).remote(*arguments)
            asked.append((str(node["NodeManagerAddress"]), answer))
    answers = []
    for address, answer in asked:
        try:
            answers.append((address, ray.get(answer, timeout=NODE_SECONDS)))
        except Exception as error:
            raise ExecutorError(f"the node {address} does not answer ({first_line(error)})") from error
    return answers


def _init(remedy: str, **arguments: Any) -> None:
    try:
        ray.init(
            include_dashboard=False if arguments["address"] == "local" else None,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **arguments,
        )
    except Exception as error:
        raise ExecutorError(
            f"Ray could not be started ({type(error).__name__}: {first_line(error)}); {remedy}"
        ) from error


def require_resources(needs: Mapping[str, float]) -> None:
    """See that the cluster has what is asked for, since Ray would wait for it for ever.

    Raises:
        ExecutorError: it has not.
    """
    has = ray.cluster_resources()
    missing = [name for name, amount in needs.items() if has.get(name, 0.0) < amount]
    if missing:
        kinds = sorted(name for name in has if not _IS_INTERNAL.match(name))
        listed = ", ".join(f"{name} {has[name]:g}" for name in kinds)
        raise ExecutorError(
            f"the Ray cluster has no {' and no '.join(missing)} (it has {listed}); "
            "name hardware that it has, or add such a node"
        )
