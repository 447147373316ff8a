"""Columns that name persons: speakers, actors, senders, patients.

Rows of one person resemble one another in everything, so a random split that has a person on both sides measures how
well the model knows that person. Such a column is the group of every automatic split and no input. Its name says so, in
the common languages of tables, and its cells bear it out: identifiers or names that recur. Names that also mean other
things (a mail's subject, a computer's client) need cells that look like identifiers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

from polysense.core.role import Role
from polysense.data.roles.cleaned import cleaned
from polysense.data.roles.column_names import folded_words, name_words, without_identifier
from polysense.data.roles.leaks import tells
from polysense.data.roles.profile import ColumnGuess, ColumnProfile, quote
from polysense.data.roles.split_marks import trained_and_held_out
from polysense.data.tables.sources import Table

__all__ = ["are_patients", "claim_person", "person_columns", "settle_persons", "too_few_persons"]

_PATIENTS = folded_words(
    """patient patients patiente patientes patientin patienten patientinnen paciente pacientes paziente pazienti
    patiënt patiënten pasient pacjent pacient potilas ασθενής ασθενείς пациент пациенты 患者 病人 환자 مريض pat pt"""
)
_PERSONS = _PATIENTS | folded_words(
    """speaker speakers spk spkr actor actors actress sender senders recipient receiver customer customers participant
    participants respondent respondents interviewee interviewer user users username person persons author authors writer
    writers donor donors singer singers performer performers signer signers student students pupil employee employees
    player players athlete driver drivers volunteer volunteers wearer talker narrator reader voter owner borrower
    applicant worker guest buyer seller shopper subscriber
    sprecher sprecherin schauspieler schauspielerin absender absenderin empfänger empfängerin proband probandin
    probanden probandinnen teilnehmer teilnehmerin nutzer nutzerin benutzer benutzerin anwender kunde kundin kunden
    autor autorin verfasser verfasserin schüler schülerin versuchsperson versuchspersonen vp mitarbeiter mitarbeiterin
    befragte befragter spieler spielerin fahrer fahrerin käufer käuferin mandant personen
    locuteur locutrice locuteurs acteur actrice acteurs expéditeur expéditrice utilisateur utilisatrice utilisateurs
    personne personnes auteur autrice auteurs élève élèves étudiant étudiante participante répondant joueur salarié
    hablante locutor locutora actriz remitente participantes usuario usuaria usuarios persona personas alumno alumna
    estudiante encuestado trabajador empleado jugador
    parlante parlanti attore attrice mittente partecipante partecipanti utente utenti autore autrice studente alunno
    falante falantes ator atriz remetente usuário utilizador pessoa pessoas autora aluno aluna
    spreker sprekers spreekster acteur afzender deelnemer deelnemers gebruiker gebruikers klant klanten persoon
    talare avsändare deltagare användare kund taler afsender deltager bruger mówca nadawca uczestnik użytkownik klient
    osoba mluvčí odesílatel uživatel zákazník konuşmacı gönderen katılımcı kullanıcı müşteri kişi
    ομιλητής ομιλητές ομιλήτρια ηθοποιός αποστολέας χρήστης χρήστες πελάτης πελάτες συμμετέχων άτομο συγγραφέας μαθητής
    диктор спикер говорящий актёр актер отправитель пользователь клиент участник испытуемый респондент человек автор
    说话人 发言人 演员 发件人 用户 客户 参与者 受试者 学生 作者
    話者 俳優 送信者 ユーザー 顧客 参加者 被験者 화자 사용자 고객 참가자"""
)
# Words that mean other things as well: a mail's subject, a computer's client, a party's host.
_ALSO_OTHERS = folded_words(
    """subject subjects subj subjekt sujet sujets sujeto sujetos soggetto soggetti client clients cliente clienti
    clientes member members host hosts voice voices voix voz voce stimme child infant individual individuals"""
)
_SHORT = folded_words("pat pt sub vp")  # of names that say "identifier" only: "pat_id"
# What a person is to a conversation is no person.
_PARTS_PLAYED = folded_words(
    """user assistant system bot agent customer client human ai gpt model operator caller doctor nurse patient teacher
    student interviewer interviewee host guest therapist moderator audience adult child other unknown m f male female
    man woman boy girl yes no true false"""
)
# Before a person's word these say that the cell counts or describes persons: "num_speakers", "is_user".
_DESCRIBES = folded_words(
    """num number numbers n nb nr no count counts total sum share percent pct is has was are avg mean max min per rate
    ratio anzahl nombre numero cantidad quantità aantal antal liczba число"""
)
_MOST_WORDS = 4  # in a name, on average
_FEWEST = 3  # persons; fewer can't be split into training, validation and test
_SHOWN = 3
_SPELLING = 0.98  # above chance, see `leaks.tells`


def _person_word(name: str) -> tuple[str, bool, bool] | None:
    """A column's word for persons, whether it may mean other things, and whether the name says "identifier"."""
    words = name_words(name)
    rest, is_identifier = without_identifier(words)
    if not rest or any(word in _DESCRIBES for word in rest[:-1]):
        return None
    for word, identifies in ((rest[-1], is_identifier), (words[-1], False)):
        if word in _SHORT and not identifies:
            continue
        if word in _PERSONS | _SHORT | _ALSO_OTHERS:
            return word, word in _ALSO_OTHERS, identifies
    return None


