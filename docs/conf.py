"""Settings of the site, which ``make docs-site`` builds.

The source folder is the whole repository: links between documents work on GitHub and on the site alike.
"""

import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from docutils import nodes
from docutils.parsers.rst.states import Inliner
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.domains.python import PythonDomain
from sphinx.writers.html5 import HTML5Translator
from sphinx_gallery.sorting import ExplicitOrder

import fused_clip

project = "fused_clip"
author = "The fused_clip contributors"
project_copyright = author
release = version = fused_clip.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
root_doc = "docs/index"
include_patterns = [
    "docs/**.md",
    "docs/**.rst",
    "examples/plugin/README.md",
    "experiments/*/README.md",
    "experiments/benchmarks/results/*.md",
    "fused_clip/assets/*/MODEL_CARD.md",
    "CHANGELOG.md",
    "CODE_OF_CONDUCT.md",
    "CONTRIBUTING.md",
]
exclude_patterns = [".*", "build", "outputs", "docs/root", "docs/templates"]
templates_path = ["docs/root", "docs/templates"]

myst_enable_extensions = ["colon_fence", "dollarmath", "linkify"]
myst_linkify_fuzzy_links = False
myst_heading_anchors = 3

autosummary_generate = True
autodoc_typehints = "none"  # signatures would be wider than a page; docstrings give shapes and ranges
autodoc_member_order = "bysource"
autodoc_default_options = {
    "members": True,
    "exclude-members": "set_fit_request, set_predict_request, set_score_request, set_transform_request",
}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
default_role = "name"
highlight_language = "bash"

html_theme = "pydata_sphinx_theme"
html_title = "fused_clip"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_extra_path = ["root", "../llms.txt"]
html_show_sourcelink = False
html_math_renderer = "mathml"
html_theme_options = {
    "show_prev_next": True,
    "navbar_align": "left",
    "header_links_before_dropdown": 8,
    "secondary_sidebar_items": ["page-toc", "sg_download_links"],
    "footer_start": ["copyright"],
    "footer_end": [],
}
html_sidebars = {f"docs/{page}": [] for page in ("index", "start", "choose", "faq")}  # no pages below them

copybutton_exclude = ".linenos, .gp, .go"

LEARNING = (  # own photos first, then what to ask of the answers, then research and extensions
    "plot_own_photos.py",
    "plot_label_free_clusters.py",
    "plot_constrained_answers.py",
    "plot_new_class_by_a_sentence.py",
    "plot_guaranteed_sets.py",
    "plot_explained_answer.py",
    "plot_label_errors.py",
    "plot_choose_a_method.py",
    "plot_audit.py",
    "plot_words_cancel.py",
    "plot_sweep.py",
    "plot_mlflow_pandas.py",
    "plot_new_prompt_strategy.py",
    "plot_new_classifier.py",
)
sphinx_gallery_conf = {
    "examples_dirs": ["examples/gallery"],
    "gallery_dirs": ["docs/gallery"],
    "filename_pattern": r"/plot_\w+\.py",
    "download_all_examples": False,
    "remove_config_comments": True,
    "show_memory": False,
    "write_computation_times": False,
    "min_reported_time": 0,
    "abort_on_example_error": True,
    "matplotlib_animations": False,
    "within_subsection_order": ExplicitOrder([*LEARNING, "*"]),
    "notebook_images": False,
}


_WITH_PARAMETERS = {"Parameters", "Other Parameters", "Attributes"}


def setup(app: Sphinx) -> None:
    """Add a renderer of formulas that needs no script from elsewhere, and the role of names in docstrings."""
    app.connect("source-read", _link_gallery)
    app.connect("build-finished", _copy_markdown)
    app.connect("autodoc-process-docstring", _describe_parameters, priority=400)  # before napoleon's 500
    app.add_html_math_renderer("mathml", (_inline_formula, None), (_formula, None))
    app.add_role("name", _name)


def _link_gallery(app: Sphinx, name: str, content: list[str]) -> None:
    """Lead links to the gallery's scripts, which GitHub shows, to the pages that are made of them."""
    content[0] = re.sub(r"\]\((?:\.\./)+examples/gallery/(\w+)\.py", r"](/docs/gallery/\1.rst", content[0])
    content[0] = re.sub(r"\]\((?:\.\./)*examples/gallery\)", "](/docs/gallery/index.rst)", content[0])


def _copy_markdown(app: Sphinx, error: Exception | None) -> None:
    """Put the documents of ``llms.txt`` where it leads, in the site as in the repository."""
    overview = Path(app.srcdir, "llms.txt").read_text(encoding="utf-8")
    for name in [] if error else re.findall(r"\]\((\S+\.md)\)", overview):
        copy = Path(app.outdir, name)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(Path(app.srcdir, name), copy)


def _describe_parameters(
    app: Sphinx, what: str, name: str, owner: object, options: object, lines: list[str]
) -> None:
    """Make descriptions of what follows the colons of parameters, which numpydoc takes for types."""
    section, described = "", []
    for line, below in pairwise([*lines, ""]):
        section = line if below and not below.strip("-") else section
        parameter = re.fullmatch(r"(\S[^:]*) : (.+)", line) if section in _WITH_PARAMETERS else None
        described += [parameter[1], f"    {parameter[2]}"] if parameter else [line]
    lines[:] = described


def _inline_formula(translator: HTML5Translator, node: nodes.Element) -> NoReturn:
    translator.body.append(convert(node.astext()))
    raise nodes.SkipNode


def _formula(translator: HTML5Translator, node: nodes.Element) -> NoReturn:
    translator.body.append(f'<div class="formula">{convert(node.astext(), display="block")}</div>')
    raise nodes.SkipNode


def _name(
    role: str, source: str, text: str, line: int, inliner: Inliner, *_: object
) -> tuple[list[nodes.Node], list[nodes.system_message]]:
    """Link a class or a dotted name; names of parameters, which many classes share, are code alone."""
    if text[:1].isupper() or "." in text:
        return PythonDomain.roles["obj"]("py:obj", source, text, line, inliner)
    return [nodes.literal(source, text)], []
