"""Mappings of published data sets: rows in each published shape, where files lie, what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from resources.recipe.declared import mapping
from resources.recipe.loading import examine
from resources.recipe.packaged import mappings
from resources.recipe.sections.data import JUDGED, Source
from resources.recipe.tree import plain
from resources.sources import hub
from resources.verifiers.truths import unreadable
from tests.resources.sources.reading import rows

REAL = Path(__file__).resolve().parents[4] / "shared" / "data"
PUBLISHED = yaml.safe_load(Path(__file__).with_name("published.yaml").read_text())


def declared(name: str, **own: Any) -> Source:
    return Source.model_validate({"license": "mit", **plain(mapping(name)), **own})


def lying(folder: Path, fixture: dict[str, Any]) -> Path:
    """A file with the fixture's rows in the format that is published."""
    path = folder / f"rows.{fixture['form']}"
    if fixture["form"] == "parquet":
        pq.write_table(pa.Table.from_pylist(fixture["rows"]), path)
    elif fixture["form"] == "json":
        path.write_text(json.dumps(fixture["rows"]))
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in fixture["rows"]))
    return path


def test_every_mapping_has_a_fixture_that_names_its_page() -> None:
    assert sorted(PUBLISHED) == mappings()
    assert all(each["page"] and each["rows"] for each in PUBLISHED.values())


@pytest.mark.parametrize("name", mappings())
def test_rows_of_the_published_shape_are_read(tmp_path: Path, name: str) -> None:
    fixture = PUBLISHED[name]
    path = lying(tmp_path, fixture)
    source = declared(name, path=str(path), config=None, files=None)
    kept, lost = rows(tmp_path, source)
    assert len(kept) == fixture["kept"] and len(kept) + len(lost) == len(fixture["rows"])
    if source.kind in JUDGED:
        told = [unreadable({**value, "domain": source.domain}) for value, _ in kept]
        assert told == [None] * len(kept)


@pytest.mark.parametrize("name", [name for name in mappings() if "there" in PUBLISHED[name]])
def test_its_files_are_found_in_the_published_listing(tmp_path: Path, name: str) -> None:
    fixture, source = PUBLISHED[name], declared(name)
    dataset, revision = source.path.removeprefix("hub:").partition("@")[::2]
    revision = revision or "main"
    kept = tmp_path / f"{dataset.replace('/', '--')}@{revision.replace('/', '--')}.json"
    listed = [{"dataset": dataset, "commit": "0", "path": path} for path in fixture["there"]]
    kept.write_text(json.dumps(listed))
    assert [each.path for each in hub.files(source, tmp_path)] == fixture["read"]


def recipe(folder: Path, source: str) -> Path:
    path = folder / "mine.yaml"
    path.write_text(f"extends: heirloom/smoke\nname: mine\nsources:\n  traces: {source}\n")
    return path


def test_a_source_is_like_a_mapping_but_for_what_it_says_itself(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("")
    found = examine(recipe(tmp_path, "{like: limo, path: ./a.jsonl, fields: {response: r}}"))
    assert not found.faults and found.recipe is not None
    source = found.recipe.family.sources["traces"]
    assert (source.kind, source.verifier, source.license) == ("responses", "math", "apache-2.0")
    assert source.fields["response"] == "r" and source.fields["question"] == "question"


def test_a_mapping_that_is_none_is_named(tmp_path: Path) -> None:
    (fault,) = examine(recipe(tmp_path, "{like: lima, path: ./a.jsonl}")).faults
    assert "sources.traces.like: no mapping 'lima'; did you mean 'limo'?" in str(fault)


@pytest.mark.skipif(not REAL.is_dir(), reason=f"no real data at {REAL}")
@pytest.mark.parametrize(
    ("name", "path", "count"),
    [
        ("ifeval", "ifeval/input_data.jsonl", 541),
        ("glaive_function_calling", "tools_glaive/glaive_toolcall_en_demo.json", 300),
    ],
)
def test_public_files_are_accounted_for(name: str, path: str, count: int) -> None:
    source = declared(name, path=path, files=None)
    kept, lost = rows(REAL, source)
    assert len(kept) + len(lost) == count
    if name == "ifeval":
        told = [unreadable({**value, "domain": source.domain}) for value, _ in kept]
        assert not lost and told == [None] * count
    else:
        assert not lost and all(turns[-1]["role"] == "assistant" for turns, _ in kept)
