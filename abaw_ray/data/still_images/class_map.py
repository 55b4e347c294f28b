"""Names of class folders -> expressions: the user's class map first, then English names of expressions."""

from collections.abc import Iterable

from abaw_ray.core.errors import ConfigError
from abaw_ray.core.expressions import ENCODER_CLASSES, EXPRESSIONS

_EXPRESSION_BY_FOLDER = {
    "neutral": "Neutral",
    **dict.fromkeys(("anger", "angry"), "Anger"),
    **dict.fromkeys(("disgust", "disgusted"), "Disgust"),
    **dict.fromkeys(("fear", "afraid", "fearful"), "Fear"),
    **dict.fromkeys(("happiness", "happy"), "Happiness"),
    **dict.fromkeys(("sadness", "sad"), "Sadness"),
    **dict.fromkeys(("surprise", "surprised"), "Surprise"),
    **dict.fromkeys(("contempt", "contemptuous"), "Contempt"),
    "other": "Other",
}
_VALUES = tuple(dict.fromkeys((*ENCODER_CLASSES, *EXPRESSIONS, "drop")))


class ClassMap:
    """The class map of all data sets; it records which of its entries were used."""

    def __init__(self, pairs: Iterable[str] = ()) -> None:
        """Parse the pairs.

        Args:
            pairs: ``<folder>=<expression>`` for every data set with class folders, or ``<source>/<folder>=<expression>`` for one of them, which
                takes precedence. The expression ``drop`` excludes a folder.

        Raises:
            ConfigError: a pair has another form, a value is not an expression, or a folder occurs twice.
        """
        self._map: dict[str, str] = {}
        self._unused: set[str] = set()
        for pair in pairs:
            folder, _, expression = pair.rpartition("=")
            if not folder:
                raise ConfigError(f"data.class_map: '{pair}' is not <folder>=<expression>; write for example 0=Neutral")
            if expression not in _VALUES:
                raise ConfigError(
                    f"data.class_map: {pair}: '{expression}' is none of {', '.join(_VALUES)}; choose one, and give each pair separately"
                )
            if folder in self._map:
                raise ConfigError(f"data.class_map: the folder '{folder}' is given twice; leave one of the two out")
            self._map[folder] = expression
            self._unused.add(folder)

    def expressions(self, folders: Iterable[str], source: str, where: str) -> dict[str, str]:
        """Folder name -> expression, without the folders that are dropped.

        Args:
            folders: Names of the class folders.
            source: Name of the data set.
            where: Location of the folders, for error messages.

        Raises:
            ConfigError: a folder is neither in the map nor the English name of an expression.
        """
        found, unknown = {}, []
        for folder in folders:
            key = next((key for key in (f"{source}/{folder}", folder) if key in self._map), "")
            self._unused.discard(key)
            expression = self._map.get(key) or _EXPRESSION_BY_FOLDER.get(folder.lower())
            if expression is None:
                unknown.append(folder)
            elif expression != "drop":
                found[folder] = expression
        if unknown:
            raise ConfigError(
                f"{where}: unknown class of the folders {', '.join(unknown)}: uploads number them differently; give the expression of each, "
                f"for example --data.class-map {unknown[0]}=Neutral (or {source}/{unknown[0]}=Neutral for this data set only, or "
                f"{unknown[0]}=drop)"
            )
        return found

    def check_used(self) -> None:
        """Check that every entry named a folder of a data set.

        Raises:
            ConfigError: an entry names none.
        """
        if self._unused:
            raise ConfigError(
                f"data.class_map: no data set has a class folder '{min(self._unused)}'; correct the name (letter case counts) or leave it out"
            )
