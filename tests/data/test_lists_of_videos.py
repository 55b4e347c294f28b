import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from abaw_ray.core import schema
from abaw_ray.core.errors import DataError
from abaw_ray.data.trees import Tree
from abaw_ray.data.videos import IMAGE_SUFFIXES, SUFFIXES, identity_of, is_image, list_videos


@pytest.fixture
def clips(files):
    for path in ("a.mp4", "b/a.mp4", "b/c/d.e.AVI", "b/c/notes.txt", ".hidden.mp4", "b/._a.mp4"):
        files.put(path)
    return files


def names(where):
    return [row["video"] for row in list_videos(where)]


def test_a_folder_gives_all_videos_below_it_named_by_their_path_and_hidden_files_are_left_out(clips):
    rows = list_videos(clips.root)
    assert [row["video"] for row in rows] == ["a.mp4", "b/a.mp4", "b/c/d.e.AVI"]
    assert rows[1]["uri"] == str(clips.root / "b/a.mp4") and rows[1]["subjects"] == [] and rows[1]["size"] == len("video")
    assert pa.Table.from_pylist(rows, schema=schema.VIDEO).num_rows == 3


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.mp4", ["a.mp4"]),
        ("b/*", ["a.mp4"]),
        ("*/a.mp4", ["b/a.mp4"]),
        ("**/*.mp4", ["a.mp4", "b/a.mp4"]),
        ("b/**", ["a.mp4", "c/d.e.AVI", "c/notes.txt"]),
        ("b/?/d.e.[A-Z]*", ["c/d.e.AVI"]),
    ],
)
def test_a_pattern_names_videos_by_their_path_below_its_fixed_part(clips, pattern, found):
    assert names(f"{clips.root}/{pattern}") == found


def test_relative_patterns_and_folders_begin_at_the_working_folder(clips, monkeypatch):
    monkeypatch.chdir(clips.root)
    assert names("*.mp4") == ["a.mp4"] and names("b") == ["a.mp4", "c/d.e.AVI"]
    assert list_videos("*/a.mp4")[0]["uri"] == str(clips.root / "b/a.mp4")


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(clips):
    clips.put("what[1].mp4")
    assert names(clips.root / "what[1].mp4") == ["what[1].mp4"]


def test_a_text_list_has_one_address_per_line_relative_to_itself_or_absolute(clips, tmp_path):
    far = tmp_path / "far.mp4"
    far.write_text("video")
    clips.put("list.txt", f"# mine\n\nb/a.mp4\n./a.mp4\n{far}\n")
    rows = {row["video"]: row["uri"] for row in list_videos(clips.root / "list.txt")}
    assert rows == {"b/a.mp4": str(clips.root / "b/a.mp4"), "a.mp4": str(clips.root / "a.mp4"), str(far).lstrip("/"): str(far)}


def test_a_csv_list_may_name_its_videos(clips):
    clips.put("list.csv", 'uri,year,video\na.mp4,2020,first\n"b/a.mp4",2021,\n')
    assert names(clips.root / "list.csv") == ["b/a.mp4", "first"]


