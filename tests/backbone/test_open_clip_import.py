"""What is imported with open_clip, in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True)


def test_transformers_is_left_out() -> None:
    run(
        "import sys; from fused_clip.backbone import OpenClipBackbone\n"
        "from fused_clip.support import collector; collector.rest()\n"
        "OpenClipBackbone('compact', device='cpu').encode_texts(['a cat'])\n"
        "assert 'open_clip' in sys.modules and 'transformers' not in sys.modules\n"
        "import transformers"
    )


def test_a_text_tower_of_hugging_faces_finds_it_afterwards(tmp_path: Path) -> None:
    run(
        f"""
from fused_clip.backbone.open_clip_import import load_open_clip
from fused_clip.support import collector

collector.rest()
tower = load_open_clip().model.HFTextEncoder
load_open_clip(transformers=True)
from transformers import BertConfig

sizes = dict(num_hidden_layers=1, hidden_size=32, intermediate_size=32, num_attention_heads=2, vocab_size=9)
BertConfig(**sizes).save_pretrained({str(tmp_path)!r})
tower({str(tmp_path)!r}, output_dim=8, pooler_type="mean_pooler", pretrained=False)
"""
    )


def test_a_module_that_is_there_stays() -> None:
    run(
        "import sys, transformers\n"
        "from fused_clip.backbone.open_clip_import import load_open_clip\n"
        "assert load_open_clip().hf_model.transformers is transformers is sys.modules['transformers']"
    )


def test_a_notebook_gets_all_of_open_clip() -> None:
    run(
        "from fused_clip.backbone.open_clip_import import load_open_clip\n"
        "assert load_open_clip().hf_model.transformers is not None"
    )
