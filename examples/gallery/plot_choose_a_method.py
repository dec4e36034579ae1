"""
Choosing a method
=================

You get a learning curve: accuracy of several methods from one label a class to all of them. And you let
``method=auto`` choose among its candidates on the training images alone, and read the reason of its
choice.
"""

# %%
# A learning curve
# ----------------
#
# ``labels.per_class=4`` lets a run use the labels of four images of each class. All other training images
# stay, without labels. A comma makes a sweep.

import json
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from statsmodels.stats.proportion import proportion_confint

import fused_clip

photos = [
    "dataset=cifar10",
    "backbone=open",
    "dataset.n_train=1000",
    "dataset.n_test=1000",
]
quick = ["references.enabled=false", "figures.enabled=false"]
budgets = [*photos, *quick, "labels.per_class=1,4,16,64"]

few = fused_clip.sweep(
    *budgets, "classifier=constrained_centroid,clap,gda", verbose=False
)
few["labels.per_class"] = few["labels.per_class"].astype(int)
few.pivot(index="classifier", columns="labels.per_class", values="test/accuracy").round(
    3
)

# %%
# Zero-shot classification needs the names of the classes and no label of an image.

no_labels = [
    "labels.per_class=0",
    "pairing=zero_shot",
    "vote=prompt",
    "classifier=zero_shot",
]
zero_shot = fused_clip.sweep(*photos, *quick, *no_labels, verbose=False)[
    "test/accuracy"
].iloc[0]
print(f"zero-shot, no label: {zero_shot:.3f}")

# %%
# Let the run choose
# ------------------
#
# ``method=auto`` compares its candidates on the training images and sees no test image: by
# cross-validation where the labels suffice, by a rule where one label a class can't be held out. The
# choice and its reason are facts of the run.

auto = fused_clip.sweep(*budgets, "method=auto", verbose=False)
auto["labels.per_class"] = auto["labels.per_class"].astype(int)
tags = [
    json.loads(Path(run, "result.json").read_text())["tags"]
    for run in auto["directory"]
]
auto["chosen"] = [one["method_chosen"] for one in tags]
for budget, one in zip(auto["labels.per_class"], tags, strict=True):
    line = f"labels.per_class={budget}: {one['method_chosen']}, {one['method_reason']}"
    print(textwrap.fill(line, 80, subsequent_indent="    "))

# %%
# Each candidate has a score there, too. It is missing where the candidate was not compared.

scores = (
    auto.set_index("labels.per_class")
    .filter(like="choice/")
    .rename(columns=lambda name: name[7:])
)
scores.round(3).T

# %%
# The picture
# -----------
#
# The test images draw this picture, and no choice was made by them. The lines are 95 % intervals for
# other test images. Another draw of the labelled images (``labels.seed``) moves the points as well.

lines = dict(iter(few.groupby("classifier"))) | {"auto": auto}
styles = {
    "constrained_centroid": ("the default, fused clusters", "#0072B2", "o-"),
    "clap": ("CLAP", "#E69F00", "s-"),
    "gda": ("discriminant analysis", "#CC79A7", "D-"),
    "auto": ("method=auto", "black", "*--"),
}
fig, ax = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
ax.axhline(zero_shot, color="0.5", linestyle=":", label="zero-shot, no label")
for shift, (name, (title, colour, style)) in enumerate(styles.items()):
    rows = lines[name].sort_values("labels.per_class")
    accuracy = rows["test/accuracy"].to_numpy()
    low, high = proportion_confint(accuracy * 1000, 1000, method="wilson")
    errors = [accuracy - low, high - accuracy]
    x = np.arange(len(rows)) + 0.07 * (shift - 1.5)
    ax.errorbar(
        x,
        accuracy,
        yerr=errors,
        fmt=style,
        color=colour,
        linewidth=1.2,
        capsize=2,
        label=title,
    )
ax.set_xticks(range(len(rows)), rows["labels.per_class"])
ax.set_xlabel("labels of each class")
ax.set_ylabel("accuracy on 1,000 test images")
ax.set_title("Accuracy over the number of labels")
ax.legend(frameon=False, fontsize="small", loc="upper left")
plt.show()

# %%
# What to do next
# ---------------
#
# - :doc:`../methods` says which method to use for what you have, how ``method=auto`` decides, and how to
#   name candidates of your own.
# - A classifier of your own: :doc:`plot_new_classifier`.
# - Several draws of the labels, with mean and deviation: :doc:`plot_sweep`.
