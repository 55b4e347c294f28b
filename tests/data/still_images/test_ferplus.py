import numpy as np
import pytest

from abaw_ray.core.errors import DataError
from abaw_ray.data.still_images.ferplus import count_votes, read_ferplus

HEADER = "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
ROWS = [
    "Training,fer0000000.png,4,0,0,1,3,2,0,0,0,0",  # 4 of 9: no majority
    "Training,fer0000001.png,6,0,1,1,0,0,0,0,2,0",
    "Training,fer0000003.png,4,0,0,4,1,0,0,0,1,0",  # two winners
    "Training,fer0000018.png,1,0,2,4,2,0,0,0,1,0",  # 4 of 8 without single votes: half is no majority
    "Training,,0,0,0,0,0,0,0,0,0,10",
    "Training,fer0000050.png,0,0,0,0,0,0,0,0,8,2",  # unknown
    "Training,fer0000060.png,1,1,1,1,1,1,1,1,1,1",
    "Training,fer0000070.png,0,0,0,0,1,0,1,5,3,0",  # 5 of 8 without single votes
    "PublicTest,fer0028638.png,0,10,0,0,0,0,0,0,0,0",
    "PrivateTest,fer0032220.png,10,0,0,0,0,0,0,0,0,0",
]


@pytest.fixture(params=["", "data/"])
def tree(request, files):
    files.put("fer2013new.csv", "\n".join([HEADER, *ROWS]) + "\n")
    for folder in ("FER2013Train", "FER2013Valid", "FER2013Test"):
        files.put(f"{request.param}{folder}/label.csv", "")
    return files, request.param


def test_images_with_a_majority_for_an_expression_are_read_and_the_test_images_are_not(tree):
    files, top = tree
    images = read_ferplus(files.root)
    assert [(image.name, image.expression, image.split, image.box, image.source) for image in images] == [
        (f"ferplus/{top}FER2013Train/fer0000001.png", "Neutral", "train", None, "ferplus"),
        (f"ferplus/{top}FER2013Train/fer0000070.png", "Contempt", "train", None, "ferplus"),
        (f"ferplus/{top}FER2013Valid/fer0028638.png", "Happiness", "val", None, "ferplus"),
    ]
    assert images[0].path == str(files.root / f"{top}FER2013Train/fer0000001.png")


def test_the_required_agreement_is_a_setting(tree):
    found = [[image.name[-8:-4] for image in read_ferplus(tree[0].root, min_agreement=share)] for share in (0.0, 0.45, 0.74, 0.8)]
    assert found == [["0000", "0001", "0018", "0070", "8638"], ["0001", "0018", "0070", "8638"], ["0001", "8638"], ["8638"]]


def majority(votes, min_agreement):
    """The rule of FER+ for the votes of one image, vote by vote; None without a majority for an expression."""
    votes = [count if count > 1 else 0 for count in votes]
    leaders = [column for column, count in enumerate(votes) if count == max(votes)]
    if len(leaders) > 1 or max(votes) <= min_agreement * sum(votes) or leaders[0] in (8, 9):
        return None
    return leaders[0]


@pytest.mark.parametrize("min_agreement", [0.0, 0.4, 0.5, 0.75])
def test_votes_are_counted_as_by_their_definition(min_agreement):
    votes = np.random.default_rng(0).multinomial(10, [0.3, 0.2, 0.1, 0.1, 0.1, 0.05, 0.05, 0.02, 0.05, 0.03], size=500).astype(np.float64)
    winner, agreed = count_votes(votes, min_agreement)
    assert [int(column) if ok else None for column, ok in zip(winner, agreed, strict=True)] == [majority(row, min_agreement) for row in votes]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEADER}\nTraining,a.png,1,0,0,0,0,0,0,0,0,\n", r":2: 'NF' is not a number of votes"),
        (f"{HEADER}\nTraining,a.png,-1,0,0,0,0,0,0,0,0,0\n", r":2: 'neutral' is not a number of votes"),
        (f"{HEADER}\n{ROWS[1]}\nTest,a.png,1,0,0,0,0,0,0,0,0,0\n", r":3: usage is 'Test'"),
        ("emotion,pixels,Usage\n0,1 2,Training\n", r": .*expected the columns Usage, Image name, neutral"),
    ],
)
def test_an_invalid_list_raises_an_error_with_file_and_line(tree, text, message):
    tree[0].put("fer2013new.csv", text)
    with pytest.raises(DataError, match=rf"fer2013new\.csv{message}"):
        read_ferplus(tree[0].root)


def test_a_missing_list_and_missing_images_raise_errors_with_what_to_do(files):
    files.put("fer2013.csv")
    with pytest.raises(DataError, match=r"fer2013new\.csv: no such file"):
        read_ferplus(files.root)
    files.put("fer2013new.csv", f"{HEADER}\n")
    with pytest.raises(DataError, match=r"FER2013Train: no such folder; .*generate_training_data\.py"):
        read_ferplus(files.root)