def are_patients(name: str) -> bool:
    """Whether a column's name says that it names patients, whose rows no split may share unasked."""
    result = _person_word(name)
    return result is not None and result[0] in _PATIENTS


def claim_person(profile: ColumnProfile) -> str | None:
    """Why a column names persons; None if it does not, or if there are too few to be told apart.

    Returns:
        The evidence, as "persons such as '03', 24 distinct values in 1,440 rows".
    """
    distinct = profile.num_distinct()
    if distinct < _FEWEST or not _are_persons(profile):
        return None
    return f"persons such as {_examples(profile)}, {profile.counts()}"


def too_few_persons(profile: ColumnProfile) -> str | None:
    """What is to be known of a column that names fewer persons than can be told apart by a split; None of others."""
    if profile.num_distinct() != _FEWEST - 1 or not _are_persons(profile):
        return None
    return (
        f"it names persons, but only {_FEWEST - 1}, too few to be kept apart in training, validation and test: a "
        f"random split shares them, so the scores hold for these persons"
    )


def _are_persons(profile: ColumnProfile) -> bool:
    """Whether a column's name and cells say that it names persons, several rows each."""
    word = _person_word(profile.name)
    if word is None or not profile.cells or profile.are_lists:
        return False
    _, is_ambiguous, is_identifier = word
    if any(isinstance(cell, (bool, bytes, dict)) for cell in profile.cells[:20]) or any(profile.file_shares.values()):
        return False
    if profile.num_distinct() >= profile.num_present:
        return False
    if profile.num_numbers == len(profile.cells):
        # "users" beside numbers is a count, and half a person is a mean.
        is_plural = name_words(profile.name)[-1].endswith(("s", "nen", "den", "ten")) and not is_identifier
        return not is_plural and profile.range_of_numbers()[2] and not _are_negative(profile)
    if len(profile.texts) < len(profile.cells) or profile.mean_words > _MOST_WORDS:
        return False
    is_unsure = is_ambiguous and not is_identifier and not _look_like_identifiers(profile)
    return not is_unsure and not {text.strip().casefold() for text in profile.texts} <= _PARTS_PLAYED


def _are_negative(profile: ColumnProfile) -> bool:
    return any(str(cell).strip().startswith(("-", "−")) for cell in profile.cells)


def _look_like_identifiers(profile: ColumnProfile) -> bool:
    coded = [text for text in profile.texts if any(c.isdigit() for c in text) and len(text.split()) == 1]
    return len(coded) >= 0.8 * len(profile.texts)