@pytest.mark.parametrize("column", ["uri", "path"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_address_column_of_a_table_is_uri_or_path_and_videos_may_be_named(clips, column, kind):
    far = str(clips.root / "b/c/d.e.AVI")
    table = pa.table({"label": [1, 2, 3], column: ["a.mp4", "b/a.mp4", far], "video": ["first", None, ""]})
    clips.put("list.csv", f"label,{column},video\n1,a.mp4,first\n2,b/a.mp4,\n3,{far},\n")
    pq.write_table(table, clips.root / "list.parquet")
    rows = list_videos(clips.root / f"list.{kind}")
    assert {row["video"]: row["uri"] for row in rows} == {
        "b/a.mp4": str(clips.root / "b/a.mp4"),
        "first": str(clips.root / "a.mp4"),
        far.lstrip("/"): far,
    }
    assert {row["identity"] for row in rows} == {row["identity"] for row in list_videos(clips.root)}


def test_only_required_columns_of_a_parquet_list_are_read_in_any_string_type(clips):
    paths = pa.array(["a.mp4", "b/a.mp4"]).dictionary_encode()
    pq.write_table(pa.table({"uri": paths, "path": ["x", "y"], "video": pa.array([7, 8])}), clips.root / "LIST.PARQUET")
    assert names(clips.root / "LIST.PARQUET") == ["7", "8"]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"uri": ["a.mp4", "gone.mp4"]}, r"list\.parquet, row 2: 'gone\.mp4' is not a file"),
        ({"uri": ["a.mp4", None]}, r"list\.parquet, row 2: no URI or path"),
        ({"file": ["a.mp4"]}, r"list\.parquet: no column 'uri' or 'path' among none"),
        ({"path": [["a.mp4"]]}, r"list\.parquet: column 'path' is list.*must hold text"),
        (b"no table", r"list\.parquet: not a Parquet file"),
    ],
)
def test_an_invalid_parquet_list_raises_an_error_with_the_row(clips, columns, message):
    if isinstance(columns, bytes):
        clips.put("list.parquet", columns)
    else:
        pq.write_table(pa.table(columns), clips.root / "list.parquet")
    with pytest.raises(DataError, match=message):
        list_videos(clips.root / "list.parquet")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("list.txt", "a.mp4\ngone.mp4\n", r"list\.txt:2: 'gone\.mp4' is not a file"),
        ("list.txt", "a.mp4\n./a.mp4\n", r"'a\.mp4' occurs twice; list"),
        ("list.txt", "# nothing\n", "no video found"),
        ("list.csv", "file\na.mp4\n", r"list\.csv:1: no column 'uri' or 'path' among file"),
        ("list.csv", "uri,video\na.mp4,\n,b\n", r"list\.csv:3: no URI or path"),
        ("list.csv", "uri\na.mp4\n/gone.mp4\n", r"list\.csv:3: '/gone\.mp4' is not a file"),
    ],
)
def test_an_invalid_list_raises_an_error_with_the_line(clips, name, text, message):
    clips.put(name, text)
    with pytest.raises(DataError, match=message):
        list_videos(clips.root / name)


def test_a_long_list_is_queried_in_one_request(clips, monkeypatch):
    clips.put("list.txt", "a.mp4\n" + f"{clips.root}/b/a.mp4\n" + f"file://{clips.root}/b/c/d.e.AVI\n")
    queried_roots, stat = [], Tree.stat
    monkeypatch.setattr(Tree, "stat", lambda tree, paths: queried_roots.append(tree.root) or stat(tree, paths))
    assert len(names(clips.root / "list.txt")) == 3
    assert queried_roots == [str(clips.root), str(clips.root), "/"], "the list itself, the addresses relative to it, all others"


@pytest.mark.parametrize(
    ("where", "message"), [("gone", "no such file or folder"), ("gone/*.mp4", "no such folder"), ("b/c/*.mkv", "no file matches this pattern")]
)
def test_an_address_without_videos_is_an_error(clips, where, message):
    with pytest.raises(DataError, match=message):
        list_videos(clips.root / where)


def test_the_identity_depends_on_address_size_and_modification_time(clips):
    first = identity_of(clips.root / "a.mp4")
    assert first == identity_of(f"file://{clips.root}/a.mp4") == list_videos(clips.root)[0]["identity"]
    assert first != identity_of(clips.root / "b/a.mp4")
    os.utime(clips.root / "a.mp4", (1, 1))
    second = identity_of(clips.root / "a.mp4")
    clips.put("a.mp4", "longer video")
    os.utime(clips.root / "a.mp4", (1, 1))
    assert len({first, second, identity_of(clips.root / "a.mp4")}) == 3
    with pytest.raises(DataError, match="no such file"):
        identity_of(clips.root / "gone.mp4")


def test_images_of_a_folder_are_items_of_their_own_where_they_are_wanted(clips):
    for path in ("b/x.JPG", "b/y.webp", "pages/z.tiff", "pages/notes.md"):
        clips.put(path)
    assert [row["video"] for row in list_videos(clips.root)] == ["a.mp4", "b/a.mp4", "b/c/d.e.AVI"]
    both = [row["video"] for row in list_videos(clips.root, suffixes=(*SUFFIXES, *IMAGE_SUFFIXES))]
    assert both == ["a.mp4", "b/a.mp4", "b/c/d.e.AVI", "b/x.JPG", "b/y.webp", "pages/z.tiff"]
    assert [name for name in both if is_image(name)] == ["b/x.JPG", "b/y.webp", "pages/z.tiff"]
    only = list_videos(clips.root / "pages", suffixes=(*SUFFIXES, *IMAGE_SUFFIXES))
    assert [row["video"] for row in only] == ["z.tiff"]
    assert [row["video"] for row in list_videos(clips.root / "b/x.JPG")] == ["x.JPG"], "a single image, as a single video"
