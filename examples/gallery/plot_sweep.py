"""
A sweep from Python and its table
=================================

One call runs every combination of some options and returns a pandas DataFrame with a row for each cell.
This page turns it into a table of means and deviations over seeds, a picture of every number, and a
heat map.
"""

# %%
# The sweep
# ---------
#
# A word with commas is swept. The photos are a part of CIFAR-10, of which eight a class have a label that
# may be used. With ``labels.seed=${seed}`` every seed also draws other photos to be labelled, so that the
# deviation has both. ``dataset.seed=${seed}`` would draw other photos. Images are embedded once, whatever
# the number of cells.

import matplotlib.pyplot as plt
import numpy as np

import fused_clip

words = [
    "dataset=cifar10",
    "backbone=open",
    "dataset.n_train=1000",
    "dataset.n_test=1000",
    "labels.per_class=8",
    "prompt=none,task",
    "clusters_per_target=1,2,4",
    "seed=0,1,2",
    "labels.seed=${seed}",
    "references.enabled=false",
    "figures.enabled=false",
]
table = fused_clip.sweep(*words, verbose=False)
axes = ["prompt", "clusters_per_target"]
table["clusters_per_target"] = table["clusters_per_target"].astype(int)
print(f"{len(table)} cells, {table['error'].ne('').sum()} of them failed")
table[[*axes, "seed", "test/accuracy", "train/ari"]].head()

# %%
# Mean and deviation over seeds
# -----------------------------

summary = (
    table.groupby(axes)[["test/accuracy", "train/ari"]].agg(["mean", "std"]).round(3)
)
summary

# %%
# A pivot has one axis in the rows and another in the columns:

accuracy = table.pivot_table("test/accuracy", "prompt", "clusters_per_target")
accuracy.round(3)

# %%
# Every number in a picture
# -------------------------
#
# The small marks are seeds, the large ones are means with the deviation over seeds. The test images are
# the same for all, so the differences are known better than the numbers.

styles = {"none": ("#E69F00", "s", -0.06), "task": ("#0072B2", "o", 0.06)}
numbers = sorted(table["clusters_per_target"].unique())
fig, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
for prompt, (colour, marker, shift) in styles.items():
    rows = table[table["prompt"] == prompt]
    ax.plot(
        rows["clusters_per_target"].map(numbers.index) + shift,
        rows["test/accuracy"],
        marker,
        color=colour,
        markersize=3,
    )
    statistics = rows.groupby("clusters_per_target")["test/accuracy"].agg(
        ["mean", "std"]
    )
    x = np.arange(len(numbers)) + shift
    style = {
        "fmt": marker,
        "color": colour,
        "markersize": 9,
        "markerfacecolor": "none",
        "capsize": 3,
    }
    ax.errorbar(
        x, statistics["mean"], statistics["std"], label=f"prompt={prompt}", **style
    )
ax.set_xticks(range(len(numbers)), numbers)
ax.set_xlabel("clusters for each target")
ax.set_ylabel("accuracy on test images")
ax.set_title("Three draws of eight labels a class")
ax.legend(frameon=False, fontsize="small", loc="center right")
plt.show()

# %%
# A heat map
# ----------

fig, ax = plt.subplots(figsize=(6.4, 2.4), layout="constrained")
image = ax.imshow(accuracy, cmap="cividis", aspect="auto")
middle = (accuracy.to_numpy().min() + accuracy.to_numpy().max()) / 2
for (row, column), value in np.ndenumerate(accuracy.to_numpy()):
    colour = "white" if value < middle else "black"
    ax.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour)
ax.set_xticks(range(accuracy.shape[1]), accuracy.columns)
ax.set_yticks(range(len(accuracy)), [f"prompt={prompt}" for prompt in accuracy.index])
ax.set_xlabel("clusters for each target")
ax.set_title("Mean accuracy over seeds")
fig.colorbar(image, label="accuracy")
plt.show()

# %%
# The same call again
# -------------------
#
# Finished cells are found by a hash of all that they depend on. With one seed more, only the new cells
# would run.

again = fused_clip.sweep(*words, verbose=False)
same = again["test/accuracy"].equals(table["test/accuracy"])
print(
    f"{again['reused_from'].ne('').sum()} of {len(again)} cells were reused; equal numbers: {same}"
)

# %%
# What to do next
# ---------------
#
# - :doc:`../sweeps` has the grammar of sweeps, the files of a run, and launchers for several cores, Slurm
#   and Ray.
# - Ask MLflow for the same runs: :doc:`plot_mlflow_pandas`.
# - A report of a sweep with tables for a paper is one command: :doc:`../reports`.