def _examples(profile: ColumnProfile) -> str:
    shown = list(dict.fromkeys(str(cell).strip() for cell in profile.cells))[:_SHOWN]
    return ", ".join(map(quote, shown))


def person_columns(table: Table, without: Collection[str] = ()) -> list[str]:
    """A table's columns that name persons, patients first."""
    named = [name for name in table.names if name not in without and _person_word(name) is not None]
    columns = [name for name in named if claim_person(ColumnProfile(table, name, literal=False)) is not None]
    return sorted(columns, key=lambda name: not are_patients(name))


def settle_persons(
    table: Table, guesses: dict[str, ColumnGuess], targets: Sequence[str], stated: Collection[str]
) -> None:
    """Decides among the columns that name persons: which is the group, and whether the table's own split shares them.

    A person is what a model must not learn by heart, but where the table's split has the same persons on both sides on
    purpose, who speaks may be known and of use: then the column is an input, with a warning.

    Args:
        table: The table.
        guesses: Of all columns; those of persons are groups, with the modality that they would have as inputs.
        targets: What is predicted: a column that spells one of them again is no group.
        stated: What the user said something of.
    """
    groups = [name for name, guess in guesses.items() if guess.role is Role.GROUP]
    persons = sorted((name for name in groups if name not in stated), key=lambda name: not are_patients(name))
    split = next((name for name, guess in guesses.items() if guess.role is Role.SPLIT), None)
    chosen = next((name for name in groups if name in stated), None)
    for name in persons:
        guess = guesses[name]
        evidence = guess.reason.partition(": ")[2]
        spelled = next((target for target in targets if _spells(table, name, target)), None)
        shared = 0 if split is None else _num_shared(table, name, split)
        if spelled is not None:
            reason = f"ignored: it follows from the target {spelled!r}, which looks like another spelling of it"
            guesses[name] = dataclasses.replace(guess, role=Role.IGNORED, reason=reason)
        elif shared and not are_patients(name) and guess.modality is not None:
            warning = f"{shared:,} of its persons are both in training rows and in other rows of the split {split!r}"
            reason = f"{guess.modality}: {evidence}; careful: {warning}, so the scores hold for persons already known"
            guesses[name] = dataclasses.replace(guess, role=Role.INPUT, reason=reason, warnings=(warning,))
        elif chosen is None:
            chosen = name
            kept = "an automatic split keeps each one's rows together"
            if split is not None:
                kept = (
                    f"{shared:,} of them are on both sides of the split {split!r}"
                    if shared
                    else f"no two parts of the split {split!r} share one"
                )
            reason = f"{guess.reason}; {kept}, and they are no input: {_WHY}"
            guesses[name] = dataclasses.replace(guess, modality=None, multiple=False, reason=reason)
        else:
            reason = f"ignored: {evidence}; the rows are grouped by {chosen!r}; {_WHY}"
            guesses[name] = dataclasses.replace(guess, role=Role.IGNORED, reason=reason)
    if chosen is not None or split is not None:
        return
    for name in stated:
        guess = guesses[name]
        if guess.role is Role.INPUT and claim_person(ColumnProfile(table, name, literal=False)) is not None:
            reason = f"{guess.reason}; it names persons, and an automatic split keeps each one's rows together"
            guesses[name] = dataclasses.replace(guess, groups=True, reason=reason)
            return


def _spells(table: Table, name: str, target: str) -> bool:
    """Whether a target's value tells the person: then the column is the target again, and no group."""
    series = cleaned(table, target, literal=True)
    if series.dtype.is_nested() or series.drop_nulls().n_unique() > 0.5 * len(series):
        return False
    return tells(series, cleaned(table, name, literal=False))[1] >= _SPELLING


_WHY = "who it is would be memorized; to use it, name it under columns with its type"


def _num_shared(table: Table, name: str, split: str) -> int:
    """Persons of the training rows that the other rows of a split column have too."""
    trained, others = trained_and_held_out(table, split, cleaned(table, name, literal=False))
    return int(others.is_in(trained.implode()).sum())
