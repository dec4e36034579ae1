"""
Sets of answers with a guarantee
================================

One answer may be wrong. This page gives sets of answers that have the true one in 90
% of cases, says which images are like none of the kinds, and shows how the guarantee
is withdrawn when the images differ from those it was made for.
"""

# %%
# A model with calibration images
# -------------------------------
#
# ``calibration.share`` holds some of the labelled images out of the whole method. The
# guarantee rests on them.

import textwrap

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image, ImageFilter, ImageOps

import fused_clip
from fused_clip.guarantee import Guarantee

words = [
    "dataset=cifar10",
    "backbone=open",
    "dataset.n_train=500",
    "dataset.n_test=500",
]
fast = ["references.enabled=false", "figures.enabled=false", "tracking=none"]
run = fused_clip.sweep(*words, "calibration.share=0.3", *fast, verbose=False)[
    "directory"
][0]
model = fused_clip.load_model(run)
guarantee = Guarantee.of(model, coverage=0.9, unknown=0.05)
print(
    f"{len(model.calibration)} calibration images, {len(model.names)} possible answers."
)

# %%
# Sets for new photos
# -------------------
#
# They are photos of the test split. Their labels are used only to count.

dataset = fused_clip.load_dataset(*words)
pixels = list(dataset.test.read())[:200]
truth = np.array(dataset.class_names)[dataset.test.labels[:200]]
rows = model.embed(pixels)
answered = guarantee.answer(rows)
records = pd.DataFrame(answered.records())
records[["target", "probability", "set", "set_size", "unknown"]].head()

# %%
# A sure answer has a set of one. The less the model knows, the more answers it has to
# name.

figure, axes = plt.subplots(3, 5, figsize=(7.2, 5.6), layout="constrained")
for line, size in zip(axes, (1, 2, 3), strict=True):
    own = records[records["set_size"] == size].head(5)
    for ax in line:
        ax.axis("off")
    for ax, (number, record) in zip(line, own.iterrows(), strict=False):
        ax.imshow(pixels[number], interpolation="nearest")
        ax.set_title(",\n".join(record["set"]), fontsize=8)
figure.suptitle("Sets of one, two and three answers", fontsize=10)
plt.show()

# %%
# Is the promise kept?
# --------------------
#
# The share of sets that have the true answer, at several levels. With so few
# calibration images it varies around the level: the page on guarantees says by how
# much, and measures it on many draws.

column = np.array([model.names.index(name) for name in truth])


def covered(rows, column, level):
    """Share of images whose set has the true answer."""
    sets = Guarantee.of(model, coverage=level).answer(rows).sets
    return float(sets[np.arange(len(column)), column].mean())


sizes = records["set_size"].value_counts().sort_index()
kept = covered(rows, column, 0.9)
print(f"At 90 %: {kept:.0%} of {len(truth)} sets have the true answer,")
print(f"{records['set_size'].mean():.2f} answers on average.")
print(f"Sets by size: {sizes.to_dict()}.")
print(f"The single answer is right in {(records['target'] == truth).mean():.0%}.")

# %%
# When the images differ
# ----------------------
#
# The promise is for images like the calibration images. A test compares both and
# withdraws it where they differ. Here the same photos are blurred and inverted.


def blurred(image):
    """As from a camera out of focus."""
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(1)))


def inverted(image):
    """As a negative."""
    return np.asarray(ImageOps.invert(Image.fromarray(image)))


sources = {
    "as taken": rows,
    "blurred": model.embed([blurred(image) for image in pixels]),
    "inverted": model.embed([inverted(image) for image in pixels]),
}
stated = {}
for name, own in sources.items():
    shift = guarantee.test_shift(own)
    stated[name] = {
        "guarantee": guarantee.stated(shift),
        "p of the test": round(shift.p, 4),
        "true answer in the set": round(covered(own, column, 0.9), 3),
        "called unknown": round(float(guarantee.answer(own).unknown.mean()), 3),
    }
pd.DataFrame(stated).T

# %%
# The test can miss a shift. Its line says how large a shift it finds with so many
# images: small ones need hundreds.

print(textwrap.fill(guarantee.test_shift(rows).sentence, 80))

# %%
# The coverage at several levels. Where the guarantee is withdrawn, the line is dashed.

levels = np.array([0.6, 0.7, 0.8, 0.9, 0.95])
figure, (left, right) = plt.subplots(
    1, 2, figsize=(7.2, 3.4), layout="constrained", width_ratios=[1, 2.1]
)
left.axis("off")
changes = {"as taken": lambda image: image, "blurred": blurred, "inverted": inverted}
for number, (name, change) in enumerate(changes.items()):
    for place in range(2):
        ax = left.inset_axes([place * 0.52, 0.69 - number * 0.35, 0.48, 0.27])
        ax.imshow(change(pixels[place + 1]), interpolation="nearest")
        ax.axis("off")
        ax.set_title(name if place == 0 else "", fontsize=8, pad=2)
right.plot(levels, levels, color="grey", linestyle=":", label="promised")
for (name, own), marker in zip(sources.items(), "os^", strict=True):
    measured = [covered(own, column, level) for level in levels]
    withdrawn = stated[name]["guarantee"] == "withdrawn"
    style = "--" if withdrawn else "-"
    label = f"{name}: withdrawn" if withdrawn else name
    right.plot(levels, measured, marker=marker, linestyle=style, label=label)
right.set_xlabel("coverage that is asked for")
right.set_ylabel("sets with the true answer")
right.set_ylim(0, 1.03)
right.legend(frameon=False, fontsize=8, loc="lower right")
right.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Images of something else
# ------------------------
#
# No answer is right for handwritten digits. ``unknown=0.05`` calls at most 5 % of
# images that do belong to a kind unknown; the share of others that it finds depends on
# how far they are from the training images.

digits = fused_clip.load_dataset("dataset=mnist_5k", "dataset.n_test=40")
strange = model.embed(list(digits.test.read()))
found = guarantee.answer(strange).unknown.mean()
print(f"Called unknown: {found:.0%} of {len(strange)} digits,")
print(f"{answered.unknown.mean():.0%} of {len(rows)} photos of these kinds.")

# %%
# Next
# ----
#
# - The same columns on the command line, and how many images each level needs:
#   :doc:`../guarantees`.
# - What each answer rests on: :doc:`plot_explained_answer`.
# - A page on which to try images of your own: :doc:`../app`.
