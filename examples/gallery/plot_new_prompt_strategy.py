"""
A new prompt strategy
=====================

You write a prompt strategy as one YAML and one function, and run it beside those of the package. The
table says whether the new words help the method, and whether they help zero-shot classification.
"""

# %%
# The strategy
# ------------
#
# A strategy is a function of the dataset. It returns a tuple of texts for each prompt, and the class that
# each prompt stands for. The photos of CIFAR-10 are tiny and blurry, and several texts of a prompt are
# averaged.
#
# The YAML lies in ``<folder>/prompt/<name>.yaml`` and names the function. Its other keys are arguments,
# which the command line can change. Code and YAML may lie in any folder; here it is below ``outputs``.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from statsmodels.stats.proportion import proportion_confint

import fused_clip

mine = Path("outputs", "my_prompts")
files = {
    "gallery_prompts.py": '''\
import numpy as np

from fused_clip.method.prompt import Prompts


def thumbnail(dataset, looks):
    """One prompt for each class: photos that look small or poor, averaged."""
    names = dataset.class_names
    texts = tuple(tuple(f"a {look} photo of a {name}" for look in looks) for name in names)
    index = np.arange(len(names))
    return Prompts(texts, names, target_of_class=index, prompt_of_target=index)
''',
    "prompt/thumbnail.yaml": """\
# Photos of few pixels.
_target_: gallery_prompts.thumbnail
looks: [blurry, tiny, pixelated, cropped]
""",
}
for name, text in files.items():
    (mine / name).parent.mkdir(parents=True, exist_ok=True)
    (mine / name).write_text(text)

# %%
# Check it
# --------
#
# ``check_option`` tests a strategy against the contract of its group, on small data of its own. It returns
# nothing, and raises an error that says what to change.

from fused_clip.testing import check_option

check_option("prompt=thumbnail", config_dir=mine)

# %%
# Run it beside the others
# ------------------------
#
# ``config_dir`` is the folder with your options. ``task`` is the package's "This is a {class}", ``none``
# is the baseline without text.

photos = [
    "dataset=cifar10",
    "backbone=open",
    "dataset.n_train=1000",
    "dataset.n_test=1000",
]
table = fused_clip.sweep(
    *photos,
    "prompt=none,task,thumbnail",
    "reference=[zero_shot,rotated_text]",
    "figures.enabled=false",
    config_dir=mine,
    verbose=False,
).set_index("prompt")
columns = {
    "test/accuracy": "the method",
    "reference/rotated_text_accuracy": "with rotated text",
    "reference/zero_shot_accuracy": "zero-shot",
    "words_in_fusion": "words in fusion",
}
table[list(columns)].rename(columns=columns).round(3)

# %%
# Two questions in one picture
# ----------------------------
#
# The method is given a prompt for each training image by its label. Zero-shot classification uses no
# label of an image, and its words are all that it has.

n_test = 1000
series = {"the method, labels pair the images": ("test/accuracy", "#0072B2", -0.1)}
series["zero-shot, no training label"] = (
    "reference/zero_shot_accuracy",
    "#E69F00",
    0.1,
)

fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
for label, (column, colour, shift) in series.items():
    accuracy = table[column].dropna()
    low, high = proportion_confint(accuracy * n_test, n_test, method="wilson")
    y = np.array([table.index.get_loc(name) for name in accuracy.index]) + shift
    errors = [accuracy - low, high - accuracy]
    ax.errorbar(accuracy, y, xerr=errors, fmt="o", color=colour, capsize=3, label=label)
ax.set_yticks(range(len(table)), [f"prompt={name}" for name in table.index])
ax.set_ylim(len(table) - 0.5, -0.5)
ax.set_xlabel("accuracy on the test images, 95 % interval")
ax.set_title("New words, with and without labels")
ax.legend(
    frameon=False,
    fontsize="small",
    loc="lower center",
    bbox_to_anchor=(0.45, 1.1),
    ncols=2,
)
plt.show()

# %%
new, task = table.loc["thumbnail"], table.loc["task"]
print(
    f"the method:  {new['test/accuracy'] - task['test/accuracy']:+.3f} against prompt=task"
)
column = "reference/zero_shot_accuracy"
print(f"zero-shot:   {new[column] - task[column]:+.3f} against prompt=task")
print(f"words in fusion of the new strategy: {new['words_in_fusion']:+.3f}")

# %%
# Change an argument
# ------------------
#
# The keys of your YAML are options like all others, so they can be swept. To choose among such values,
# hold out training images: a choice by the test images would make their accuracy too high.

looks = fused_clip.sweep(
    *photos,
    "prompt=thumbnail",
    "prompt.looks=[blurry],[blurry,tiny]",
    "reference=[zero_shot]",
    "figures.enabled=false",
    config_dir=mine,
    verbose=False,
)
looks[["prompt.looks", "test/accuracy", "reference/zero_shot_accuracy"]]

# %%
# What to do next
# ---------------
#
# - :doc:`../extend` has an example for each group: datasets, texts, pairings, fusions, clusterers,
#   classifiers, backbones.
# - A package that others install: copy the template of :doc:`../extend`.
# - Texts alone need no code: ``prompt=custom`` in :doc:`../extend`.
# - Why the words change one number and not the other: :doc:`plot_words_cancel`.
