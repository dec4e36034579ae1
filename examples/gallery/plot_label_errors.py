"""
Finding wrong labels
====================

Some labels of every collection are wrong. This page lists the labels that the
evidence contradicts, with picture and suggestion, and measures how many wrong ones
you find by looking at the first of the list.
"""

# %%
# Photos with planted errors
# --------------------------
#
# 500 photos of CIFAR-10 stand in for yours. One label in twenty is replaced, by a
# similar kind, as people mistake them: a truck for an automobile, a cat for a dog.
# **These errors are planted**, so that they can be counted.

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

import fused_clip

similar = {
    "truck": "automobile",
    "automobile": "truck",
    "bird": "airplane",
    "airplane": "bird",
    "deer": "horse",
}
similar |= {
    "horse": "deer",
    "cat": "dog",
    "dog": "cat",
    "frog": "bird",
    "ship": "airplane",
}

dataset = fused_clip.load_dataset("dataset=cifar10", "dataset.n_test=500")
truth = np.array(dataset.class_names)[dataset.test.labels]
planted = np.random.default_rng(0).choice(len(truth), len(truth) // 20, replace=False)
labels = truth.copy()
labels[planted] = [similar[kind] for kind in truth[planted]]

folder = Path("outputs/labelled_photos")
folder.mkdir(parents=True, exist_ok=True)
names = [f"photo_{number:03}.png" for number in range(len(truth))]
for name, pixels in zip(names, dataset.test.read(), strict=True):
    Image.fromarray(pixels).save(folder / name)
table = pd.DataFrame({"path": names, "label": labels})
table.to_csv(folder / "photos.csv", index=False)

# %%
# A run, and its review
# ---------------------
#
# The review compares each label with evidence that leaves this label out: similar
# images, class means, a discriminant, clusters, and the words.

words = [
    "dataset=csv",
    f"dataset.path={folder}/photos.csv",
    "dataset.test_fraction=0.1",
]
fast = ["references.enabled=false", "figures.enabled=false", "tracking=none"]
run = fused_clip.sweep(*words, *fast, verbose=False)["directory"][0]
review = fused_clip.review_labels(run)
review[["id", "label", "suggested", "wrong"]].head(8)

# %%
# The first of the list
# ---------------------
#
# Look at each picture, and decide. A red frame says that this label was planted; you
# would not know.

wrong_names = {names[number] for number in planted}
suspects = review[review["label"] != review["suggested"]]
figure, axes = plt.subplots(3, 7, figsize=(7.2, 4.4), layout="constrained")
for ax, (_, row) in zip(axes.flat, suspects.iterrows(), strict=False):
    ax.imshow(plt.imread(folder / row["id"]), interpolation="nearest")
    ax.set_title(f"{row['label']}?\n→ {row['suggested']}", fontsize=8)
    ax.set(xticks=[], yticks=[])
    for side in ax.spines.values():
        side.set(
            color="#d62728" if row["id"] in wrong_names else "#bbbbbb", linewidth=3
        )
plt.show()

# %%
# How many errors are found?
# --------------------------
#
# The curve counts planted errors among the labels that you have looked at, from the top
# of the list. Errors of CIFAR-10 itself count as false alarms.

hits = review["id"].isin(wrong_names).to_numpy()
looked = np.arange(1, len(hits) + 1)
found = hits.cumsum()
figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
ax.plot(looked, found, label="in the order of the review")
ax.plot(
    looked,
    looked * found[-1] / len(hits),
    color="grey",
    linestyle="--",
    label="in any order",
)
ax.plot(
    [0, found[-1], len(hits)],
    [0, found[-1], found[-1]],
    color="grey",
    linestyle=":",
    label="at best",
)
ax.set_xlabel(f"labels looked at, of {len(hits)}")
ax.set_ylabel(f"planted errors found, of {found[-1]}")
ax.legend(frameon=False, loc="lower right")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

tenth = len(hits) // 10
print(f"Among the first {found[-1]} labels, {found[found[-1] - 1]} are planted errors.")
print(f"A tenth of the labels, {tenth}, has {found[tenth - 1]} of all {found[-1]};")
print(f"by chance it has {found[-1] / 10:.0f}.")

# %%
# The column ``wrong`` is the probability that a label is wrong. It is an estimate: go
# by the order where errors are between similar kinds, and look at the picture before
# you change a label.

expected = review["wrong"].sum()
print(f"The review expects {expected:.0f} wrong labels; {found[-1]} were planted.")

# %%
# Next
# ----
#
# - The same with a page of pictures, for a run of yours: :doc:`../review`. It has the
#   measurements on larger sets, too.
# - Correct the table, and run again: :doc:`../own-data`.
