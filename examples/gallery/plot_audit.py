"""
The audit: what does the text contribute?
=========================================

A run computes the accuracy of its method and of references: the same method without text or with
meaningless text, and methods that need no clusters. This page draws them with intervals, says which of
them used labels, and tests each difference on the same test images.
"""

# %%
# One run with its references
# ---------------------------
#
# The photos are a part of CIFAR-10. The training of the backbone ``open`` had none of them, but labels of
# other images of some of these classes. The run is the default method: each training image is fused with
# the prompt of its label, and the clusters of the fused rows classify.

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from statsmodels.stats.proportion import proportion_confint

import fused_clip

photos = ["dataset=cifar10", "backbone=open", "dataset.n_train=1000", "dataset.n_test=1000"]
run = fused_clip.sweep(*photos, "prompt=task", "figures.enabled=false", verbose=False).iloc[0]
facts = json.loads(Path(run["directory"], "result.json").read_text())
print(f"{facts['tags']['n_train']} training and {facts['tags']['n_test']} test images")
print(f"A part of the method saw training labels: {facts['uses_labels']}")
print(f"Labels in the backbone's training: {facts['tags']['classes_seen']}")

# %%
# Who used labels?
# ----------------
#
# A number that used labels says nothing about a task without them. ``fused_clip.references()`` says what
# each reference is, and the file ``predictions.parquet`` of the run has the answers of all of them.

predictions = pd.read_parquet(Path(run["directory"], "predictions.parquet")).query("split == 'test'")
known = fused_clip.references()
names = [name for name in known.index if f"reference/{name}" in predictions]

audit = known.loc[names].reset_index(drop=True)
audit["uses_labels"] = audit["uses_labels"].replace("as the run", "yes" if facts["uses_labels"] else "no")
right = pd.DataFrame({name: predictions[f"reference/{name}"] == predictions["target"] for name in names})
right.columns = audit["title"]
right["the run"] = predictions["predicted"] == predictions["target"]
own = {"title": "the run", "explanation": "task prompts, paired by labels", "uses_labels": "yes"}
audit = pd.concat([audit, pd.DataFrame([own])]).set_index("title")
audit["accuracy"] = right.mean()
audit = audit.sort_values("accuracy")
pd.set_option("display.max_colwidth", 100)
audit.round(3)

# %%
# Accuracy with intervals
# -----------------------
#
# The lines are 95 % Wilson intervals for other test images of the same kind.

labels = {"yes": "#0072B2", "for the vote": "#E69F00", "no": "#009E73"}
titles = {"yes": "labels decide", "for the vote": "labels name the clusters", "no": "no training label"}
low, high = proportion_confint(right[audit.index].sum().to_numpy(), len(right), method="wilson")

fig, ax = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
for uses, colour in labels.items():
    rows = np.flatnonzero(audit["uses_labels"] == uses)
    ax.barh(rows, audit["accuracy"].iloc[rows], color=colour, label=titles[uses], height=0.7)
accuracy = audit["accuracy"].to_numpy()
ax.errorbar(
    accuracy, range(len(audit)), xerr=[accuracy - low, high - accuracy], fmt="none", ecolor="black", capsize=3
)
ax.set_yticks(range(len(audit)), audit.index)
ax.set_xlabel("accuracy on the test images, 95 % interval")
ax.set_xlim(0, 1)
ax.set_title("The run and its references")
ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.1), ncols=3, frameon=False, fontsize="small")
plt.show()

# %%
# Differences on the same images
# ------------------------------
#
# All methods answer the same test images, so their difference is known better than each accuracy. The
# interval is that of the mean of paired differences. Text with a random rotation keeps its geometry and
# loses its meaning: if the run is not ahead of it, the words do not matter, only that prompts differ.

differences = right.drop(columns="the run").astype(int).rsub(right["the run"].astype(int), axis=0)
mean = differences.mean().sort_values()
half = 1.96 * differences[mean.index].std() / np.sqrt(len(differences))

fig, ax = plt.subplots(figsize=(6.4, 3.2), layout="constrained")
ax.axvline(0, color="0.6", linewidth=1)
ax.errorbar(mean, range(len(mean)), xerr=half, fmt="o", color="#0072B2", capsize=3)
ax.set_yticks(range(len(mean)), mean.index)
ax.set_ylim(-0.6, len(mean) - 0.4)
ax.set_xlabel("accuracy of the run minus that of the reference, 95 % interval")
ax.set_title("Right of the line: the run is ahead")
plt.show()

# %%
# In words:

for title in ("image only", "rotated text", "zero-shot", "linear probe"):
    d, h = mean[title], half[title]
    verdict = "ahead of" if d > h else "behind" if d < -h else "not told apart from"
    print(f"The run is {verdict} {title}: {d:+.3f} [{d - h:+.3f}, {d + h:+.3f}]")

# %%
# The gain against *image only* is that of the labels that pair the images, as long as *rotated text* does
# as well and *class means* or a *linear probe* make as much of the same labels.
#
# What to do next
# ---------------
#
# - :doc:`../metrics` defines every number, ``words_in_fusion`` and ``text_in_all`` among them.
# - :doc:`../method` derives why words may cancel, and the example :doc:`plot_words_cancel` shows it.
# - :doc:`../findings` has the same audit on seven sets, two backbones and five seeds.
