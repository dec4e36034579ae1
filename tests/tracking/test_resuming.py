"""What a later sweep asks of the tracking store about earlier runs."""

import errno
import json
import os
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import parse_qs

import pytest

from fused_clip.tracking import MlflowTracker, process
from tests.databases import with_database


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> MlflowTracker:
    return MlflowTracker(with_database(tmp_path_factory.mktemp("resuming")))


@pytest.fixture(scope="module")
def client(tracker: MlflowTracker) -> Any:
    return tracker._store()[0]


def dead(tracker: MlflowTracker, client: Any, name: str) -> str:
    """A run that is RUNNING, of a process that is gone."""
    run_id = tracker.start_sweep(name, {})
    owner = json.loads(client.get_run(run_id).data.tags["process"])
    client.set_tag(run_id, "process", json.dumps({**owner, "started": -1.0}))
    return run_id


def test_runs_of_processes_that_are_gone_are_closed(tracker: MlflowTracker, client: Any) -> None:
    lost = [dead(tracker, client, f"lost-{number}") for number in range(2)]
    elsewhere = tracker.start_sweep("elsewhere", {})
    client.set_tag(elsewhere, "process", json.dumps({**json.loads(process.this_process()), "host": "other"}))
    unnamed = client.create_run(tracker._store()[1]).info.run_id
    with tracker.run("alive", {}, {}) as alive:
        for _ in range(2):
            MlflowTracker(tracker.output_dir).close_abandoned()
        assert {client.get_run(run_id).info.status for run_id in lost} == {"KILLED"}
        for run_id in (elsewhere, unnamed, alive.run_id):
            assert client.get_run(run_id).info.status == "RUNNING"
    assert client.get_run(lost[0]).info.end_time
    assert "gone" in client.get_run(lost[0]).data.tags["error"]
    assert client.get_run(alive.run_id).info.status == "FINISHED"


def test_a_run_that_ended_while_it_was_looked_at_stays_as_it_ended(
    tracker: MlflowTracker, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = dead(tracker, client, "ending")
    seen = client.get_run(run_id)
    client.set_terminated(run_id, "FINISHED")
    monkeypatch.setattr("fused_clip.tracking.runs.all_runs", lambda *_: [seen])
    tracker.close_abandoned()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert "error" not in run.data.tags


def full(*_: object, **__: object) -> NoReturn:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_run_ends_failed_where_the_reason_has_no_room(
    tracker: MlflowTracker, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(client), "log_text", full)
    with pytest.raises(ValueError, match="mine") as caught, tracker.run("failed", {}, {}) as failed:
        raise ValueError("mine")
    assert client.get_run(failed.run_id).info.status == "FAILED"
    assert "No space left" in caught.value.__notes__[0]


def test_a_sweep_whose_plan_has_no_room_is_not_left_running(
    tracker: MlflowTracker, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(client), "log_dict", full)
    with pytest.raises(OSError, match="No space left"):
        tracker.start_sweep("planned", {}, [{"seed": "0"}])
    (run,) = client.search_runs([tracker._store()[1]], "attributes.run_name = 'planned'")
    assert run.info.status == "FAILED"


def test_only_a_finished_run_of_this_experiment_counts(
    tracker: MlflowTracker, client: Any, tmp_path: Path
) -> None:
    with tracker.run("done", {}, {}) as done:
        assert not tracker.has_finished(done.run_id)
    assert tracker.has_finished(done.run_id)
    assert not MlflowTracker(tracker.output_dir, experiment="other").has_finished(done.run_id)
    with pytest.raises(ValueError, match="mine"), tracker.run("failed", {}, {}) as failed:
        raise ValueError("mine")
    for run_id in (failed.run_id, "0" * 32, "", "no id"):
        assert not tracker.has_finished(run_id)
    client.delete_run(done.run_id)
    assert not tracker.has_finished(done.run_id)


def test_a_run_stands_in_the_comparison_of_every_sweep_that_took_it(
    tracker: MlflowTracker, client: Any
) -> None:
    with tracker.run("first", {"prompt": "task"}, {"sweep_id": "aaa"}) as run:
        pass
    for _ in range(2):
        tracker.adopt(run.run_id, "bbb")
    assert client.get_run(run.run_id).data.tags["sweep_id"] == "aaa bbb"
    for sweep_id in ("aaa", "bbb"):
        (search,) = parse_qs(tracker.compare_url(sweep_id).partition("?")[2])["searchFilter"]
        found = client.search_runs([tracker._store()[1]], search)
        assert [run.info.run_name for run in found] == ["first"]


def test_a_run_may_be_taken_by_any_number_of_sweeps(tracker: MlflowTracker, client: Any) -> None:
    """Of so many that a tag can't hold them, its own and the newest."""
    ids = [f"{number:012d}" for number in range(601)]
    with tracker.run("first", {}, {}) as run:
        client.set_tag(run.run_id, "sweep_id", " ".join(ids[:-1]))
    tracker.adopt(run.run_id, ids[-1])
    found = client.get_run(run.run_id).data.tags["sweep_id"].split()
    assert found == [ids[0], *ids[302:601]]


def test_a_parent_lists_as_many_runs_as_it_took(tracker: MlflowTracker, client: Any) -> None:
    parent = tracker.start_sweep("taking many", {})
    ids = [f"{number:032x}" for number in range(420)]
    tracker.end_sweep(parent, [{"run_id": run_id, "reused_from": run_id} for run_id in ids], "FINISHED")
    tags = client.get_run(parent).data.tags
    names = ("reused_from", "reused_from_2", "reused_from_3")
    assert [run_id for name in names for run_id in tags[name].split()] == ids
    assert tags["reused_cells"] == "420"


def test_a_parent_lists_the_runs_that_it_took(tracker: MlflowTracker, client: Any) -> None:
    parent = tracker.start_sweep("taking", {})
    table = [
        {"seed": "0", "run_id": "r0", "reused_from": "r0"},
        {"seed": "1", "run_id": "r1", "reused_from": ""},
    ]
    tracker.end_sweep(parent, table, "FINISHED")
    tags = client.get_run(parent).data.tags
    assert (tags["reused_from"], tags["reused_cells"], tags["cells"]) == ("r0", "1", "2")
