"""
Your own photos with ten labels
===============================

You have a few hundred photos, and you have labelled ten of them, one of each kind.
This page answers for all the others with a probability, and shows which answers to
look at first.
"""

# %%
# A folder of photos, and a table
# -------------------------------
#
# 310 photos of CIFAR-10 stand in for yours. They are written as PNG files, and a table
# lists them. Ten rows of the table have a label, one for each kind; the other labels
# are empty. The true ones are kept aside and counted at the end.

import json
import textwrap
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from PIL import Image

import fused_clip

dataset = fused_clip.load_dataset("dataset=cifar10", "dataset.n_test=310")
kinds = np.array(dataset.class_names)
truth = kinds[dataset.test.labels]
first_of_kind = {kind: int(np.flatnonzero(truth == kind)[0]) for kind in kinds}

folder = Path("outputs/own_photos")
folder.mkdir(parents=True, exist_ok=True)
paths = [folder / f"photo_{number:03}.png" for number in range(len(truth))]
for path, pixels in zip(paths, dataset.test.read(), strict=True):
    Image.fromarray(pixels).save(path)

table = pd.DataFrame({"path": [path.name for path in paths], "label": ""})
for kind, number in first_of_kind.items():
    table.loc[number, "label"] = kind
table.to_csv(folder / "photos.csv", index=False)
table.head(8)

# %%
# One run
# -------
#
# ``dataset.labels=some`` learns from all photos, uses the labels that there are, and
# answers for the rest. The words of the prompts are the labels of your table.
# ``method=auto`` chooses the method on these photos alone.

words = [
    "dataset=csv",
    f"dataset.path={folder}/photos.csv",
    "dataset.labels=some",
    "method=auto",
]
fast = ["references.enabled=false", "figures.enabled=false", "tracking=none"]
run = Path(fused_clip.sweep(*words, *fast, verbose=False)["directory"][0])

facts = json.loads((run / "result.json").read_text())["tags"]
print("Method:", facts["method_chosen"])
print(textwrap.fill(f"Reason: {facts['method_reason']}", 80))

# %%
# Answers with probabilities
# --------------------------
#
# The saved model answers for any photo: these, or those that you take tomorrow.

model = fused_clip.load_model(run)
unlabelled = np.flatnonzero(table["label"] == "")
probabilities = model.predict_proba([paths[number] for number in unlabelled])
answers = pd.DataFrame(
    {
        "photo": unlabelled,
        "answer": np.array(model.names)[probabilities.argmax(axis=1)],
        "probability": probabilities.max(axis=1).round(3),
    }
).sort_values("probability", ascending=False)
answers.head()

# %%
# The most certain answers of each kind, below the photo that you labelled:


def show(ax, number, title):
    """Draw a photo without axes."""
    ax.imshow(plt.imread(paths[number]), interpolation="nearest")
    ax.set_title(title, fontsize=7.5, pad=2)
    ax.axis("off")


rows = 5
figure, axes = plt.subplots(
    rows + 1, len(kinds), figsize=(7.2, 5.4), layout="constrained"
)
for column, kind in zip(axes.T, kinds, strict=True):
    show(column[0], first_of_kind[kind], kind)
    best = answers[answers["answer"] == kind].head(rows)
    for ax in column[1:]:
        ax.axis("off")
    for ax, (_, row) in zip(column[1:], best.iterrows(), strict=False):
        show(ax, row["photo"], f"{row['probability']:.2f}")
figure.suptitle("Labelled photo, and the most certain answers below it", fontsize=10)
plt.show()

# %%
# Where to look first
# -------------------
#
# Sort by probability, and begin at the other end: check these, label some, and run
# again.

least = answers.tail(16).iloc[::-1]
figure, axes = plt.subplots(2, 8, figsize=(7.2, 2.7), layout="constrained")
for ax, (_, row) in zip(axes.flat, least.iterrows(), strict=True):
    show(ax, row["photo"], f"{row['answer']}\n{row['probability']:.2f}")
figure.suptitle("The least certain answers", fontsize=10)
plt.show()

# %%
# Was it right?
# -------------
#
# With labels of your own you stop here. The labels that were kept aside tell how good
# the answers are. They had no part in anything above.

right = answers["answer"].to_numpy() == truth[answers["photo"]]
thirds = np.array_split(right, 3)
print(f"{right.mean():.0%} of {len(right)} answers are right.")

figure, ax = plt.subplots(figsize=(5.6, 2.4), layout="constrained")
parts = ["most certain third", "middle third", "least certain third"]
bars = ax.barh(parts, [part.mean() for part in thirds])
ax.bar_label(bars, fmt="{:.0%}", padding=3)
ax.invert_yaxis()
ax.set_xlim(0, 1.12)
ax.xaxis.set_major_formatter("{x:.0%}")
ax.set_xlabel("answers that are right")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# What words and labels add
# -------------------------
#
# What did the labels add, and what did the words? The same photos with ten labels and
# no word, with words and no label, and with both. Embeddings are stored, so that each
# of these takes a moment.

others = {
    "labels alone": ["prompt=none", "classifier=nearest_class_mean"],
    "words alone": [
        "labels.per_class=0",
        "pairing=zero_shot",
        "vote=prompt",
        "classifier=zero_shot",
    ],
    "words and all photos": ["labels.per_class=0", "method=auto"],
}
accuracy = {}
for name, parts in others.items():
    other = fused_clip.sweep(*words[:3], *parts, *fast, verbose=False)["directory"][0]
    found = pd.read_parquet(Path(other) / "predictions.parquet").query(
        "split == 'test'"
    )
    accuracy[name] = float((found["predicted"].to_numpy() == truth[unlabelled]).mean())
accuracy["words, all photos and labels"] = float(right.mean())
pd.Series(accuracy, name="right").to_frame().style.format("{:.1%}")

# %%
# Where a kind has a name that everybody knows, the words do most of the work, and one
# label a kind adds little. The image tower of ``backbone=open`` never saw CIFAR-10, but
# other photos of most of these kinds, with labels:

print(textwrap.fill(facts["classes_seen"], 80))

# %%
# Where names say nothing, such as those of your pets, only labels can tell kinds apart.

# %%
# Next
# ----
#
# - Put your own paths and labels into the table: :doc:`../own-data`.
# - Label the least certain photos, run again, and compare: :doc:`../methods` says which
#   method fits how many labels.
# - Answer for a folder of new photos on the command line, with a page of pictures:
#   :doc:`../models`.
