"""Memory that is left: of the machine, a control group, and a limit of the process."""

import os
import resource
import sys
from pathlib import Path

import psutil
import pytest

from fused_clip.support import memory
from fused_clip.support.errors import InputError


def test_without_limits_it_is_the_machine_s(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(memory, "_MEMBERSHIP", tmp_path / "none")
    machine = psutil.virtual_memory().available + psutil.swap_memory().free
    assert memory.available_memory() == pytest.approx(machine, rel=0.2)


@pytest.mark.parametrize(
    ("controllers", "names", "stat"),
    [
        ("", ("memory.max", "memory.current"), "inactive_file"),
        ("memory", ("memory.limit_in_bytes", "memory.usage_in_bytes"), "total_inactive_file"),
    ],
    ids=["version 2", "version 1"],
)
def test_a_control_group_counts(
    controllers: str, names: tuple[str, str], stat: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    group = tmp_path / "mount" / controllers / "outer"
    (group / "inner").mkdir(parents=True)
    (tmp_path / "membership").write_text(f"1:cpu:/\n2:{controllers}:/outer/inner\n")
    monkeypatch.setattr(memory, "_MEMBERSHIP", tmp_path / "membership")
    monkeypatch.setattr(memory, "_MOUNT", tmp_path / "mount")
    for folder, limit in ((group, "5000000"), (group / "inner", "max")):
        (folder / names[0]).write_text(f"{limit}\n")
        (folder / names[1]).write_text("2000000\n")
        (folder / "memory.stat").write_text(f"anon 7\n{stat} 500000\n")
    assert memory.available_memory() == 3_500_000


def test_a_limit_of_the_process_counts() -> None:
    pid = os.fork()
    if not pid:
        mapped = psutil.Process().memory_info().vms
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (mapped + (50 << 20), hard))
        os._exit(int(not 0 < memory.available_memory() <= 50 << 20 or not memory.thread_bytes(1)))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert memory.thread_bytes(1) == 0


def test_libraries_need_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "scipy.special", raising=False)
    memory.check_libraries()
    monkeypatch.setattr(memory, "_of_process", lambda: iter([600_000_000]))
    with pytest.raises(InputError, match=r"memory: the libraries take about 1\.0 GB .* 600 MB are free"):
        memory.check_libraries()


@pytest.mark.parametrize(("count", "text"), [(2_500_000, "2 MB"), (1_500_000_000, "1.5 GB")])
def test_sizes(count: int, text: str) -> None:
    assert memory.size(count) == text
