"""
Clusters of photos without a label
==================================

You have a folder of photos and no label at all, but you can name what may be in it.
This page parts the photos into clusters that have these names, and shows them as rows
of photos and as a map.
"""

# %%
# Photos and names
# ----------------
#
# 310 photos of CIFAR-10 stand in for yours, as PNG files in one folder. Their labels
# are not given to the run.

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image
from sklearn.manifold import TSNE

import fused_clip

dataset = fused_clip.load_dataset("dataset=cifar10", "dataset.n_test=310")
names = list(dataset.class_names)
folder = Path("outputs/photos_without_labels")
folder.mkdir(parents=True, exist_ok=True)
for number, pixels in enumerate(dataset.test.read()):
    Image.fromarray(pixels).save(folder / f"photo_{number:03}.png")

# %%
# One run without a label
# -----------------------
#
# ``pairing=zero_shot`` gives each photo the nearest sentence, ``vote=prompt`` lets the
# sentences name the clusters. A tenth of the photos stays out, to see later whether new
# photos find their cluster.

words = [
    "dataset=imagefolder",
    f"dataset.root={folder}",
    "dataset.labels=none",
    f"dataset.classes={names}",
]
words += [
    "pairing=zero_shot",
    "vote=prompt",
    "clusters_per_target=1",
    "dataset.test_fraction=0.1",
]
fast = ["references.enabled=false", "figures.enabled=false", "tracking=none"]
run = Path(fused_clip.sweep(*words, *fast, verbose=False)["directory"][0])

print(*json.loads((run / "result.json").read_text())["texts"], sep="\n")

# %%
# The clusters
# ------------
#
# ``predictions.parquet`` has the cluster of each photo, the name that it got, and the
# distance to its centre.

photos = pd.read_parquet(run / "predictions.parquet").query("split == 'train'")
photos = photos[["row_id", "cluster", "predicted", "distance"]].reset_index(drop=True)
sizes = photos.groupby(["cluster", "predicted"]).size().rename("photos").reset_index()
sizes.rename(columns={"predicted": "name"})

# %%
# The ten photos next to the centre of each cluster. Two clusters may have one name, and
# a name may have none.

columns = 10
figure, axes = plt.subplots(
    len(sizes), columns, figsize=(7.2, 0.8 * len(sizes)), layout="constrained"
)
for row, (_, cluster) in zip(axes, sizes.iterrows(), strict=True):
    own = photos[photos["cluster"] == cluster["cluster"]].nsmallest(columns, "distance")
    row[0].set_title(
        f"{cluster['predicted']} ({cluster['photos']})", fontsize=8, pad=2, loc="left"
    )
    for ax in row:
        ax.axis("off")
    for ax, photo in zip(row, own["row_id"], strict=False):
        ax.imshow(plt.imread(folder / photo), interpolation="nearest")
plt.show()

# %%
# A map
# -----
#
# Photos that look alike to the model stand together: t-SNE of the image embeddings,
# without words. The colour of a frame is the cluster, whose name stands at its middle.
# Where colours mix, the words parted photos that look alike.

rows = fused_clip.embed_images(
    [folder / photo for photo in photos["row_id"]], backbone="open"
)
places = TSNE(random_state=0, perplexity=20).fit_transform(rows)
colours = plt.get_cmap("tab10").colors

figure, ax = plt.subplots(figsize=(7.2, 6.6), layout="constrained")
ax.scatter(*places.T, s=0)
for place, photo, cluster in zip(
    places, photos["row_id"], photos["cluster"], strict=True
):
    frame = {"edgecolor": colours[cluster % 10], "linewidth": 2}
    box = OffsetImage(plt.imread(folder / photo), zoom=0.6)
    ax.add_artist(AnnotationBbox(box, place, pad=0.05, bboxprops=frame))
for (cluster, name), own in photos.groupby(["cluster", "predicted"]):
    label = {
        "facecolor": "white",
        "edgecolor": colours[cluster % 10],
        "boxstyle": "round",
        "alpha": 0.85,
    }
    middle = np.median(places[own.index], axis=0)
    ax.text(*middle, name, ha="center", va="center", fontsize=9, bbox=label, zorder=10)
ax.axis("off")
plt.show()

# %%
# Were the names right?
# ---------------------
#
# Only now are the true labels used, to count. With photos of your own, look at the rows
# above in their place.

truth = np.array(names)[dataset.test.labels]
of_photo = {f"photo_{number:03}.png": kind for number, kind in enumerate(truth)}
true = photos["row_id"].map(of_photo)
counts = pd.crosstab(true, photos["predicted"]).reindex(
    index=names, columns=names, fill_value=0
)

figure, ax = plt.subplots(figsize=(5.8, 4.8), layout="constrained")
ax.imshow(counts, cmap="Blues", vmax=counts.to_numpy().max())
for (y, x), count in np.ndenumerate(counts.to_numpy()):
    if count:
        dark = count > counts.to_numpy().max() / 2
        ax.text(
            x,
            y,
            count,
            ha="center",
            va="center",
            fontsize=8,
            color="white" if dark else "black",
        )
ax.set_xticks(range(len(names)), names, rotation=45, ha="right")
ax.set_yticks(range(len(names)), names)
ax.set_xlabel("name of the cluster")
ax.set_ylabel("what the photo shows")
plt.show()

new = pd.read_parquet(run / "predictions.parquet").query("split == 'test'")
inside = (true == photos["predicted"]).mean()
outside = (new["row_id"].map(of_photo) == new["predicted"]).mean()
print(f"{inside:.0%} of {len(photos)} clustered photos have the right name,")
print(f"and {outside:.0%} of {len(new)} that stayed out.")

# %%
# The image tower of ``backbone=open`` never saw CIFAR-10, but other photos of most of
# these kinds, with labels. Expect less for kinds that it does not know.

print(json.loads((run / "result.json").read_text())["tags"]["classes_seen"])

# %%
# Next
# ----
#
# - Your own folder and names: :doc:`../own-data`.
# - Clusterers that need no name, and the number of clusters found by itself:
#   :doc:`../methods`.
# - A few labels help to check: see :doc:`plot_own_photos`.
