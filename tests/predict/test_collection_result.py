import json

from abaw_ray.predict.output.result import CollectionResult, VideoResult

FILES = {
    "summary": "out/summary.csv",
    "episodes": "out/episodes.csv",
    "failures": "out/failures.csv",
    "run": "out/run.json",
    "pages": "out/index.html",
}


def result(videos, failures=()):
    return CollectionResult(total=len(videos) + len(failures), videos=videos, failures=failures, files=FILES, model={}, versions={})


def analyzed(name, notes=(), people=1):
    rows = [{"person": f"{index}", "frames": 10} for index in range(people)]
    return VideoResult(video=name, source=f"in/{name}", files={"csv": f"out/{name}.csv", "page": f"out/{name}.html"}, people=rows, notes=notes)


def test_of_many_videos_the_terminal_names_three_and_json_all():
    many = result([analyzed(f"v{number}", notes=("no face",)) for number in range(100_000)])
    lines = many.lines()
    assert lines[0] == "100,000 of 100,000 videos, 100,000 people, 1,000,000 rows"
    assert len(lines) == 1 + 11 + 7 and lines[11] == "... and 99,990 more notes, each in the page of its video"
    assert lines[-4:] == ["tables:   out/v0.csv", "          out/v1.csv", "          out/v2.csv", "          ... and 99,997 more"]
    plain = json.loads(json.dumps(many.to_plain()))
    assert [video["files"]["csv"] for video in plain["videos"]] == [f"out/v{number}.csv" for number in range(100_000)]


def test_one_of_each_is_named_in_the_singular():
    one = result([analyzed("v")], [{"video": "w", "reason": "no video", "frames_kept": None}])
    assert one.lines() == [
        "1 of 2 videos, 1 person, 10 rows",
        "summary:  out/summary.csv",
        "episodes: out/episodes.csv",
        "pages:    out/index.html",
        "tables:   out/v.csv",
        "failures: out/failures.csv (1 video)",
    ]
    assert one.to_plain()["counts"] == {"videos": 2, "analyzed": 1, "failed": 1, "people": 1, "rows": 10}
