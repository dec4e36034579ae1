"""Collect the tests once, and run some of them in a fork, with one function changed."""

import importlib
import json
import os
import signal
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
_PYTEST = (
    "-q",
    "-s",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:faulthandler",
    "--assert=plain",
    "--tb=no",
    "--hypothesis-seed=0",
)
_PLAIN = (bool, int, float, str, bytes, tuple, list, dict, range, frozenset, type(None))


class Tests:
    """The collected tests of one pytest session.

    Parameters
    ----------
    items : pytest's, in their order.
    """

    def __init__(self, items: Sequence[pytest.Item]) -> None:
        self._items = {item.nodeid: item for item in items}
        self._failed = ""

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def run(self, tests: Sequence[str], before: Callable[[str], None] = lambda _: None) -> str:
        """Run tests until one fails, and return that one's id.

        Parameters
        ----------
        tests : their ids, in the order in which they run.
        before : is called with each id before the test.
        """
        chosen = [self._items[test] for test in tests]
        for item, following in zip(chosen, [*chosen[1:], None], strict=True):
            before(item.nodeid)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed:
                break
        return self._failed

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Remember the test that fails."""
        self._failed = self._failed or (report.nodeid if report.failed else "")

    def outcome(
        self, tests: Sequence[str], seconds: float, path: str = "", source: str = ""
    ) -> tuple[str, str]:
        """Run tests in a fork until one fails; return how that ended, and the test that failed.

        Parameters
        ----------
        tests : their ids, in the order in which they run.
        path : module that is changed before, relative to the root; empty for none.
        source : its code then.
        seconds : time that they may take.

        Returns
        -------
        ``killed``, ``survived``, ``timeout``, or ``crash``, which is an error before a test or the end of
        the process.
        """

        def changed() -> str:
            if path:
                change(path, source)
            return self.run(tests)

        failed, code = forked(changed, seconds)
        if code != 0:
            return ("timeout" if code is None else "crash"), ""
        return ("killed" if failed else "survived"), failed


def with_tests(files: Sequence[str], work: Callable[[Tests], int], *options: str) -> int:
    """Collect tests, call a function with them in place of running them, and return what it gives.

    Parameters
    ----------
    files : test files.
    work : the function.
    options : more of pytest's.
    """
    given = []

    class InPlaceOfTheLoop:
        def pytest_runtestloop(self, session: pytest.Session) -> bool:
            tests = Tests(session.items)
            session.config.pluginmanager.register(tests)
            given.append(work(tests))
            return True

    with Path(os.devnull).open("w") as nowhere:
        out, sys.stdout = sys.stdout, nowhere
        try:
            code = pytest.main([*_PYTEST, *options, *files], plugins=[_Printing(out), InPlaceOfTheLoop()])
        finally:
            sys.stdout = out
    if not given:
        raise SystemExit(f"the tests can't be collected (pytest's code {int(code)})")
    return given[0]


class _Printing:
    """Gives stdout back once the tests are collected."""

    def __init__(self, out: Any) -> None:
        self._out = out

    def pytest_collection_finish(self) -> None:
        sys.stdout = self._out


def change(path: str, source: str) -> None:
    """Give the functions, classes and constants of a loaded module other code.

    Objects stay the same, so that whoever imported them sees the change; other modules keep the constants
    that they have imported.

    Parameters
    ----------
    path : the module, relative to the root.
    source : its code from now on.
    """
    name = ".".join(Path(path).with_suffix("").parts)
    module = importlib.import_module(name)
    fresh = types.ModuleType(name)
    fresh.__dict__.update(__file__=module.__file__, __package__=module.__package__)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        real, sys.modules[name] = module, fresh  # dataclasses look their module up
        try:
            exec(compile(source, str(ROOT / path), "exec"), fresh.__dict__)  # noqa: S102
        finally:
            sys.modules[name] = real
    _graft(module, fresh.__dict__, name)


def _graft(owner: Any, fresh: Mapping[str, Any], module: str) -> None:
    for name, new in fresh.items():
        old = vars(owner).get(name)
        if isinstance(new, type) and isinstance(old, type) and new.__module__ == module:
            if new.__qualname__ == old.__qualname__:
                _graft(old, vars(new), module)
        elif (function := _function(new)) and (target := _function(old)):
            if function.__module__ == module:
                _replace(owner, name, target, function)
        elif isinstance(new, _PLAIN) and not name.startswith("__") and new != old:
            setattr(owner, name, new)


def _function(value: Any) -> types.FunctionType | None:
    """The function inside of a method, a property or a decorated function."""
    for kind, inside in (
        (property, "fget"),
        (cached_property, "func"),
        ((staticmethod, classmethod), "__func__"),
    ):
        if isinstance(value, kind):  # type: ignore[arg-type]
            value = getattr(value, inside)
    while hasattr(value, "__wrapped__"):
        value = value.__wrapped__
    return value if isinstance(value, types.FunctionType) else None


def _replace(owner: Any, name: str, old: types.FunctionType, new: types.FunctionType) -> None:
    old.__defaults__, old.__kwdefaults__ = new.__defaults__, new.__kwdefaults__
    if old.__code__.co_freevars == new.__code__.co_freevars:
        old.__code__ = new.__code__
        for free, cell, its in zip(
            new.__code__.co_freevars, old.__closure__ or (), new.__closure__ or (), strict=True
        ):
            if free.startswith("_dflt_"):  # a default factory of a dataclass
                cell.cell_contents = its.cell_contents
    elif isinstance(vars(owner)[name], types.FunctionType):  # it no longer calls super()
        cells = dict(zip(old.__code__.co_freevars, old.__closure__ or (), strict=True))
        closure = tuple(cells[free] for free in new.__code__.co_freevars)
        made = types.FunctionType(new.__code__, old.__globals__, old.__name__, old.__defaults__, closure)
        made.__kwdefaults__ = old.__kwdefaults__
        setattr(owner, name, made)


def forked(work: Callable[[], Any], seconds: float) -> tuple[Any, int | None]:
    """Call a function in a fork, silently; return its result, and the exit code or None if it hung.

    Parameters
    ----------
    work : called; its result goes through JSON.
    seconds : time after which the fork and all that it started are ended.
    """
    with tempfile.TemporaryFile("w+") as file:
        pid = os.fork()
        if not pid:
            code = 1
            try:
                os.setpgid(0, 0)
                with Path(os.devnull).open("r+") as nowhere:
                    for stream in (0, 1, 2):
                        os.dup2(nowhere.fileno(), stream)
                json.dump(work(), file)
                file.flush()
                code = 0
            finally:
                os._exit(code)
        exit_code = _wait(pid, time.monotonic() + seconds)
        file.seek(0)
        text = file.read()
    return (json.loads(text) if exit_code == 0 else None), exit_code


def _wait(pid: int, end: float) -> int | None:
    while time.monotonic() < end:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _end(pid)
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    _end(pid)
    os.waitpid(pid, 0)
    return None


def _end(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)
