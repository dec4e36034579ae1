"""
Why an answer was given
=======================

A name and a probability do not say what an answer rests on. This page shows the
training images next to a photo, what the cluster of its answer consists of, and how
much of the answer comes from the words.
"""

# %%
# A model, and photos that it never saw
# -------------------------------------

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

import fused_clip
from fused_clip.predict.explanation import Explainer

words = [
    "dataset=cifar10",
    "backbone=open",
    "dataset.n_train=500",
    "dataset.n_test=500",
]
fast = ["references.enabled=false", "figures.enabled=false", "tracking=none"]
words += [
    "pairing=zero_shot"
]  # clusters by image and nearest sentence; their labels name them
run = fused_clip.sweep(*words, *fast, verbose=False)["directory"][0]
model = fused_clip.load_model(run)
explainer = Explainer.of(run, model)

dataset = fused_clip.load_dataset(*words)
pixels = list(dataset.test.read())[:60]
truth = np.array(dataset.class_names)[dataset.test.labels[:60]]
rows = model.embed(pixels)
predictions = model.predict_embeddings(rows)
whys = explainer.explain(rows, predictions)

# %%
# Four photos: the surest answer, the surest other answer, and the two least sure ones.

order = np.argsort(-predictions.confidences)
surest = order[0]
other = next(
    row for row in order if predictions.answers[row] != predictions.answers[surest]
)
chosen = [surest, other, *order[-2:]]
pd.DataFrame(
    {
        "answer": predictions.targets[chosen],
        "probability": predictions.confidences[chosen].round(2),
        "runner-up": np.array(model.names)[predictions.runners_up[chosen]],
        "it is": truth[chosen],
        "nearest images": [
            ", ".join(near.target for near in whys[row].neighbors) for row in chosen
        ],
        "prompt": [whys[row].prompt for row in chosen],
    }
)

# %%
# Neighbours and composition
# --------------------------
#
# Left the photo, then the three most similar training images with their labels and
# cosines. Right the shares of the labels in the cluster that the answer comes from.


def picture(near):
    """The training image of a neighbour."""
    return Image.open(io.BytesIO(explainer.thumbnail(near.position)))


figure, axes = plt.subplots(
    4, 5, figsize=(7.2, 7), layout="constrained", width_ratios=[1, 1, 1, 1, 1.2]
)
for line, row in zip(axes, chosen, strict=True):
    why = whys[row]
    line[0].imshow(pixels[row], interpolation="nearest")
    answer = f"{predictions.targets[row]} ({predictions.confidences[row]:.2f})"
    line[0].set_title(f"{answer}\nit is: {truth[row]}", fontsize=8, fontweight="bold")
    for ax, near in zip(line[1:4], why.neighbors, strict=True):
        ax.imshow(picture(near), interpolation="nearest")
        ax.set_title(f"{near.target}\n{near.similarity:.2f}", fontsize=8)
    for ax in line[:4]:
        ax.axis("off")
    shares = list(why.composition.items())[:4]
    bars = line[4].barh(
        [name for name, _ in shares], [share for _, share in shares], height=0.5
    )
    line[4].bar_label(bars, fmt="{:.0%}", fontsize=7, padding=2)
    line[4].set(xlim=(0, 1.45), ylim=(3.5, -0.5), xticks=[])
    line[4].tick_params(axis="y", labelsize=8, length=0)
    line[4].spines[["top", "right", "bottom"]].set_visible(False)
    line[4].set_title("cluster", fontsize=8)
plt.show()

# %%
# The prompt's share
# ------------------
#
# The lead of an answer over the runner-up comes from the image and from the words.
# ``prompt_share`` is the part of the words: 0 where they make no difference, 1 where
# they alone decide, negative where they speak for the runner-up. The default classifier
# compares with clusters that share one sentence, so that the words cancel. Three
# others, on the same training images:

classifiers = ["constrained_centroid", "zero_shot", "tip_adapter", "linear_probe"]
table = fused_clip.sweep(
    *words, *fast, f"classifier={','.join(classifiers)}", verbose=False
)
shares = {}
for name, directory in zip(table["classifier"], table["directory"], strict=True):
    one = fused_clip.load_model(directory, embeddings_only=True)
    found = Explainer.of(directory, one).explain(rows, one.predict_embeddings(rows))
    shares[name] = [why.prompt_share for why in found if why.prompt_share is not None]

figure, ax = plt.subplots(figsize=(6.4, 2.6), layout="constrained")
drawn = {name: values for name, values in shares.items() if values}
for height, values in enumerate(drawn.values()):
    spread = np.random.default_rng(0).uniform(-0.15, 0.15, len(values))
    ax.plot(values, height + spread, "o", markersize=4, alpha=0.5)
ax.axvline(0, color="grey", linewidth=0.8)
ax.set_yticks(range(len(drawn)), drawn)
ax.set(xlim=(-1.05, 1.05), ylim=(len(drawn) - 0.5, -0.5))
ax.set_xlabel(f"prompt's share of the answer, for {len(rows)} photos")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

for name in [name for name in shares if name not in drawn]:
    print(f"{name}: no share, because it has no words.")

# %%
# Next
# ----
#
# - The same columns for a folder of photos, and a page to click: :doc:`../explain`.
# - Why the words cancel: :doc:`../method`.
# - Which training labels may be wrong: :doc:`plot_label_errors`.
