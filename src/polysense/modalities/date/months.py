"""Names of months and weekdays in the languages that are read, as they stand in dates, whole and abbreviated.

A name is looked up without its case and its accents, so that "MARS", "Août" and "aout" are read. An abbreviation of
three letters or more means the one month of all languages that begins so; one that two months have ("jui" is June or
July) is not read.
"""

from __future__ import annotations

import unicodedata

__all__ = ["LANGUAGES", "is_weekday", "month_number"]

_NAMES = {
    "English": "january february march april may june july august september october november december",
    "German": "januar februar märz april mai juni juli august september oktober november dezember",
    "German of Austria": "jänner feber märz april mai juni juli august september oktober november dezember",
    "French": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "Spanish": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "Portuguese": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "Italian": "gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre",
    "Catalan": "gener febrer març abril maig juny juliol agost setembre octubre novembre desembre",
    "Dutch": "januari februari maart april mei juni juli augustus september oktober november december",
    "Swedish": "januari februari mars april maj juni juli augusti september oktober november december",
    "Danish": "januar februar marts april maj juni juli august september oktober november december",
    "Norwegian": "januar februar mars april mai juni juli august september oktober november desember",
    "Finnish": "tammikuuta helmikuuta maaliskuuta huhtikuuta toukokuuta kesäkuuta heinäkuuta elokuuta syyskuuta "
    "lokakuuta marraskuuta joulukuuta",
    "Polish": "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia",
    "Czech": "ledna února března dubna května června července srpna září října listopadu prosince",
    "Hungarian": "január február március április május június július augusztus szeptember október november december",
    "Romanian": "ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie",
    "Turkish": "ocak şubat mart nisan mayıs haziran temmuz ağustos eylül ekim kasım aralık",
    "Russian": "января февраля марта апреля мая июня июля августа сентября октября ноября декабря",
    "Ukrainian": "січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня",
    "Greek": "ιανουαρίου φεβρουαρίου μαρτίου απριλίου μαΐου ιουνίου ιουλίου αυγούστου σεπτεμβρίου οκτωβρίου νοεμβρίου "
    "δεκεμβρίου",
}  # fmt: skip
LANGUAGES = tuple(name for name in _NAMES if " of " not in name)
"""Those whose names of months are read."""

# Other cases of a noun, and abbreviations that are no beginning of a name.
_OTHERS = {
    1: "styczeń leden январь січень ιανουάριος tammikuu jän janv sty led oca янв січ ιαν tammi",
    2: "luty únor февраль лютий φεβρουάριος helmikuu févr úno şub фев лют φεβ helmi",
    3: "mar marzec březen март березень μάρτιος maaliskuu mrt mrz brz bře мар бер μαρ maalis",
    4: "kwiecień duben апрель квітень απρίλιος huhtikuu avr kwi dub nis апр кві απρ huhti",
    5: "maj květen май травень μάιος toukokuu мая тра μαι touko kvě kve",
    6: "czerwiec červen июнь червень ιούνιος kesäkuu juin июн ιουν kesä haz cze",
    7: "lipiec červenec июль липень ιούλιος heinäkuu juil июл ιουλ heinä tem",
    8: "sierpień srpen август серпень αύγουστος elokuu sie srp ağu авг сер αυγ elo",
    9: "wrzesień září сентябрь вересень σεπτέμβριος syyskuu sept wrz zář eyl сен сент вер σεπ syys",
    10: "październik říjen октябрь жовтень οκτώβριος lokakuu paź říj eki окт жов οκτ loka",
    11: "listopad ноябрь νοέμβριος marraskuu kas ноя нояб νοε marras",
    12: "grudzień prosinec декабрь грудень δεκέμβριος joulukuu gru pro ara дек гру δεκ joulu",
}  # fmt: skip
_FEWEST_LETTERS = 3

_WEEKDAY_NAMES = """
    monday tuesday wednesday thursday friday saturday sunday tues wednes thur thurs montag dienstag mittwoch
    donnerstag freitag samstag sonnabend sonntag mo di mi do fr sa so lundi mardi mercredi jeudi vendredi samedi
    dimanche lunes martes miercoles jueves viernes sabado domingo segunda terca quarta quinta sexta feira lunedi
    martedi mercoledi giovedi venerdi dilluns dimarts dimecres dijous divendres dissabte diumenge maandag dinsdag
    woensdag donderdag vrijdag zaterdag zondag mandag tisdag onsdag torsdag fredag lordag lordag sondag tirsdag
    maanantaina tiistaina keskiviikkona torstaina perjantaina lauantaina sunnuntaina poniedzialek wtorek sroda
    czwartek piatek sobota niedziela pondeli utery streda ctvrtek patek nedele hetfo kedd szerda csutortok pentek
    szombat vasarnap luni marti miercuri joi vineri sambata duminica pazartesi sali carsamba persembe cuma cumartesi
    pazar понедельник вторник среда четверг пятница суббота воскресенье понеділок вівторок середа четвер пʼятниця
    субота неділя δευτερα τριτη τεταρτη πεμπτη παρασκευη σαββατο κυριακη
"""


def _folded(word: str) -> str:
    """A word without its case and its accents."""
    plain = unicodedata.normalize("NFD", word.casefold().replace("\u0131", "i"))
    letters = "".join(char for char in plain if not unicodedata.combining(char))
    return letters.replace("\u0142", "l").replace("\u00f8", "o").replace("\u00e6", "ae")


def _months() -> dict[str, int]:
    """The month of each name and each beginning of one that all languages agree on."""
    names = [(_folded(name), number) for text in _NAMES.values() for number, name in enumerate(text.split(), start=1)]
    whole = dict(names)
    whole |= {_folded(name): number for number, text in _OTHERS.items() for name in text.split()}
    whole |= {"maerz": 3, "jaenner": 1}
    beginnings: dict[str, set[int]] = {}
    for name, number in names:
        for length in range(_FEWEST_LETTERS, len(name)):
            beginnings.setdefault(name[:length], set()).add(number)
    return {name: next(iter(numbers)) for name, numbers in beginnings.items() if len(numbers) == 1} | whole


_MONTHS = _months()
_WEEKDAYS = frozenset(map(_folded, _WEEKDAY_NAMES.split()))


def month_number(name: str) -> int | None:
    """1 to 12; None for what names no month in a language that is read."""
    return _MONTHS.get(_folded(name.rstrip(".")))


def is_weekday(word: str) -> bool:
    """Whether a word, whole or abbreviated, is a day of the week in a language that is read."""
    word = _folded(word.rstrip(".,"))
    return word in _WEEKDAYS or (len(word) >= _FEWEST_LETTERS and any(day.startswith(word) for day in _WEEKDAYS))
