"""lamindb as a peer: reads lines of an operation and a number, does it, checks
that it was done, and prints how many seconds the operation itself took."""

import copy
import os
import pathlib
import sys
import time

folder = pathlib.Path(sys.argv[1]).resolve()
os.environ["LAMIN_SETTINGS_DIR"] = str(folder)
os.chdir(folder)
# lamindb writes to stdout too: that goes to stderr, and the answers where stdout was.
answers = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)

import lamindb_setup

lamindb_setup.init(storage=str(folder / "storage"), name="bench")
# Else every new process asks the hub whether it knows this instance.
lamindb_setup.settings.instance._is_on_hub = False

import lamindb

lamindb.settings.verbosity = "error"
artifacts = {}


def source(number):
    return folder / f"{number}.bin"


def timed(work):
    began = time.perf_counter()
    done = work()
    return done, time.perf_counter() - began


def save(number):
    artifacts[number], took = timed(lambda: lamindb.Artifact(source(number), key=f"new/{number}.bin").save())
    assert artifacts[number].path.read_bytes() == source(number).read_bytes()
    return took


def save_again(number):
    again, took = timed(lambda: lamindb.Artifact(source(number), key=f"again/{number}.bin").save())
    assert again.hash == artifacts[number].hash
    return took


def trash(number):
    _, took = timed(artifacts[number].delete)
    assert lamindb.Artifact.objects.get(uid=artifacts[number].uid).branch_id == -1
    return took


def restore(number):
    _, took = timed(artifacts[number].restore)
    assert lamindb.Artifact.objects.get(uid=artifacts[number].uid).branch_id == 1
    return took


def delete(number):
    artifact = artifacts.pop(number)
    path, uid = artifact.path, artifact.uid
    _, took = timed(lambda: artifact.delete(permanent=True, storage=True))
    assert not path.exists() and not lamindb.Artifact.objects.filter(uid=uid).exists()
    return took


def save_many(number):
    """All files of a folder, each as an artifact, the fastest way that there is."""
    many = folder / f"many-{number}"
    paths = sorted(many.iterdir())

    def work():
        made = lamindb.Artifact.from_dir(many, key=f"many-{number}")
        lamindb.save(made)
        return made

    made, took = timed(work)
    made = list(made)
    assert len(made) == len(paths)
    last = max(made, key=lambda artifact: artifact.key)
    assert last.path.read_bytes() == paths[-1].read_bytes()
    return took


def save_folder(number):
    many = folder / f"folder-{number}"
    made, took = timed(lambda: lamindb.Artifact(many, key=f"folder-{number}").save())
    paths = sorted(many.iterdir())
    assert made.n_files == len(paths)
    assert (made.path / paths[-1].name).read_bytes() == paths[-1].read_bytes()
    return took


def fill(count):
    """Rows without files: saving as many would take minutes and tell nothing more."""
    source("fill").write_bytes(b"fill")
    first = lamindb.Artifact(source("fill"), key="fill.bin").save()

    def another(number):
        row = copy.copy(first)
        row._state = copy.copy(first._state)
        row.pk, row._state.adding = None, True
        row.uid, row.hash, row.key = f"fill{number:012}0000", f"fill{number:018}", f"fill/{number}.bin"
        return row

    rows = [another(number) for number in range(count)]
    _, took = timed(lambda: lamindb.Artifact.objects.bulk_create(rows, batch_size=500))
    assert lamindb.Artifact.objects.count() > count
    return took


def page(number):
    """A page of those whose keys begin alike, newest first."""
    found, took = timed(lambda: list(lamindb.Artifact.filter(key__startswith="fill/1").order_by("-created_at")[:100]))
    assert len(found) == 100
    return took


def annotatable(count):
    """Features, and as many artifacts that are annotated one by one."""
    lamindb.Feature(name="temperature", dtype="float").save()
    lamindb.Feature(name="study", dtype="str").save()
    for number in range(count):
        source(f"a{number}").write_bytes(b"%d" % number)
        artifacts[f"a{number}"] = lamindb.Artifact(source(f"a{number}"), key=f"annotated/{number}.bin").save()
    return 0.0


def annotate(number):
    artifact = artifacts[f"a{number}"]
    values = {"temperature": 20.5 + number, "study": f"study {number}"}
    _, took = timed(lambda: artifact.features.add_values(values))
    assert artifact.features.get_values() == values
    return took


def valued(count):
    """Values of the artifacts of `fill`, without which as many saves would take minutes."""
    feature = lamindb.Feature(name="group", dtype="int").save()
    values = [lamindb.models.JsonValue(feature=feature, value=group, hash=f"group-{group}") for group in range(100)]
    lamindb.models.JsonValue.objects.bulk_create(values)
    ids = lamindb.Artifact.objects.filter(key__startswith="fill/").values_list("id", flat=True)
    through = lamindb.Artifact.json_values.through
    links = [through(artifact_id=id, jsonvalue_id=values[place % 100].pk) for place, id in enumerate(ids[:count])]
    _, took = timed(lambda: through.objects.bulk_create(links, batch_size=500))
    return took


def page_valued(number):
    """A page of those that have a value of a feature, newest first."""
    query = lambda: list(lamindb.Artifact.filter(group=7).order_by("-created_at")[:100])
    found, took = timed(query)
    assert len(found) == 100
    return took


everything = (save, save_again, save_many, save_folder, trash, restore, delete, fill, page)
everything += (annotatable, annotate, valued, page_valued)
operations = {work.__name__: work for work in everything}

# A first save loads what is loaded late.
source("warm").write_bytes(b"warm")
save("warm")
delete("warm")

for line in sys.stdin:
    operation, number = line.split()
    print(operations[operation](int(number)), file=answers)
