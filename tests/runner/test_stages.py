import logging
import time

import pytest

from fused_clip.runner import cell as named
from fused_clip.runner.cell import NamedStages


def test_a_stage_names_itself_when_it_takes_long(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    stages = NamedStages("mnist-task")
    with stages("pair"):
        pass
    assert not caplog.messages
    monkeypatch.setattr(named, "_PATIENCE", 0.01)
    with stages("fit"):
        time.sleep(0.3)
    assert caplog.messages == ["mnist-task: clustering"]
    assert stages.seconds["fit"] >= 0.3
