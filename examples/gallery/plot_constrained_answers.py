"""
Answers that know where the photos come from
============================================

You know something about new photos: which things can be in them, and how often. This
page gives a trained model that knowledge, without training it again, and shows how
answers and accuracy change.
"""

# %%
# A model of ten kinds
# --------------------
#
# It is made from 500 photos of CIFAR-10's training split, all with labels.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import fused_clip

words = [
    "dataset=cifar10",
    "backbone=open",
    "dataset.n_train=500",
    "dataset.n_test=500",
]
fast = ["references.enabled=false", "figures.enabled=false", "tracking=none"]
run = fused_clip.sweep(*words, *fast, verbose=False)["directory"][0]
model = fused_clip.load_model(run)
print(", ".join(model.names))

# %%
# New photos from a farm
# ----------------------
#
# A camera at a stable sees horses most of the time. Here 100 test photos are drawn at
# these frequencies; you would have them from experience.

frequencies = {"horse": 0.5, "dog": 0.2, "cat": 0.2, "bird": 0.1}
dataset = fused_clip.load_dataset(*words)
kinds = np.array(dataset.class_names)[dataset.test.labels]
wanted = [
    np.flatnonzero(kinds == name)[: round(100 * share)]
    for name, share in frequencies.items()
]
rows = np.sort(np.concatenate(wanted))
pixels = list(dataset.test.images.read(dataset.test.rows[rows]))
truth = kinds[rows]
embedded = model.embed(pixels)

# %%
# Three pieces of knowledge
# -------------------------
#
# ``targets`` admits these answers alone. ``prior`` says how frequent they are.
# ``target_map`` merges answers that are the same to you. Each gives a model of its own;
# embeddings serve all of them.

farm = model.constrain(targets=list(frequencies))
farm_prior = model.constrain(targets=list(frequencies), prior=frequencies)
of_name = {"horse": "horse", "dog": "pet", "cat": "pet", "bird": "bird"}
farm_pets = farm_prior.constrain(target_map={"pet": ["cat", "dog"]})

answers = {
    "any of ten answers": model.predict_embeddings(embedded).targets,
    "four targets": farm.predict_embeddings(embedded).targets,
    "and their frequencies": farm_prior.predict_embeddings(embedded).targets,
    "cats and dogs are pets": farm_pets.predict_embeddings(embedded).targets,
}
merged = np.array([of_name[name] for name in truth])
scores = {name: float(np.mean(found == truth)) for name, found in answers.items()}
scores["cats and dogs are pets"] = float(
    np.mean(answers["cats and dogs are pets"] == merged)
)

figure, ax = plt.subplots(figsize=(6.4, 2.4), layout="constrained")
bars = ax.barh(list(scores), list(scores.values()))
ax.bar_label(bars, fmt="{:.0%}", padding=3)
ax.invert_yaxis()
ax.set_xlim(0, 1.12)
ax.xaxis.set_major_formatter("{x:.0%}")
ax.set_xlabel(f"right answers for {len(truth)} photos of the farm")
ax.spines[["top", "right"]].set_visible(False)
plt.show()

# %%
# Answers that changed
# --------------------

before, after = answers["any of ten answers"], answers["and their frequencies"]
changed = np.flatnonzero(before != after)
print(f"{len(changed)} of {len(truth)} answers changed:")
became_right, became_wrong = (
    after[changed] == truth[changed],
    before[changed] == truth[changed],
)
print(f"{became_right.sum()} became right, {became_wrong.sum()} became wrong.")

figure, axes = plt.subplots(2, 6, figsize=(7.2, 3.5), layout="constrained")
for ax in axes.flat:
    ax.axis("off")
for ax, row in zip(axes.flat, changed, strict=False):
    ax.imshow(pixels[row], interpolation="nearest")
    mark = "right" if after[row] == truth[row] else f"it is a {truth[row]}"
    ax.set_title(f"{before[row]}\n→ {after[row]}\n({mark})", fontsize=8)
plt.show()

# %%
# A photo in detail
# -----------------
#
# The probabilities of one of these photos: an answer that is not admitted has none, and
# its share goes to the others.

row = changed[0]
models = {
    "any of ten answers": model,
    "four targets": farm,
    "and their frequencies": farm_prior,
}
detail = {
    title: dict(
        zip(
            one.names,
            one.predict_embeddings(embedded[[row]]).probabilities[0],
            strict=True,
        )
    )
    for title, one in models.items()
}
pd.DataFrame(detail).fillna(0).style.format("{:.2f}").background_gradient(
    "Blues", vmin=0, vmax=1
)

# %%
# Wrong knowledge
# ---------------
#
# A prior is believed. The same photos, with frequencies that are the wrong way round:

wrong = dict(zip(frequencies, reversed(frequencies.values()), strict=True))
misled = (
    model.constrain(targets=list(frequencies), prior=wrong)
    .predict_embeddings(embedded)
    .targets
)
print(f"Frequencies {wrong}:")
wrong_prior = np.mean(misled == truth)
print(
    f"{wrong_prior:.0%} right, against {scores['four targets']:.0%} without frequencies."
)

# %%
# Next
# ----
#
# - The same on the command line: ``--targets``, ``--prior`` and ``--target-map``:
#   :doc:`../models`.
# - A target that the model does not have: :doc:`plot_new_class_by_a_sentence`.
# - What a prior does to guaranteed sets: :doc:`../guarantees`.
