"""Files that were opened before their folder was deleted."""

from contextlib import ExitStack

from abaw_ray.core.storage.unnamed_files import link_all, open_all


def test_files_of_a_deleted_folder_are_read_by_path_through_links_several_times(tmp_path):
    folder, links = tmp_path / "folder", tmp_path / "links"
    (folder / "subfolder").mkdir(parents=True)
    links.mkdir()
    (folder / "a.txt").write_text("one")
    (folder / "b.txt").write_text("two")
    with ExitStack() as stack:
        files = open_all(folder, stack)
        for path in (folder / "a.txt", folder / "b.txt"):
            path.unlink()
        link_all(files, links)
        for _ in range(2):
            assert [(links / name).read_text() for name in ("a.txt", "b.txt")] == ["one", "two"]
    assert files.keys() == {"a.txt", "b.txt"} and all(file.closed for file in files.values())
    assert not (links / "a.txt").exists()
