"""A user's own images in tar files, in the format of WebDataset."""

from fused_clip.dataset.image_dataset import ImageDataset
from fused_clip.dataset.image_files import File, dataset_of_files
from fused_clip.dataset.names import class_name, natural_order, printable
from fused_clip.dataset.recipe import Recipe
from fused_clip.dataset.tar_samples import Sample, find_archives, image_of, samples
from fused_clip.support.errors import InputError
from fused_clip.support.files import MOST_TEXT, read_regular
from fused_clip.support.json_files import parse_json_object


def webdataset(recipe: Recipe, *, test_path: str | None = None) -> ImageDataset:
    """Samples of tar files: members in a row whose names are the same up to the first dot are one sample.

    Images are read by their place, nothing is unpacked, and rows are named ``<tar file>/<member>``. The test
    split is in tar files of its own, or is a stratified `test_fraction`. Labels are text as in `csv`; where
    they are the integers from 0 to one less than the number of classes, `class_names` names each in turn.

    Parameters
    ----------
    recipe : the shared options. `path` is a tar file, a folder of them, or a pattern with ``*`` or with
        braces as in ``shards/{000..009}.tar``, of which each must be there. `image_column` is the extension
        of the images; ``image`` for any kind of image, of which a sample has one. `label_column` is the
        extension of the member with the label, such as ``cls`` or ``txt``; ``json:breed`` is the value of
        ``breed`` in the member with the extension ``json``.
    test_path : tar files of the test split, as `path`.

    Raises
    ------
    InputError
        If a tar file is missing, truncated or compressed, a sample has no or several images or no label,
        comes twice or is in two pieces, an image can't be read, or names or sizes don't fit the data.
    """
    parts = [
        [_file(sample, recipe) for archive in part for sample in samples(archive)]
        for part in find_archives(recipe, test_path)
    ]
    if not all(parts):
        raise no_sample(recipe)
    names = natural_order(file.label for part in parts for file in part if file.label is not None)
    if recipe.labels != "none" and len(names) < 2:
        raise InputError("dataset.label_column", "must contain two classes or more", names)
    plain = set(names) == set(map(str, range(len(names))))
    return dataset_of_files(recipe, parts, names, f"tar files {recipe.path}", plain=plain)


def no_sample(recipe: Recipe) -> InputError:
    """Make the error of a part without a sample.

    Parameters
    ----------
    recipe : the shared options.
    """
    return InputError("dataset.path", "must contain a sample", recipe.path)


def _file(sample: Sample, recipe: Recipe) -> File:
    image = image_of(sample, recipe.image_column)
    label = None if recipe.labels == "none" else _label(sample, recipe.label_column)
    path = sample.archive.path
    if isinstance(image, str):
        return File(path, sample.name, label, problem=image)
    name = printable(sample.archive.prefix + image.name)
    return File(path, name, label, image.start, image.size)


def _label(sample: Sample, column: str) -> str:
    """Read the label of a sample: the text of a member, or a value of its JSON."""
    option = "dataset.label_column"
    extension, colon, key = column.partition(":")
    member = sample.members.get(extension.lower())
    if member is None:
        known = sorted(map(printable, sample.members))
        raise InputError(
            option, f"must be the extension of a member of sample {sample.name}", column, choices=known
        )
    try:
        content = read_regular(sample.archive.path, MOST_TEXT, member.start, member.size)
        value = parse_json_object(content).get(key) if colon else content.decode("utf-8").strip()
    except (OSError, ValueError) as error:
        raise InputError(
            option, f"the label of sample {sample.name} can't be read ({error})", column
        ) from error
    if isinstance(value, bool) or not isinstance(value, (str, int)) or value == "":
        raise InputError(option, f"must give text or a whole number for sample {sample.name}", value)
    return class_name(str(value))
