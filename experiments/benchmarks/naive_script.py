"""The published experiment as one writes it first: `python naive_script.py SETTINGS.json RESULTS.json`.

For each set and prompt strategy it embeds every image again (PIL, float32, batches of 64) and each distinct
prompt once, fuses, clusters with scikit-learn, votes, and goes through the test images one by one.
Image-only has no text and takes the images of the strategy before it: five passes over the images a set.
It imports nothing of `fused_clip`, so a change of ours doesn't change what ours is compared with.
"""

import json
import sys
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import torch
from PIL import Image
from sklearn.cluster import SpectralClustering
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, silhouette_score

BATCH, SEED = 64, 42
SETS = {
    "mnist": {
        "column": "image",
        "names": list("0123456789"),
        "groups": {"even": list("02468"), "odd": list("13579")},
        "caption": "This is a digit {}",
        "generic": "This is a digit.",
    },
    "cifar10": {
        "column": "img",
        "names": ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
        "groups": {
            "vehicle": ["airplane", "automobile", "ship", "truck"],
            "animal": ["bird", "cat", "deer", "dog", "frog", "horse"],
        },
        "caption": "This is a {}",
        "generic": "This is a thing.",
    },
}


def strategy(name, facts):
    """Distinct prompts; for each class its target, and for each target its prompt."""
    names, groups, caption = facts["names"], facts["groups"], facts["caption"]
    each = list(range(len(names)))
    group_of = [next(place for place, one in enumerate(groups.values()) if name in one) for name in names]
    if name == "grouped":
        return [caption.format(group) for group in groups], group_of, [0, 1]
    if name == "generic":
        return [facts["generic"]], each, [0] * len(each)
    texts = [caption.format(name) for name in names]
    if name == "hierarchical":
        texts = [f"{text} {list(groups)[group]}" for text, group in zip(texts, group_of, strict=True)]
    return texts, each, [each[place - 1] for place in each] if name == "swapped" else each


def split_of(folder, facts, split, rows):
    """Encoded images and labels of some rows."""
    (file,) = Path(folder).glob(f"{split}-*.parquet")
    table = pd.read_parquet(file).iloc[rows]
    return [cell["bytes"] for cell in table[facts["column"]]], table["label"].to_numpy()


def embed_images(model, transform, encoded):
    """Rows of encoded images, (n, d) float32."""
    rows = []
    for start in range(0, len(encoded), BATCH):
        batch = [transform(Image.open(BytesIO(one)).convert("RGB")) for one in encoded[start : start + BATCH]]
        rows.append(model.encode_image(torch.stack(batch)).numpy())
    return np.concatenate(rows)


def classify(test, text, target_of_text, centroids, target_of_cluster):
    """Target of the nearest admissible pair of prompt and centroid, image by image and prompt by prompt."""
    admissible = [np.flatnonzero(np.isin(target_of_cluster, targets)) for targets in target_of_text]
    predicted = []
    for row in test:
        nearest, answer = np.inf, -1
        for vector, clusters in zip(text, admissible, strict=True):
            fused = row if vector is None else (row + vector) / 2
            distances = np.linalg.norm(centroids[clusters] - fused, axis=1)
            if len(clusters) and distances.min() < nearest:
                nearest, answer = distances.min(), target_of_cluster[clusters[distances.argmin()]]
        predicted.append(answer)
    return np.array(predicted)


def scores(train, test, text, target_of_class, prompt_of_target):
    """One strategy on embedded rows: fuse, cluster, vote, classify, score."""
    (rows, labels), (asked, truth) = train, test
    target, prompt = np.array(target_of_class)[labels], np.array(prompt_of_target)
    fused = rows if text is None else (rows + text[prompt[target]]) / 2
    kinds = len(prompt)
    cluster = SpectralClustering(
        2 * kinds, affinity="nearest_neighbors", assign_labels="kmeans", random_state=SEED
    ).fit_predict(fused)
    members = [cluster == one for one in range(2 * kinds)]
    centroids = np.array([fused[own].mean(axis=0) for own in members])
    voted = np.array([np.bincount(target[own], minlength=kinds).argmax() for own in members])
    targets = [range(kinds)] if text is None else [np.flatnonzero(prompt == one) for one in range(len(text))]
    predicted = classify(asked, [None] if text is None else text, targets, centroids, voted)
    return {
        "accuracy": float(np.mean(predicted == np.array(target_of_class)[truth])),
        "silhouette": float(silhouette_score(fused, cluster)),
        "ari": float(adjusted_rand_score(target, cluster)),
        "ami": float(adjusted_mutual_info_score(target, cluster)),
        "purity": float(np.mean(voted[cluster] == target)),
    }


def main(settings):
    """Accuracy and scores, named ``<set> <strategy>``."""
    model, transform = open_clip.create_model_from_pretrained(f"local-dir:{settings['model']}")
    tokenize = open_clip.get_tokenizer(f"local-dir:{settings['model']}")
    model.eval()
    found = {}
    for name, rows in settings["rows"].items():
        facts, folder = SETS[name], Path(settings["data"], name)
        for prompt in ("task", "none", "grouped", "swapped", "generic", "hierarchical"):
            if prompt == "none":
                text, target_of_class, prompt_of_target = None, range(10), range(10)
            else:
                texts, target_of_class, prompt_of_target = strategy(prompt, facts)
                text = model.encode_text(tokenize(texts)).numpy()
                train, test = (
                    (embed_images(model, transform, encoded), labels)
                    for encoded, labels in (split_of(folder, facts, one, rows[one]) for one in rows)
                )
            found[f"{name} {prompt}"] = scores(train, test, text, target_of_class, prompt_of_target)
    return found


if __name__ == "__main__":
    warnings.filterwarnings("ignore", "Graph is not fully connected", UserWarning)
    with torch.inference_mode():
        results = main(json.loads(Path(sys.argv[1]).read_text()))
    Path(sys.argv[2]).write_text(json.dumps(results, indent=1))
