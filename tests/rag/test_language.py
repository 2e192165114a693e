import subprocess
import sys

import pytest

from rag.language import document_language, question_language

SENTENCES = {
    "en": "The midterm counts a third of the grade, and late work loses ten points for each day after the deadline.",
    "de": "Die Zwischenprüfung zählt ein Drittel der Note, und späte Arbeiten verlieren zehn Punkte für jeden Tag nach der Abgabefrist.",
    "es": "El examen parcial cuenta un tercio de la nota, y los trabajos tardíos pierden diez puntos por cada día después del plazo.",
    "zh": "期中考试占总成绩的三分之一，迟交的作业在截止日期之后每天扣十分，并且在学期结束之后不再接受任何作业。",
}


@pytest.mark.parametrize("language", SENTENCES)
def test_documents_and_questions_in_their_language(language: str) -> None:
    assert document_language(SENTENCES[language] * 3) == language
    assert question_language(SENTENCES[language], ["en", "zh", "de", "es"]) == language


def test_a_short_document_is_in_no_language_for_sure() -> None:
    assert document_language("Harvard University, 27") is None
    assert document_language("") is None


def test_a_question_without_letters_is_in_the_commonest_language() -> None:
    assert question_language("???", ["de", "en"]) == "de"


def test_with_one_language_or_none_there_is_nothing_to_tell_and_nothing_is_loaded() -> None:
    assert question_language("¿Cuándo es el examen?", []) is None
    code = "import sys, rag.language as l; assert l.question_language('¿Cuándo?', ['en']) == 'en'; sys.exit('py3langid' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
