import pytest

from abaw_ray.core.errors import ConfigError
from abaw_ray.data.still_images.class_map import ClassMap


def test_the_entry_of_one_data_set_precedes_that_of_all_and_both_precede_english_names():
    class_map = ClassMap(["0=Neutral", "mine/0=Anger", "happy=Surprise", "a=b=Other"])
    assert class_map.expressions(["0", "happy", "Sad"], "mine", "mine") == {"0": "Anger", "happy": "Surprise", "Sad": "Sadness"}
    assert class_map.expressions(["0", "a=b"], "affectnet", "affectnet") == {"0": "Neutral", "a=b": "Other"}
    class_map.check_used()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["Neutral"], "'Neutral' is not <folder>=<expression>"),
        (["=Neutral"], "'=Neutral' is not <folder>=<expression>"),
        (["0=Joy"], "'Joy' is none of Neutral"),
        (["0=Neutral,1=Happiness"], "no data set has a class folder '0=Neutral,1'"),
        (["0=Neutral", "0=Anger"], "'0' is given twice"),
    ],
)
def test_an_invalid_entry_is_refused_with_the_option(pairs, message):
    with pytest.raises(ConfigError, match=rf"data\.class_map: .*({message})"):
        ClassMap(pairs).check_used()


def test_an_entry_that_names_no_folder_is_refused_after_reading():
    class_map = ClassMap(["0=Neutral", "Contempt=drop"])
    assert class_map.expressions(["0", "contempt"], "mine", "mine") == {"0": "Neutral", "contempt": "Contempt"}
    with pytest.raises(ConfigError, match="no data set has a class folder 'Contempt'"):
        class_map.check_used()
