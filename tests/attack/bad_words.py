"""Wrong data and wrong command lines, written by hand: what no table of options can give."""

import shlex
from collections.abc import Iterator

from tests.attack.bad_options import QUICK, Case

# Words of a run on images, on a table of them, and on vectors.
_FOLDER = "dataset=imagefolder backbone=compact tracking=none references.enabled=false figures.enabled=false"
_TABLE = _FOLDER.replace("imagefolder", "csv") + " dataset.outside_root=true"
_TARS = _FOLDER.replace("imagefolder", "webdataset")
_VECTORS = "dataset=embeddings clusterer=kmeans tracking=none references.enabled=false figures.enabled=false"
_RUN = " ".join(QUICK.values())
_PREDICT = "{data}/run {data}/pictures --out {out}.csv"

# Each: words, the option that the error must name, the value that it must show.
Line = tuple[str, str, str]
DATA: dict[str, tuple[Line, ...]] = {
    _FOLDER: (
        ("", "dataset.root", "None"),
        ("dataset.root={data}/absent", "dataset.root", "absent"),
        ("dataset.root={data}/note.txt", "dataset.root", "note.txt"),
        ("dataset.root={data}/nothing", "dataset.root", "nothing"),
        ("dataset.root={data}/empty", "dataset.root", "empty"),
        ("dataset.root={data}/single", "dataset.root", "single"),
        ("dataset.root={data}/half", "dataset.root", "half"),
        ("dataset.root=/dev/null", "dataset.root", "/dev/null"),
        ("dataset.root={data}/broken", "dataset.on_bad_image", "cat/0.png"),
        ("dataset.root={data}/text", "dataset.on_bad_image", "cat/0.png"),
        ("dataset.root={data}/bombs", "dataset.on_bad_image", "cat/0.png"),
        ("dataset.root={data}/pipes", "dataset.on_bad_image", "cat/x.png"),
        ("dataset.root={data}/photos dataset.max_pixels=3", "dataset.on_bad_image", "cat/0.png"),
        ("dataset.root={data}/photos 'dataset.class_names=[cat,cow]'", "dataset.class_names", "cow"),
        ("dataset.root={data}/photos 'dataset.class_names=[cat]'", "dataset.class_names", "cat"),
        ("dataset.root={data}/photos 'dataset.class_names=[cat,cat]'", "dataset.class_names", "cat"),
        ("dataset.root={data}/photos 'dataset.class_names=[cat,null]'", "dataset.class_names.1", "None"),
        ("dataset.root={data}/photos 'dataset.class_names=[cat,\"\"]'", "dataset.class_names.1", "''"),
        ("dataset.root={data}/photos 'dataset.classes=[cat,dog]'", "dataset.classes", "cat"),
        ("dataset.root={data}/photos dataset.from_split=test", "dataset.from_split", "test"),
        ("dataset.root={data}/photos dataset.n_train=1", "dataset.n_train", "1"),
        ("dataset.root={data}/photos dataset.n_train=1000000000", "dataset.n_train", "1000000000"),
        ("dataset.root={data}/photos dataset.n_test=1000000000", "dataset.n_test", "1000000000"),
        ("dataset.root={data}/photos dataset.test_fraction=0.001", "dataset.test_fraction", "0.001"),
        ("dataset.root={data}/photos dataset.test_fraction=0.999", "dataset.test_fraction", "0.999"),
        ("dataset.root={data}/photos '+dataset.display_names={cow: calf}'", "dataset.display_names", "cow"),
        ("dataset.root={data}/photos '+dataset.display_names={cat: dog}'", "dataset.display_names", "dog"),
        ("dataset.root={data}/photos prompt=grouped", "dataset.groups", "cat"),
        ("dataset.root={data}/photos '+dataset.groups={pet: [cow]}'", "dataset.groups.pet", "cow"),
        ("dataset.root={data}/photos '+dataset.groups={pet: []}'", "dataset.groups.pet", "[]"),
        ("dataset.root={data}/photos '+dataset.groups={a: [cat], b: [cat]}'", "dataset.groups.b", "cat"),
        ("dataset.root={data}/photos clusters_per_target=50", "clusters_per_target", "50"),
        ("dataset.root={data}/photos clusters_per_target=1000000000", "clusters_per_target", "1000000000"),
        (
            "dataset.root={data}/photos clusterer.n_neighbors=1000000000",
            "clusterer.n_neighbors",
            "1000000000",
        ),
        ("dataset.root={data}/photos labels.per_class=0", "vote", "label"),
        ("dataset.root={data}/photos classifier=knn classifier.k=1000", "classifier.k", "1000"),
    ),
    _TABLE: (
        ("", "dataset.path", "None"),
        ("dataset.path={data}/absent.csv", "dataset.path", "absent.csv"),
        ("dataset.path={data}/photos", "dataset.path", "photos"),
        ("dataset.path=/dev/null", "dataset.path", "/dev/null"),
        ("dataset.path={data}/tables/pipe.csv", "dataset.path", "pipe.csv"),
        ("dataset.path={data}/tables/folder.csv", "dataset.path", "folder.csv"),
        ("dataset.path={data}/tables/twice.csv", "dataset.label_column", "label"),
        ("dataset.path={data}/tables/empty.csv", "dataset.image_column", "path"),
        ("dataset.path={data}/tables/header.csv", "dataset.path", "header.csv"),
        ("dataset.path={data}/tables/ragged.csv", "dataset.path", "photos/cat/0.png"),
        ("dataset.path={data}/tables/quote.csv", "dataset.path", "quote.csv"),
        ("dataset.path={data}/tables/repeated.csv", "dataset.image_column", "cat/0.png"),
        ("dataset.path={data}/tables/one_class.csv", "dataset.label_column", "cat"),
        ("dataset.path={data}/tables/blank.csv", "dataset.label_column", "1"),
        ("dataset.path={data}/tables/gone.csv", "dataset.image_column", "none.png"),
        ("dataset.path={data}/tables/folders.csv", "dataset.image_column", "photos/dog"),
        ("dataset.path={data}/tables/few.csv", "dataset.test_fraction", "0.2"),
        ("dataset.path={data}/tables/utf16.csv", "dataset.path", "utf16.csv"),
        ("dataset.path={data}/tables/latin.csv", "dataset.path", "latin.csv"),
        ("dataset.path={data}/tables/bytes.csv", "dataset.path", "bytes.csv"),
        ("dataset.path={data}/tables/bytes.parquet", "dataset.path", "bytes.parquet"),
        ("dataset.path={data}/note.txt", "dataset.image_column", "path"),
        ("dataset.path={data}/photos.csv dataset.image_column=file", "dataset.image_column", "file"),
        ("dataset.path={data}/photos.csv dataset.label_column=class", "dataset.label_column", "class"),
        ("dataset.path={data}/photos.csv dataset.split_column=fold", "dataset.split_column", "fold"),
        ("dataset.path={data}/tables/splits.csv dataset.split_column=fold", "dataset.split_column", "test"),
        (
            "dataset.path={data}/tables/disjoint.csv dataset.split_column=fold",
            "dataset",
            "dog",
        ),
        ("dataset.path={data}/photos.csv dataset.root={data}/absent", "dataset.root", "absent"),
        ("dataset.path={data}/photos.csv dataset.root={data}/nothing", "dataset.image_column", "cat/0.png"),
        ("dataset.path={data}/photos.csv dataset.test_path={data}/absent.csv", "dataset.test_path", "absent"),
        (
            "dataset.path={data}/photos.csv dataset.test_path={data}/photos.csv",
            "dataset.image_column",
            "cat/0.png",
        ),
        (
            "dataset.path={data}/photos.csv dataset.test_path={data}/photos.csv dataset.split_column=label",
            "dataset.split_column",
            "label",
        ),
        ("dataset.path={data}/photos.csv dataset.labels=none", "vote", "label"),
        (
            "dataset.path={data}/photos.csv dataset.labels=none vote=prompt pairing=zero_shot",
            "dataset.classes",
            "cat",
        ),
        (
            "dataset.path={data}/photos.csv dataset.labels=none vote=prompt pairing=zero_shot "
            "'dataset.classes=[cat]'",
            "dataset.classes",
            "cat",
        ),
    ),
    _TARS: (
        ("", "dataset.path", "None"),
        *(
            (f"dataset.path={{data}}/tars/{name}.tar", option, shown)
            for name, option, shown in (
                ("absent", "dataset.path", "absent.tar"),
                ("none", "dataset.path", "none.tar"),
                ("zero", "dataset.path", "zero.tar"),
                ("cut", "dataset.path", "cut.tar"),
                ("gzip", "dataset.path", "gzip"),
                ("again", "dataset.path", "cat0"),
                ("two", "dataset.image_column", "dog9"),
                ("imageless", "dataset.label_column", "cat"),
                ("unlabelled", "dataset.label_column", "cat0"),
                ("one", "dataset.label_column", "cat"),
            )
        ),
        ("dataset.path={data}/nothing", "dataset.path", "nothing"),
        ("dataset.path={data}/note.txt", "dataset.path", "note.txt"),
        ("\"dataset.path='{data}/shards/{000..002}.tar'\"", "dataset.path", "001.tar"),
        ("dataset.path={data}/shards dataset.test_path={data}/shards", "dataset.path", "000.tar"),
        ("dataset.path={data}/shards dataset.image_column=jpg", "dataset.on_bad_image", "cat0"),
        ("dataset.path={data}/shards dataset.label_column=txt", "dataset.label_column", "txt"),
        ("dataset.path={data}/shards dataset.from_split=test", "dataset.from_split", "test"),
    ),
    _VECTORS: (
        ("", "dataset.path", "None"),
        ("dataset.path={data}/vectors/absent.npz", "dataset.path", "absent.npz"),
        *(
            (f"dataset.path={{data}}/vectors/{name}.npz", option, shown)
            for name, option, shown in (
                ("nan", "dataset", "3"),
                ("zero", "dataset", "7"),
                ("short", "dataset", "30"),
                ("flat", "dataset", "40"),
                ("no_labels", "dataset.label_column", "labels"),
                ("no_vectors", "dataset.vector_column", "vectors"),
                ("words", "dataset.vector_column", "<U"),
                ("objects", "dataset.path", "objects.npz"),
                ("no_rows", "dataset.vector_column", "(0, 64)"),
                ("one_class", "dataset.label_column", "cat"),
                ("text", "dataset.path", "text.npz"),
            )
        ),
        ("dataset.path={data}/vectors/right.npz dataset.vector_column=rows", "dataset.vector_column", "rows"),
        ("dataset.path={data}/vectors/right.npz dataset.id_column=names", "dataset.id_column", "names"),
        ("dataset.path={data}/vectors/right.npz dataset.split_column=fold", "dataset.split_column", "fold"),
        (
            "dataset.path={data}/vectors/right.npz dataset.test_path={data}/vectors/right.npz",
            "dataset.test_path",
            "right.npz",
        ),
        ("dataset.path={data}/vectors/right.npz", "backbone", "This is a cat"),
        ("dataset.path={data}/vectors/right.npz backbone=compact", "backbone", "64"),
    ),
}
RUN: tuple[Line, ...] = (
    # prompts
    ("'dataset.captions.task=\"{:>999999999}\"'", "dataset.captions.task", "{:>999999999}"),
    ("'dataset.captions.task=\"{0.__class__}\"'", "dataset.captions.task", "{0.__class__}"),
    ("'dataset.captions.task=\"{0[0]}\"'", "dataset.captions.task", "{0[0]}"),
    ("'dataset.captions.task=\"{!r}\"'", "dataset.captions.task", "{!r}"),
    ("'dataset.captions.task=\"{} {\"'", "dataset.captions.task", "{} {"),
    ("'dataset.captions.task=\"{} {name}\"'", "dataset.captions.task", "{name}"),
    ("'dataset.captions.task=\"{} {}\"'", "dataset.captions.task", "{} {}"),
    ("dataset.captions.task=digit", "dataset.captions.task", "digit"),
    ("'dataset.captions.task=\"{a:{a}}{}\"'", "dataset.captions.task", "{a:{a}}"),
    ("prompt=grouped dataset.captions.grouped=digit", "dataset.captions.grouped", "digit"),
    (
        "prompt=hierarchical 'dataset.captions.hierarchical=\"{} {:>9}\"'",
        "dataset.captions.hierarchical",
        ":>9",
    ),
    ("prompt=generic 'dataset.captions.generic=\"a {}\"'", "dataset.captions.generic", "a {}"),
    ("prompt=generic \"dataset.captions.generic=''\"", "dataset.captions.generic", "''"),
    ("prompt=custom", "prompt.texts", "0"),
    ("prompt=custom 'prompt.texts={0: \"\"}' 'prompt.templates=[\"a {}\"]'", "prompt.texts.0", "''"),
    ("prompt=custom 'prompt.texts={0: [\" \"]}' 'prompt.templates=[\"a {}\"]'", "prompt.texts.0", "' '"),
    ("prompt=custom 'prompt.texts={0: []}' 'prompt.templates=[\"a {}\"]'", "prompt.texts", "0"),
    ("prompt=custom 'prompt.texts={0: 7}' 'prompt.templates=[\"a {}\"]'", "prompt.texts.0", "7"),
    ("prompt=custom 'prompt.texts={0: null}' 'prompt.templates=[\"a {}\"]'", "prompt.texts.0", "None"),
    ("prompt=custom 'prompt.texts={cow: a cow}' 'prompt.templates=[\"a {}\"]'", "prompt.texts", "cow"),
    ("prompt=custom 'prompt.texts={0: one, 1: one}' 'prompt.templates=[\"a {}\"]'", "prompt", "one"),
    ("prompt=custom 'prompt.templates=[digit]'", "prompt.templates", "digit"),
    ("prompt=custom 'prompt.templates=[\"\"]'", "prompt.templates", "''"),
    ("prompt=custom 'prompt.templates=[\"{:9}\"]'", "prompt.templates", "{:9}"),
    ("prompt=custom 'prompt.templates=[7]'", "prompt.templates.0", "7"),
    ("prompt=waffle prompt.pairs=1000000000", "prompt.pairs", "1000000000"),
    *(
        (f"prompt=descriptions prompt.file={{data}}/texts/{name}.json", "prompt.file", shown)
        for name, shown in (
            ("absent", "absent.json"),
            ("pipe", "pipe.json"),
            ("list", "list.json"),
            ("open", "open.json"),
            ("lacking", "lacking.json"),
            ("empty", "[]"),
            ("blank", "''"),
            ("numbers", "0"),
        )
    ),
    ("prompt=descriptions prompt.file={data}/texts/same.json", "prompt", "a digit"),
    ("prompt=descriptions prompt.file={data}/maps/bomb.yaml", "prompt.file", "bomb.yaml"),
    ("prompt=descriptions prompt.file={data}/maps/loop.yaml", "prompt.file", "loop.yaml"),
    ("prompt=descriptions prompt.file={data}/photos", "prompt.file", "photos"),
    (
        "prompt=descriptions prompt.file={data}/texts/texts.json prompt.template=x",
        "prompt.template",
        "x",
    ),
    # parts that do not go together
    ("prompt=none classifier=zero_shot", "classifier", "prompt=none"),
    ("prompt=none clusterer=kmeans_prompts", "clusterer", "prompt=none"),
    ("prompt=none vote=prompt pairing=zero_shot", "vote", "prompt"),
    ("prompt=swapped pairing=zero_shot", "pairing", "swapped"),
    ("prompt=generic vote=prompt pairing=zero_shot", "vote", "prompt"),
    ("vote=prompt", "vote", "prompt"),
    ("clusters_per_target=auto clusterer=hdbscan", "clusters_per_target", "auto"),
    ("clusterer=hdbscan clusterer.min_cluster_size=1400", "clusterer.min_cluster_size", "1400"),
    ("clusterer=hdbscan clusterer.min_cluster_size=1000000000", "clusterer.min_cluster_size", "1000000000"),
    ("clusterer=agglomerative clusterer.linkage=ward +clusterer.metric=cosine", "clusterer", "cosine"),
    ("clusterer=keep_classes clusterer.base._target_=sklearn.cluster.Nothing", "clusterer", "Nothing"),
    ("clusterer=keep_classes clusterer.base.n_init=0", "clusterer.base", "0"),
    ("clusterer=keep_classes clusterer.base=nonsense", "clusterer", "nonsense"),
    ("backbone.batch_size=1000000000", "backbone.batch_size", "1000000000"),
    ("clusterer.n_init=1000000000", "clusterer.n_init", "1000000000"),
    ("references.draws=1000000000", "references.draws", "1000000000"),
    ("labels.per_class=0", "vote", "label"),
    ("leak=nonsense", "leak", "nonsense"),
    ("leak=prompts_on_test method=auto", "leak", "prompts_on_test"),
    ("reference=[zero_shot,nonsense]", "reference", "nonsense"),
    ("+reference.own=1", "reference.own", "1"),
    ("'+reference.own={title: t}'", "reference.own", "t"),
    ("'method.candidates={many: {one: {prompt: nonsense}}}'", "method.candidates", "nonsense"),
    ("'method.candidates={some: {one: {prompt: task}}}'", "method.candidates", "some"),
    ("'method.candidates={many: {one: {nonsense: task}}}'", "method.candidates", "nonsense"),
    # hubs, devices, models
    ("dataset=mnist data_dir={data}/absent", "data_dir", "absent"),
    ("dataset=mnist data_dir={data}/note.txt", "data_dir", "note.txt"),
    ("dataset=mnist data_dir={data}", "data_dir", "mnist"),
    ("backbone=compact backbone.device=gpu", "backbone.device", "gpu"),
    ("backbone=compact backbone.model=nonsense", "backbone.model", "nonsense"),
    ("backbone=compact backbone.model=local-dir:{data}/absent", "backbone.model", "absent"),
    ("backbone=vit_b_32 backbone.pretrained=nonsense", "backbone.pretrained", "nonsense"),
    ("backbone=vit_b_32 backbone.pretrained={data}/note.txt", "backbone.pretrained", "note.txt"),
    # places
    ("output_dir={data}/note.txt", "output_dir", "note.txt"),
    ("output_dir={data}/note.txt/below", "output_dir", "note.txt"),
    ("output_dir=/proc/nothing", "output_dir", "/proc/nothing"),
    ("output_dir=/dev/null", "output_dir", "/dev/null"),
    # Hydra's words
    ("seed", "seed", "seed"),
    ("=1", "overrides", "=1"),
    ("seed=", "seed", "''"),
    ("seed=[1", "seed", "[1"),
    ("seed=${nonsense}", "seed", "nonsense"),
    ("seed=${nonsense:1}", "seed", "nonsense"),
    ("seed=${seed}", "seed", "seed"),
    ("'seed=???'", "seed", "seed"),
    ("dataset.name=Käse", "dataset.name", "Käse"),
    ("größe=1", "größe", "1"),
    ("~nonsense", "nonsense", "nonsense"),
    ("+seed=1", "seed", "1"),
    ("backbone/nonsense=1", "backbone/nonsense", "backbone/nonsense"),
    ("'dataset={a: 1}'", "dataset", ""),
    ("vote=label,prompt", "vote", "label,prompt"),
    ("--nonsense", "--nonsense", "--nonsense"),
    ("--config-name nonsense", "nonsense", "nonsense"),
    ("--config-dir {data}/absent", "config directory", "absent"),
    ("hydra/launcher=nonsense", "hydra/launcher", "nonsense"),
    *(
        (f"--config-dir {{data}}/own experiment={name}", option, shown)
        for name, option, shown in (
            ("unknown_key", "nonsense", "1"),
            ("wrong_value", "seed", "-1"),
            ("open", "experiment", "open.yaml"),
            ("list", "experiment", "list"),
            ("twice", "experiment", "'seed' stands twice"),
            ("no_option", "prompt", "nonsense"),
            ("no_group", "nonsense", "nonsense"),
            ("interpolated", "seed", "nonsense"),
            ("resolver", "seed", "nonsense"),
            ("itself", "seed", "seed"),
            ("latin", "experiment", "latin"),
        )
    ),
    ("--config-dir {data}/bomb experiment=bomb", "experiment", "aliases"),
    # sweeps
    ("-m seed=-1,-2", "seed", "-1"),
    ("-m prompt=task,nonsense", "prompt", "nonsense"),
    ("-m vote=nonsense,other", "vote", "nonsense"),
    ("-m 'seed=range(0)'", "seed", "range(0)"),
    ("-m 'seed=range(1,1000000000)'", "seed", "range"),
    ("-m hydra/sweeper=nonsense", "hydra/sweeper", "nonsense"),
)
PREDICT: tuple[Line, ...] = (
    ("--targets '\"0'", "targets", '"0'),
    ("--targets ''", "targets", "''"),
    ("--targets ,", "targets", ","),
    ("--targets red,red", "targets", "red,red"),
    ("--targets orange", "targets", "orange"),
    ("--prior red", "prior", "red"),
    ("--prior red=nan", "prior", "red=nan"),
    ("--prior red=inf,green=1,blue=1", "prior", "inf"),
    ("--prior red=-1,green=1,blue=1", "prior", "-1"),
    ("--prior red=.5,green=.4,blue=.2", "prior", "1.1"),
    ("--prior red=1", "prior", "green"),
    ("--prior orange=1", "prior", "orange"),
    ("--prior red=.5,red=.5", "prior", "red"),
    ("--threshold 2", "threshold", "2"),
    ("--threshold -1", "threshold", "-1"),
    ("--threshold nan", "threshold", "nan"),
    ("--threshold half", "--threshold", "half"),
    ("--top-k 0", "top-k", "0"),
    ("--top-k 1000000000", "top-k", "1000000000"),
    ("--top-k x", "--top-k", "x"),
    ("--max-pixels 0", "--max-pixels", "0"),
    ("--max-pixels 1.5", "--max-pixels", "1.5"),
    ("--max-pixels 1", "images", "pictures"),
    ("--device gpu", "device", "gpu"),
    ("--device cuda:99", "device", "cuda:99"),
    ("--on-bad-image ignore", "--on-bad-image", "ignore"),
    ("--nonsense", "--nonsense", "--nonsense"),
    ("--weights {data}/absent", "weights", "absent"),
    ("--weights {data}/note.txt", "weights", "note.txt"),
    ("--gallery {data}/absent/page.html", "gallery", "absent"),
    ("--gallery {data}/pictures/a/01.png --overwrite", "gallery", "01.png"),
    ("--gallery {data}/nothing", "gallery", "nothing"),
    *(
        (f"--target-map {{data}}/maps/{name}.yaml", "target_map", shown)
        for name, shown in (
            ("absent", "absent.yaml"),
            ("empty", "empty.yaml"),
            ("none", "warm"),
            ("null", "warm"),
            ("word", "warm"),
            ("list", "list.yaml"),
            ("number", "number.yaml"),
            ("open", "open.yaml"),
            ("twice", "twice.yaml"),
            ("two", "red"),
            ("unknown", "orange"),
            ("taken", "red"),
            ("boolean", "True"),
            ("tag", "tag.yaml"),
            ("loop", "loop.yaml"),
            ("nested", "nested.yaml"),
            ("tab", "tab.yaml"),
            ("bomb", "bomb.yaml"),
            ("latin", "latin.yaml"),
            ("pipe", "pipe.yaml"),
        )
    ),
    ("--target-map {data}/nothing", "target_map", "nothing"),
    ("--target-map /dev/zero", "target_map", "/dev/zero"),
)
# Whole command lines.
OTHER: dict[str, tuple[Line, ...]] = {
    "predict": (
        ("{data}/absent {data}/pictures --out {out}.csv", "model", "absent"),
        ("{data}/nothing {data}/pictures --out {out}.csv", "model", "nothing"),
        ("{data}/note.txt {data}/pictures --out {out}.csv", "model", "note.txt"),
        (
            "runs:/nonsense {data}/pictures --out {out}.csv --tracking-uri sqlite:///{out}.db",
            "tracking.uri",
            ".db",
        ),
        ("{data}/run {data}/absent --out {out}.csv", "images", "absent"),
        ("{data}/run {data}/nothing --out {out}.csv", "images", "nothing"),
        ("{data}/run {data}/x.png --out {out}.csv", "images", "x.png"),
        ("{data}/run '{data}/*.jpg' --out {out}.csv", "images", "*.jpg"),
        ("{data}/run {data}/text/cat/0.png --out {out}.csv", "images", "0.png"),
        ("{data}/run {data}/bombs/cat/0.png --out {out}.csv", "images", "0.png"),
        ("{data}/run {data}/tables/bytes.parquet --out {out}.csv", "images", "bytes.parquet"),
        ("{data}/run {data}/tables/bytes.csv --out {out}.csv", "images", "bytes.csv"),
        ("{data}/run {data}/tables/header.csv --out {out}.csv", "images", "header.csv"),
        ("{data}/run {data}/pictures.csv --column file --out {out}.csv", "column", "file"),
        ("{data}/run {data}/tables/twice.csv --column label --out {out}.csv", "column", "label"),
        ("{data}/run {data}/broken/cat/0.png --on-bad-image error --out {out}.csv", "images", "0.png"),
        ("{data}/run {data}/pipes --on-bad-image error --out {out}.csv", "images", "x.png"),
        ("{data}/run {data}/pictures", "--out", "--out"),
        ("{data}/run {data}/pictures --out {out}.txt", "out", ".txt"),
        ("{data}/run {data}/pictures --out {data}/absent/out.csv", "out", "absent"),
        ("{data}/run {data}/pictures --out {data}/tables/folder.csv", "out", "folder.csv"),
        ("{data}/run {data}/pictures --out {data}/photos.csv", "out", "photos.csv"),
        ("{data}/run {data}/pictures.csv --out {data}/pictures.csv --overwrite", "out", "pictures.csv"),
        (
            "{data}/run {data}/pictures --out {out}.csv --gallery {data}/maps/none.yaml --overwrite",
            "gallery",
            "none.yaml",
        ),
        ("{data}/run", "IMAGES", "--out"),
    ),
    "report": (
        ("", "report", "--study"),
        ("--study a --sweep b", "report", "--study"),
        ("--study nonsense --output-dir {out}", "output", "{out}"),
        ("--sweep nonsense --output-dir {out}", "output", "{out}"),
        ("--study nonsense --output-dir {data}/note.txt", "output", "note.txt"),
        ("study=nonsense", "report", "study=nonsense"),
        ("--stduy nonsense", "--stduy", "--stduy"),
        ("--study", "--study", "--study"),
    ),
    "store": (
        ("", "command", ""),
        ("nonsense", "command", "nonsense"),
        ("--root {data}/absent list", "root", "absent"),
        ("--root {data}/note.txt list", "root", "note.txt"),
        ("--root {data}/absent verify", "root", "absent"),
        ("--root {data}/absent prune", "root", "absent"),
        ("--root {data} prune --unused-for -1", "--unused-for", "-1"),
        ("--root {data} prune --unused-for nan", "--unused-for", "nan"),
        ("--root {data} prune --unused-for week", "--unused-for", "week"),
        ("--root {data} list --nonsense", "--nonsense", "--nonsense"),
    ),
}
# Targets that are no part of a run: no word of them may be run.
TARGETS: tuple[Line, ...] = tuple(
    (f"{group}._target_={target}", f"{group}._target_", target)
    for group, target in (
        ("clusterer", "os.path"),
        ("clusterer", "builtins.len"),
        ("clusterer", "os.system"),
        ("clusterer", "sklearn.datasets.load_digits"),
        ("dataset", "sklearn.datasets.load_digits"),
        ("dataset", "builtins.open"),
        ("dataset", "os.getcwd"),
        ("prompt", "builtins.dict"),
        ("prompt", "json.loads"),
        ("fusion", "builtins.print"),
        ("fusion", "numpy.load"),
        ("pairing", "builtins.eval"),
        ("pairing", "pickle.loads"),
        ("text", "builtins.exec"),
        ("text", "subprocess.run"),
        ("classifier", "subprocess.Popen"),
        ("classifier", "sklearn.cluster.KMeans"),
        ("backbone", "torch.load"),
        ("backbone", "builtins.object"),
        ("tracking", "builtins.list"),
        ("clusterer", "nonsense"),
        ("clusterer", "nonsense.Clusterer"),
        ("clusterer", "sklearn.cluster"),
        ("clusterer", "sklearn.cluster.Nothing"),
        ("clusterer", "''"),
    )
)
DATABASES: tuple[Line, ...] = (
    ("tracking.uri=sqlite:////proc/nothing.db", "tracking.uri", "/proc"),
    ("tracking.uri=''", "tracking.uri", "''"),
    ("tracking.uri=sqlite:///{data}/note.txt", "tracking.uri", "note.txt"),
    ("tracking.uri=sqlite:///{data}/photos", "tracking.uri", "photos"),
    ("tracking.uri=nonsense://x", "tracking.uri", "nonsense://x"),
    ("tracking.uri=http://127.0.0.1:9", "tracking.uri", "127.0.0.1:9"),
    ("tracking.uri={data}/note.txt", "tracking.uri", "note.txt"),
    ("tracking.experiment=''", "tracking.experiment", "''"),
)


