"""
Why words may not matter
========================

True prompts, swapped prompts and random vectors lead to the same predictions as long as each cluster
has images of one prompt only. This page shows the reason as a picture, and the point at which it ends.
"""

# %%
# Images and three kinds of text
# ------------------------------
#
# The images are the digits of scikit-learn. The backbone ``open`` knows photos of things; it was trained
# on no digit. The vectors of the second and third text say nothing true about the images.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from fused_clip import PromptFusedClassifier, embed_images, embed_texts

grey, y = load_digits(return_X_y=True)
grey, y = grey[:700].reshape(-1, 8, 8), y[:700]
X = embed_images([np.repeat((image * 15.9).astype(np.uint8)[..., None], 3, axis=2) for image in grey], "open")
words = embed_texts([f"This is a digit {digit}" for digit in range(10)], "open")
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

noise = np.random.default_rng(0).normal(size=words.shape)
noise *= np.linalg.norm(words, axis=1, keepdims=True) / np.linalg.norm(noise, axis=1, keepdims=True)
texts = {"true words": words, "swapped words": np.roll(words, 1, axis=0), "random vectors": noise}

# %%
# The same predictions
# --------------------
#
# Row *j* of each text stands for digit *j*. The labels pair every training image with the row of its
# digit.


def fit(text):
    """Fit the method with a text, or on the images alone."""
    return PromptFusedClassifier(text, random_state=0).fit(X_train, y_train)


models = {name: fit(text) for name, text in texts.items()}
predicted = {name: model.predict(X_test) for name, model in models.items()}
images_alone = fit(None).predict(X_test)
for name in texts:
    print(
        f"{name:15} accuracy {np.mean(predicted[name] == y_test):.3f}, "
        f"the answer of the true words for {np.mean(predicted[name] == predicted['true words']):.1%}"
    )
print(f"{'images alone':15} accuracy {np.mean(images_alone == y_test):.3f}")

# %%
# Before and after fusion
# -----------------------
#
# The first two principal components of the images of four digits, each panel on its own scale. Alone, the
# digits overlap. Fused, every digit is moved by its own row of text, and keeps its shape at half the
# size. Which way it moves depends on the text. That the digits come apart does not: any vectors that are
# far enough from each other do it.

some = np.isin(y_train, [3, 5, 8, 9])
colours = {3: "#0072B2", 5: "#D55E00", 8: "#009E73", 9: "#CC79A7"}
rows = {"images alone": X_train[some]}
rows |= {name: models[name].fused_[some] for name in ("true words", "random vectors")}

fig, axes = plt.subplots(1, 3, figsize=(6.4, 2.7), layout="constrained")
for ax, (name, fused) in zip(axes, rows.items(), strict=True):
    points = PCA(2, random_state=0).fit_transform(fused)
    for digit, colour in colours.items():
        of_digit = points[y_train[some] == digit]
        ax.scatter(*of_digit.T, s=36, color=colour, marker=f"${digit}$", linewidths=0.3)
    ax.set_title(name if name == "images alone" else f"fused with\n{name}", fontsize="medium")
    ax.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")
plt.show()

# %%
# The reason
# ----------
#
# If all images of cluster *c* have the prompt :math:`t_j`, its centroid is :math:`\mu_c = (\bar x_c +
# t_j) / 2`. A test image that is fused with the same prompt is at the distance
#
# .. math::
#
#    \left\| \frac{x + t_j}{2} - \mu_c \right\| = \frac{\left\| x - \bar x_c \right\|}{2}
#
# of it. The text has cancelled, whatever it said. The equation holds to rounding:

model = models["random vectors"]
votes = [np.bincount(model.prompt_index_[model.labels_ == c], minlength=10) for c in np.unique(model.labels_)]
pure = [c for c, counts in enumerate(votes) if counts.max() == counts.sum()]
c = pure[0]
image_mean = X_train[model.labels_ == c].mean(axis=0)
fused = model.fuse(X_test, np.full(len(X_test), votes[c].argmax()))
left = np.linalg.norm(fused - model.cluster_centers_[c], axis=1)
right = np.linalg.norm(X_test - image_mean, axis=1) / 2
print(f"{len(pure)} of {len(votes)} clusters are pure in their prompt")
print(f"largest difference of both sides for cluster {c}: {np.abs(left - right).max():.1e}")

# %%
# Where it ends
# -------------
#
# Drawn towards each other, prompts no longer keep the images of different digits apart. Clusters then
# have images of several prompts, and what the rows of text are begins to count. Sentences share most of
# their direction, so they lose their hold earlier than random vectors of the same length. At a spread of
# 0 all prompts are equal: there are no words, and both models are the same.

spreads = [0, 0.1, 0.2, 0.3, 0.5, 0.7, 1]


def drawn_together(text, spread):
    """Move every row of text towards the mean of all; 1 leaves them as they are."""
    return text.mean(axis=0) + spread * (text - text.mean(axis=0))


def purity(model):
    """Share of the training images whose prompt is the most frequent one of their cluster."""
    tables = [np.bincount(model.prompt_index_[model.labels_ == c]) for c in np.unique(model.labels_)]
    return sum(counts.max() for counts in tables) / len(model.labels_)


agreement, purities, accuracies = [], [], {"true words": [], "random vectors": []}
for spread in spreads:
    pair = {name: fit(drawn_together(texts[name], spread)) for name in accuracies}
    answers = {name: one.predict(X_test) for name, one in pair.items()}
    agreement.append(np.mean(answers["true words"] == answers["random vectors"]))
    purities.append([purity(one) for one in pair.values()])
    for name, some_answers in answers.items():
        accuracies[name].append(np.mean(some_answers == y_test))

fig, (ax, below) = plt.subplots(2, 1, figsize=(6.4, 5), sharex=True, layout="constrained")
ax.plot(spreads, agreement, "o-", color="black", label="same answer from true words and random vectors")
ax.plot(spreads, [one[0] for one in purities], "s--", color="#0072B2", label="purity, true words")
ax.plot(spreads, [one[1] for one in purities], "^--", color="#E69F00", label="purity, random vectors")
ax.set(ylabel="share of images", ylim=(0.5, 1.03), title="Pure clusters, equal answers")
ax.legend(frameon=False, fontsize="small", loc="lower right")
below.plot(spreads, accuracies["true words"], "s-", color="#0072B2", label="true words")
below.plot(spreads, accuracies["random vectors"], "^-", color="#E69F00", label="random vectors")
below.set(xlabel="spread of the prompts (1: as the backbone gives them)", ylabel="accuracy on test images")
below.legend(frameon=False, fontsize="small")
plt.show()

# %%
# What to do next
# ---------------
#
# - :doc:`../method` has the notation and the derivation.
# - Every run states its ``train/prompt_purity`` and ``train/prompt_spacing``, and compares itself with
#   rotated text: :doc:`../metrics`, and the example :doc:`plot_audit`.
# - Words count where they choose the prompt of an image: ``pairing=zero_shot`` in :doc:`../methods`.
