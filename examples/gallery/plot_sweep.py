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
# A word with commas is swept. With ``dataset.seed=${seed}`` every seed also draws another split of the
# images, so that the deviation is that of the whole experiment. Images are embedded once, whatever the
# number of cells.

import matplotlib.pyplot as plt
import numpy as np

import fused_clip

words = [
    "dataset=digits",
    "dataset.n_train=600",
    "dataset.n_test=300",
    "prompt=none,task",
    "clusterer=kmeans,spectral",
    "clusters_per_target=1,3",
    "seed=0,1,2",
    "dataset.seed=${seed}",
    "references.enabled=false",
    "figures.enabled=false",
]
table = fused_clip.sweep(*words, verbose=False)
axes = ["prompt", "clusterer", "clusters_per_target"]
table["clusters_per_target"] = table["clusters_per_target"].astype(int)
print(f"{len(table)} cells, {table['error'].ne('').sum()} of them failed")
table[[*axes, "seed", "test/accuracy", "train/ari", "run_id"]].head()

# %%
# Mean and deviation over seeds
# -----------------------------

summary = table.groupby(axes)[["test/accuracy", "train/ari"]].agg(["mean", "std"]).round(3)
summary

# %%
# A pivot has one axis in the rows and another in the columns:

accuracy = table.pivot_table("test/accuracy", ["prompt", "clusterer"], "clusters_per_target")
accuracy.round(3)

# %%
# Every number in a picture
# -------------------------
#
# The small marks are seeds, the large ones are means. The labels pair the images with their prompts
# (``prompt=task``) or name the clusters (``prompt=none``), so no number here is one without labels.

colours = {"none": "#E69F00", "task": "#0072B2"}
markers = {"kmeans": "s", "spectral": "o"}
fig, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for shift, ((prompt, clusterer), rows) in enumerate(table.groupby(["prompt", "clusterer"])):
    numbers = np.sort(rows["clusters_per_target"].unique())
    x = np.searchsorted(numbers, rows["clusters_per_target"]) + 0.12 * (shift - 1.5)
    style = {"color": colours[prompt], "marker": markers[clusterer], "linestyle": "none"}
    ax.plot(x, rows["test/accuracy"], markersize=3, alpha=0.6, **style)
    mean = rows.groupby("clusters_per_target")["test/accuracy"].mean()
    places = np.arange(len(numbers)) + 0.12 * (shift - 1.5)
    title = f"prompt={prompt}, {clusterer}"
    ax.plot(places, mean, markersize=8, markerfacecolor="none", label=title, **style)
ax.set_xticks(range(len(numbers)), numbers)
ax.set_xlabel("clusters for each target")
ax.set_ylabel("accuracy on test images")
ax.set_title("Three seeds, each with a split of its own")
ax.legend(frameon=False, fontsize="small", loc="lower right")
plt.show()

# %%
# A heat map
# ----------

fig, ax = plt.subplots(figsize=(6.4, 3), layout="constrained")
image = ax.imshow(accuracy, cmap="cividis", aspect="auto")
middle = (accuracy.to_numpy().min() + accuracy.to_numpy().max()) / 2
for (row, column), value in np.ndenumerate(accuracy.to_numpy()):
    colour = "white" if value < middle else "black"
    ax.text(column, row, f"{value:.3f}", ha="center", va="center", color=colour)
ax.set_xticks(range(accuracy.shape[1]), accuracy.columns)
ax.set_yticks(range(len(accuracy)), [f"{prompt}, {clusterer}" for prompt, clusterer in accuracy.index])
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
print(f"{again['reused_from'].ne('').sum()} of {len(again)} cells were reused; equal numbers: {same}")

# %%
# What to do next
# ---------------
#
# - :doc:`../sweeps` has the grammar of sweeps, the files of a run, and launchers for several cores, Slurm
#   and Ray.
# - Ask MLflow for the same runs: :doc:`plot_mlflow_pandas`.
# - A report of a sweep with tables for a paper is one command: :doc:`../reports`.
