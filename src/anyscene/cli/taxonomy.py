"""``anyscene taxonomy``: look into a vocabulary, or check one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from anyscene.cli.options import TaxonomyFolder
from anyscene.cli.printing import print_json, printable

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]})

CHECK = """Report every mistake of a taxonomy folder with file and line.

Example: anyscene taxonomy check my-taxonomy
"""
STATS = """Count what a vocabulary holds.

Example: anyscene taxonomy stats
"""
SEARCH = """Find words of a vocabulary and what is known of them.

Example: anyscene taxonomy search "red fox"
"""


@app.command("check", help=CHECK)
def check(folder: Annotated[Path, typer.Argument(help="The folder with the TSV files.")]) -> None:
    """Print the mistakes; exit 1 where there are any."""
    from anyscene.taxonomy import check_taxonomy

    problems = check_taxonomy(folder)
    for problem in problems:
        print(printable(str(problem)))
    if problems:
        print(f"{len(problems)} mistakes in {folder}")
        raise typer.Exit(1)
    print(f"{folder}: no mistakes")


@app.command("stats", help=STATS)
def stats(taxonomy: TaxonomyFolder = None, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Print the counts."""
    import numpy as np

    from anyscene.taxonomy import FAMILIAR, VISIBLE, load_taxonomy

    t = load_taxonomy(taxonomy)
    seen = t.objects.visuality >= VISIBLE

    def by(names: tuple[str, ...], index: np.ndarray) -> dict[str, int]:
        counts = np.bincount(index, minlength=len(names)) if len(index) else np.zeros(len(names), dtype=np.int64)
        return {name: int(count) for name, count in zip(names, counts, strict=True) if count}

    from anyscene.taxonomy import RELATION_TYPES

    numbers = {
        "name": t.name,
        "digest": t.digest,
        "objects": {"all": len(t.objects), "visible": int(seen.sum()), "familiar": int((seen & (t.objects.familiarity >= FAMILIAR)).sum())},
        "visible objects by class": by(t.classes, t.objects.class_index[seen]),
        "attributes": {"all": len(t.attributes), **by(t.attribute_types.names, t.attributes.type_index)},
        "relations": {"all": len(t.relations), **by(RELATION_TYPES, t.relations.type_index)},
        "scene attributes": {
            "all": len(t.scene_attributes),
            "visible": int(t.scene_attributes.visible.sum()),
            **by(t.scene_attribute_types.names, t.scene_attributes.type_index),
        },
    }
    if as_json:
        print_json(numbers)
        return
    for name, value in numbers.items():
        if isinstance(value, dict):
            print(f"{name}: " + ", ".join(f"{key} {count:,}" for key, count in value.items()))
        else:
            print(f"{name}: {value}")


@app.command("search", help=SEARCH)
def search(
    words: Annotated[str, typer.Argument(help="Part of a word, in any case.")],
    taxonomy: TaxonomyFolder = None,
    limit: Annotated[int, typer.Option(help="At most so many of each kind.", min=1)] = 20,
) -> None:
    """Print what matches, exact matches first."""
    from anyscene.taxonomy import NUMBERS, RELATION_TYPES, load_taxonomy

    t = load_taxonomy(taxonomy)
    part = words.casefold()

    def matches(names: tuple[str, ...]) -> list[int]:
        found = [i for i, name in enumerate(names) if part in name.casefold()]
        return sorted(found, key=lambda i: (names[i].casefold() != part, len(names[i]), names[i]))[:limit]

    def classes(mask: object) -> str:
        import numpy as np

        own = np.flatnonzero(np.asarray(mask))
        return "any" if len(own) == len(t.classes) else ",".join(t.classes[i] for i in own)

    lines = []
    objects, attributes, relations, scene = t.objects, t.attributes, t.relations, t.scene_attributes
    for i in matches(objects.names):
        scores = f"visuality {objects.visuality[i]:.2f}, familiarity {objects.familiarity[i]:.2f}"
        about = f"{NUMBERS[objects.number[i]]}, {t.classes[objects.class_index[i]]}, {scores}"
        lines.append(f"object     {objects.names[i]} ({about}): {' > '.join(t.hypernym_path(i))}")
    for i in matches(attributes.values):
        kind = t.attribute_types.names[attributes.type_index[i]]
        lines.append(f"attribute  {attributes.values[i]} ({kind}; fits {classes(attributes.fits[i])})")
    for i in matches(relations.names):
        ends = f"{classes(relations.subjects[i])} -> {classes(relations.objects[i])}"
        lines.append(f"relation   {relations.names[i]} ({RELATION_TYPES[relations.type_index[i]]}; {ends})")
    for i in matches(scene.values):
        kind = t.scene_attribute_types.names[scene.type_index[i]]
        lines.append(f"scene      {scene.values[i]} ({kind}; {', '.join(sorted(scene.modalities[i]))}): {scene.phrases[i]}")
    if not lines:
        from anyscene.errors import TaxonomyError

        raise TaxonomyError(f"nothing in the taxonomy {t.name!r} has {words!r} in it")
    print("\n".join(lines))