def written_cases() -> Iterator[Case]:
    """Cases of data, prompts, parts, places, Hydra's words, sweeps, predictions, reports and the store."""
    for base, lines in DATA.items():
        yield from (_case("run", f"{base} {words}", option, value) for words, option, value in lines)
    yield from (_case("run", _on(_RUN, words), option, value) for words, option, value in RUN)
    yield from (_case("predict", f"{_PREDICT} {words}", *rest) for words, *rest in PREDICT)
    for command, lines in OTHER.items():
        yield from (_case(command, *line) for line in lines)


def target_cases() -> Iterator[Case]:
    """Cases of ``_target_``."""
    yield from (_case("run", _on(_RUN, words), option, value) for words, option, value in TARGETS)


def database_cases() -> Iterator[Case]:
    """Cases of the tracking store."""
    base = _RUN.replace("tracking=none", "")
    yield from (_case("run", f"{base} {words}", option, value) for words, option, value in DATABASES)


def _on(base: str, line: str) -> str:
    """Words of a run with those of a line: options first, and no word that the line has itself."""
    words = shlex.split(line)
    own = {_key(word) for word in words}
    flags = [place for place, word in enumerate(words) if word.startswith("-")]
    first = [place for flag in flags for place in (flag, flag + 1) if place == flag or words[flag] in _VALUED]
    others = [word for place, word in enumerate(words) if place not in first]
    left = [word for word in base.split() if _key(word) not in own]
    return shlex.join([*(words[place] for place in first), *left, *others])


_VALUED = ("--config-dir", "--config-name")


def _key(word: str) -> str:
    return word.lstrip("+~").partition("=")[0].partition(".")[0]


def _case(command: str, words: str, option: str, value: str) -> Case:
    return Case(f"{command} {words}", tuple(shlex.split(words)), option, value, command)
