"""
A new kind, by a sentence
=========================

Your model knows nine kinds, and photos of a tenth arrive. This page adds the tenth by
a sentence, without a photo of it and without training, and counts what is gained and
what it costs.
"""

# %%
# A model of nine kinds
# ---------------------
#
# Ships are left out: the model sees 450 photos of the other kinds of CIFAR-10.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fused_clip

photos = ["dataset=cifar10", "backbone=open"]
kinds = "airplane,automobile,bird,cat,deer,dog,frog,horse,truck"
words = [
    *photos,
    f"dataset.class_names=[{kinds}]",
    "dataset.n_train=450",
    "dataset.n_test=90",
]
fast = ["references.enabled=false", "figures.enabled=false", "tracking=none"]
model = fused_clip.load_model(
    fused_clip.sweep(*words, *fast, verbose=False)["directory"][0]
)

# %%
# The tenth
# ---------
#
# Write the sentence in the style of the model's prompts.

more = model.with_target("ship", "This is a ship")
print(f"{len(model.names)} answers before, {len(more.names)} after:")
print(", ".join(more.names))

# %%
# Photos of ten kinds
# -------------------
#
# 200 test photos, of which a tenth shows ships. Before, each ship has to be something
# else.

dataset = fused_clip.load_dataset(*photos, "dataset.n_test=200")
pixels = list(dataset.test.read())
truth = np.array(dataset.class_names)[dataset.test.labels]
rows = model.embed(pixels)
before = model.predict_embeddings(rows).targets
after = more.predict_embeddings(rows).targets

ships = np.flatnonzero(truth == "ship")
figure, axes = plt.subplots(2, 6, figsize=(7.2, 3.3), layout="constrained")
for ax, row in zip(axes.flat, ships, strict=False):
    ax.imshow(pixels[row], interpolation="nearest")
    ax.set_title(f"{before[row]}\n→ {after[row]}", fontsize=8)
    ax.axis("off")
plt.show()

# %%
# Gain and cost
# -------------
#
# The labels of the test photos are used only for this count.

is_ship = truth == "ship"
counted = {
    name: {
        f"ships ({is_ship.sum()})": (answers == truth)[is_ship].mean(),
        f"other kinds ({(~is_ship).sum()})": (answers == truth)[~is_ship].mean(),
        f"all ({len(truth)})": (answers == truth).mean(),
    }
    for name, answers in {"before": before, "after": after}.items()
}
pd.DataFrame(counted).style.format("{:.1%}")

# %%
# What was taken for a ship, and is none:

taken = np.flatnonzero((after == "ship") & ~is_ship)
print(f"{len(taken)} photos of other kinds:")
print(pd.Series(truth[taken]).value_counts().to_dict())

# %%
# The new answer has no calibrated probability and no guarantee: there is no photo of it
# to measure them on. Once you have a few, label them and run again.

# %%
# Next
# ----
#
# - The same on a local page, with photos that you drop on it: :doc:`../app`.
# - A run with a few labels of the new kind: :doc:`../own-data` and :doc:`../methods`.
