"""A heading of the materials as the question a student would ask about it, by rule; None for one that makes no good question.

It knows English. A heading in another language stands alone between quotation marks, as its grammar is not known here. Grammar by rule is
sometimes wrong: where a form is in doubt the heading is left out, since another one is always near.
"""

from __future__ import annotations

import re
from collections import Counter

from rag.text import STOPWORDS, words

MOST_WORDS = 9
"""Of a heading; a longer one is a sentence of its own."""
LONGEST_QUESTION = 15
"""Words of a heading that is a question already."""
LONGEST_NAME = 7
"""Words of a noun phrase."""
LONGEST_TERM = 4
"""Words of a part of a heading, beside a colon, that names something."""
SHORTEST, LONGEST = 3, 90
"""Characters of a heading without its number."""

_ANCHOR = re.compile(r"\[\[[^\]]*\]\]|\{#[^}]*\}")
_MARKUP = re.compile(r"(?:^|(?<=\s))#{1,6}\s|\*\*|__|`")
_SYMBOLS = re.compile(r"\d?\uFE0F?\u20E3|[\U0001F000-\U0001FAFF\u2190-\u21FF\u2600-\u27BF\uFE0F\u200D]")
_NUMBER = re.compile(r"^(?:(?:§|[A-Z]\.)?\s*\d{1,3}(?:\.\d{1,3})*[.):]?|[IVX]{1,5}[.)]|[A-Za-z][.)]|\([A-Za-z0-9]{1,3}\))\s+(?=\S)")
_UNIT = re.compile(
    r"^(?:transcript of |slides of |notes on )?(?:lecture|lec|lab|week|module|unit|chapter|part|session|class|assignment|homework|project"
    r"|section|topic)\s*#?\d{1,3}[a-z]?"
    r"(?:\s*[:.–—-]\s*|\s+)(?=\S)",
    re.IGNORECASE,
)
_REMARK = re.compile(
    r"\s*[(\[](?:[^()\[\]]*\d[^()\[\]]*(?:points?|pts?|%|min(?:utes)?|marks?)\.?|cont(?:inued|['’.]?d?\.?)|optional)[)\]]", re.IGNORECASE
)
_EXERCISE = re.compile(
    r"^(?:exercise|task|problem|question|example|figure|fig|table|listing|step|appendix|slide|page|quiz|part|chapter|week|day|q)s?"
    r"(?:\s*[#(.]?\s*\d|\s+(?-i:[A-Z]|[IVX]+)\b)",
    re.IGNORECASE,
)
_GENERIC = frozenset(
    """above abstract acknowledgement acknowledgements acknowledgment acknowledgments agenda announcements answer answers appendix
    assignment background basics begin below bibliography calendar case caution chapter check choice closer code colophon complete
    conclusion conclusions contents contributions copyright corpus course credits data day debugging definition definitions demo
    description detailed details discussion end exam example examples exercise exercises faq figure final first following full
    further general glossary goal goals hint hints homework important index information input intro introduction introductory it key
    keywords knowledge lab last lecture license links logistics look material materials misc miscellaneous more motivation multiple
    new next note notes objective old other outline output overview page part path plan points practice preface preliminaries
    prerequisites problem problems questions quiz reading readings recap reference references remark remarks remedy request
    resources results review roadmap schedule second section setup slide slides solution solutions sources start step steps summary
    syllabus table takeaways task tasks terminology text thanks things third time tip tips title today topic topics try turn warmup
    warning week welcome whole worked wrap-up wrapup your yourself""".split()
)
"""Words that say nothing of what a section is about: a heading of nothing else is left out."""
_WHOLE = frozenset(
    one.strip()
    for one in """let's try it | wrapping up | putting it all together | putting it together | what's next | what next | where next | going
    further | deep dive | thank you | for further reading | learning goals | exam time | what you learned | in this lecture | in
    this chapter | how to read | big picture | hands on | in practice | what is this | looking ahead | what to expect | what are
    they | how does it work | who is next | what goes wrong | what to know | in short | at a glance | the idea | the method | what
    we build | what you are given | what is given | what you will learn | what you'll learn | what you will build | why | how | what
    | open questions | other questions | common questions | frequently asked questions | week by week | what comes next | the
    experiment | an experiment""".split("|")
)
"""Headings that say as little, as a whole."""
_CODE = re.compile(r"[=\\{}<>|^~;]|\w_\w|->|::|https?:|www\.|@\w+\.|/\w+/|\.\w+\(|\w\(\w")
_FILE = re.compile(
    r"[\w-]+\.(?:py|ipynb|pdf|md|mkd|txt|tex|c|h|cpp|cu|java|js|ts|json|csv|html?|zip|gz|toml|ya?ml|sh|sql|png|jpe?g|docx?|pptx?|xlsx?)\b",
    re.IGNORECASE,
)
_COMMAND = re.compile(
    r"^(?:add|adapt|build|call|choose|compare|compute|configure|convert|create|debug|decode|define|deploy|download|draw|encode|evaluate"
    r"|find|fine-tune|fit|get|implement|import|install|load|make|measure|open|plot|pick|prepare|preprocess|push|read|run|save|select|send"
    r"|set up|share|solve|split|start|submit|test|tokenize|train|tune|upload|use|visualize|write)\s+(?:and [a-z]+ )?"
    r"(?=(?:your|the|an?|my|our|this|these|all|its|in|up|with|to|from)\b)",
    re.IGNORECASE,
)
_HOW_TO = re.compile(r"^how\s+(?:to|do i|can i)\s+", re.IGNORECASE)
_WHAT_TO = re.compile(r"^what\s+to\s+(hand in|submit|turn in|deliver|bring|measure|report|read)\b", re.IGNORECASE)
_INTRODUCES = re.compile(
    r"^(?:an?\s+)?(?:(?:brief|short|quick|gentle)\s+)?(?:introduction|intro|overview|basics|fundamentals|essentials)\s+(?:to|of)\s+",
    re.IGNORECASE,
)
_USING = re.compile(r"^(?:using|working with)\s+", re.IGNORECASE)
_VERSUS = re.compile(r"^(.+?)\s+(?:vs\.?|versus)\s+(.+)$", re.IGNORECASE)
_ASKS = frozenset("what why how who whom whose which when where is are was were can could do does did should will would may must".split())
_AUXILIARY = frozenset(
    "is are was were do does did can could should will would may might must has have had shall isn't aren't don't doesn't".split()
)
_VERBS = frozenset(
    """is are was were am be can cannot could should will would may might must has have had do does did needs means makes keeps moves
    grows gives takes uses helps works leads allows decides goes go solve shows requires becomes keep learn discover meet""".split()
)
_ORDERS = re.compile(
    r"^(?:annotate|export|try|time to"
    r"|analy[sz]e|apply|articulate|assess|categorize|communicate|construct|critique|demonstrate|describe|develop"
    r"|discuss|employ|evaluate|examine|explain|explore|identify|interpret|recognize|understand|learn|know|think|trade|train|consider|summarize|meet)\s",
    re.IGNORECASE,
)
"""Learning goals and instructions, which name no thing."""
_POINTING = frozenset("it its they them their this that these those he she his her we our us you your i my me".split())
_ARTICLES = frozenset("a an the my your our this these those".split())
_AFTER_GERUND = _ARTICLES | {"by", "with", "for", "from", "in", "on", "through", "inside", "into", "over"}
_AFTER_HEAD = re.compile(r"\s+(?:of|for|in|with|to|from|by|on|at|over|under|against|about|as|beyond|through)\s+|,\s|\s\(")
"""What ends the head of a noun phrase."""
_VAGUE = frozenset({"a bit", "a few", "a little", "a look", "a closer", "a quick"})
_QUANTIFIERS = frozenset("more some other another each every one two three four five several many few all both any only".split())
_UNPREFIXED = frozenset(
    """inside behind around across after before during towards toward through against among of and in at for from with to on by or but
    if as about without beyond into per than between under over not no""".split()
)
_SINGULAR = re.compile(
    r"(?:ss|us|is|(?:phys|stat|mat|eth|econom|linguist|log|dynam|analyt|graph|robot|genet|polit)\w*ics"
    r"|news|series|lens|bias|canvas|always|alias|atlas|gas|['’]s)$"
)
_PROCESS = re.compile(r"\w{2,}(?:ing|ization|isation|lation|ration|nation|zation|ction)$", re.IGNORECASE)
_COUNTED = frozenset(
    """algorithm architecture assumption cache challenge cycle environment format formula framework function gap graph hierarchy
    interface journey kernel law layer library matrix mechanism method model network operator phase pipeline problem procedure
    process project protocol rule schedule scheme server stage statement strategy structure system table theorem tree""".split()
)
"""Last words of phrases that get an article where the text does not tell."""
_VERBAL = frozenset(
    """adding assembling fine-tuning gathering grouping
    including interpreting writing asking avoiding building calling catching changing choosing combining comparing
    computing concatenating conversing controlling counting creating debugging defining deleting deploying designing drawing
    encoding estimating evaluating extracting finding finishing fitting fusing getting handling implementing improving installing
    joining keeping letting listing loading making managing measuring merging opening optimizing parsing passing plotting preparing
    preprocessing processing quantizing reading removing replacing retrieving reusing running saving searching selecting separating
    setting sharing slicing solving sorting splitting storing testing tokenizing training traversing updating visualizing
    coalescing""".split()
)
"""Gerunds that take an object: what follows them is no head noun."""
_NO_PROCESS = frozenset(
    """grading wellbeing well-being string strings thing things meeting spring building function functions section action encoding
    pricing staffing seating reading king ring distribution equation definition relation correlation population nation ration
    station fraction question setting""".split()
)

RULES: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), course, part)
    for pattern, course, part in (
        (r"\bre-?grad(?:e|ing)", "How can I ask for a regrade?", "How can I ask for a regrade?"),
        (r"\bgrading (?:scale|scheme)|\bletter grades?\b", "What is the grading scale?", "What is the grading scale?"),
        (r"\b(?:grading|grades?|assessment|rubric)\b", "How is the course graded?", "How is {part} graded?"),
        (
            r"\blate (?:days?|work|policy|submissions?|assignments?|homework|penalt)|\blateness\b|\bextensions?\b",
            "What are the rules for late work?",
            "What are the rules for late work?",
        ),
        (r"\boffice hours\b", "When are the office hours?", ""),
        (r"\bmake-?up\b", "What are the rules for make-up work and exams?", ""),
        (r"\battendance\b", "What are the rules on attendance?", ""),
        (r"\bparticipation\b", "How does participation count?", ""),
        (
            r"\b(?:academic (?:integrity|honesty|dishonesty|conduct|misconduct)|plagiarism|cheating|honor code)\b",
            "What are the rules on academic integrity?",
            "",
        ),
        (r"\bcollaborat\w+ (?:policy|rules)|\bcollaboration\b$", "What are the rules on working together?", ""),
        (r"\b(?:ai tools?|generative ai|chatgpt|use of ai)\b", "Which AI tools may I use?", ""),
        (r"\b(?:accommodations?|disabilit\w+)\b", "How do I ask for an accommodation?", ""),
        (r"\b(?:illness|emergenc\w+|absences?)\b", "What should I do if I am ill or miss a class?", ""),
        (
            r"\b(?:textbooks?|required (?:texts?|books?|readings?|materials?)|course (?:texts?|materials?))\b",
            "Which textbooks and materials does the course require?",
            "",
        ),
        (r"\bpre-?requisites?\b", "What are the prerequisites of the course?", ""),
        (r"\b(?:learning|course) (?:outcomes?|objectives?|goals?)\b", "What are the learning outcomes of the course?", ""),
        (r"\bmid-?term\b", "When and how is the midterm held?", ""),
        (r"\bfinal exam", "When and how is the final exam held?", ""),
        (r"\b(?:exams?|examinations?)\b", "When and how are the exams held?", ""),
        (r"\bstaff\b|\binstructors?\b|\bcontact\b", "Who teaches the course, and how can I reach them?", ""),
        (r"\bmilestones\b|\bdeadlines\b|\bdue dates?\b", "What are the deadlines?", "What are the deadlines of {part}?"),
        (r"^(?:the )?(?:teams?|groups?)$", "", "What are the rules for teams in {part}?"),
        (r"\b(?:hand(?:ing)?[ -]?in|to submit|submission|deliverables?|turn(?:ing)? in)\b", "", "What do I have to hand in for {part}?"),
        (r"\bcommon mistakes\b|\bpitfalls\b", "", "What are common mistakes in {part}?"),
        (r"\bhints\b", "", "Which hints are there for {part}?"),
        (r"\brules\b", "", "What are the rules of {part}?"),
    )
)
"""Headings of rules: the question about the course, and about a part of it such as an assignment; empty: none."""


def question_about(heading: str, text: str, language: str | None = "en", part: str = "") -> str | None:
    """The question that a section answers, guessed from its heading.

    Args:
        heading: the innermost of its path.
        text: of the section: tells names, which keep their capitals, from other words.
        language: of the document, ISO 639-1; English where it is None.
        part: what the document is called where it is an assignment or the like: `assignment 1`.
    """
    bare = bare_heading(heading)
    if not SHORTEST <= len(bare) <= LONGEST or _is_code(bare) or not any(character.isalpha() for character in bare):
        return None
    if language not in (None, "en") or not _is_latin(bare):
        return None if _EXERCISE.match(bare) or len(words(bare)) > MOST_WORDS else f"“{bare.rstrip('.:?')}”?"
    if part and re.match(rf"\W*{re.escape(part.removeprefix('the '))}\b", heading, re.IGNORECASE):
        return f"What is {part} about?"
    if _EXERCISE.match(bare):
        return None
    rule = rule_question(bare, part)
    if rule is not None:
        return rule or None
    told = [word for word in words(bare) if word not in STOPWORDS]
    if is_generic(bare) or (part and len(told) < 2 and bare[-1] != "?"):
        return None
    return _asked(bare, text)


def rule_question(bare: str, part: str = "") -> str | None:
    """The question about a heading of rules; empty where there is none for it, None where it is no such heading."""
    if len(words(bare)) > 6 or bare.endswith("?"):
        return None
    for pattern, course, of_part in RULES:
        if pattern.search(bare):
            return of_part.format(part=part) if part else course
    return None


def bare_heading(heading: str) -> str:
    """A heading without number, anchor, markup, points: `2.1 Paged memory (20 points)` → `Paged memory`."""
    bare = " ".join(_MARKUP.sub("", _SYMBOLS.sub("", _ANCHOR.sub("", heading))).split())
    bare = _REMARK.sub("", bare).strip()
    before = None
    while before != bare:
        before, bare = bare, _UNIT.sub("", _NUMBER.sub("", bare)).strip(" .:–—-*")
    return bare


def is_generic(bare: str) -> bool:
    """Whether a heading says nothing of what its section is about."""
    plain = " ".join(words(bare))
    told = [word for word in words(bare) if word not in STOPWORDS]
    return plain.replace("’", "'") in _WHOLE or all(word in _GENERIC or word.isdigit() or len(word) < 2 for word in told)


def _is_code(bare: str) -> bool:
    if " " not in bare and (re.search(r"^\d+-|-\w-|-\w$", bare) or bare.count("-") > 2):
        return True  # the name of a file
    return bool(_CODE.search(bare) or _FILE.search(bare)) or (bool(re.search(r"\(\)|[a-z][A-Z]\w*\.", bare)) and len(words(bare)) < 3)


def _is_latin(text: str) -> bool:
    letters = [character for character in text if character.isalpha()]
    return sum(character < "\u0250" for character in letters) > len(letters) / 2


def _asked(bare: str, text: str) -> str | None:
    """An English heading that is about something, as a question."""
    every = words(bare)
    if bare.endswith("?") and "," not in bare[:-1] and every[0] in _ASKS | {"in", "for", "from", "to"}:
        return f"{bare[0].upper()}{bare[1:]}" if 3 <= len(every) <= LONGEST_QUESTION and _names_something(every) else None
    if len(every) > MOST_WORDS or (re.search(r"[.!?]\s+\S", bare.replace("vs.", "vs").rstrip(".!?")) and "?" not in bare):
        return None
    if bare.endswith("?"):
        part = re.split(r"\s[-–—:]\s|:\s", bare)[-1]
        return _asked(part, text) if part != bare and words(part)[:1] and words(part)[0] in _ASKS else None
    if "?" in bare:
        return _asked(bare.rsplit("?", 1)[1].strip(), text)
    bare = bare.rstrip(".! ")
    if {*every} & {"i", "we", "us", "me", "you"} or re.search(r"\bthis (?:chapter|lecture|course|book|section|lab)\b", bare, re.IGNORECASE):
        return None
    for colon in (": ", " – ", " — ", " - "):
        if colon in bare:
            return _of_two(*bare.partition(colon)[::2], text)
    if match := _VERSUS.match(bare):
        return f"What is the difference between {_uncapped(match[1], text)} and {_uncapped(match[2], text)}?"
    if _WHAT_TO.match(bare):
        return None
    if match := _HOW_TO.match(bare):
        return f"How do I {_own(_uncapped(bare[match.end() :], text))}?"
    if every[0] in _ASKS:
        return _of_clause(bare, every)
    if not _COMMAND.match(bare) and _ORDERS.match(bare):
        return None
    if _COMMAND.match(bare) or _is_command(bare, every):
        return f"How do I {bare[0].lower()}{_own(_uncapped(bare, text))[1:]}?"
    if match := _INTRODUCES.match(bare):
        return _of_noun(bare[match.end() :], text)
    if match := _USING.match(bare):
        return f"How do I use {_own(_uncapped(bare[match.end() :], text))}?"
    return _of_noun(bare, text)


def _is_command(bare: str, every: list[str]) -> bool:
    """Whether a heading begins with a verb: no other word stands right before an article, but a gerund or a preposition."""
    return bool(re.match(r"[a-z]+ (?:the|your|my) ", bare, re.IGNORECASE)) and not every[0].endswith("ing") and every[0] not in _UNPREFIXED


def _names_something(every: list[str]) -> bool:
    return any(word not in STOPWORDS | _ASKS | _GENERIC | _VERBS for word in every)


def _of_clause(bare: str, every: list[str]) -> str | None:
    """A heading that begins like a question and lacks its mark: `Why full utilization is impossible`."""
    if len(every) < 3 or not _names_something(every) or {*every} & _POINTING:
        return None
    clause = bare[0].lower() + bare[1:]
    if match := re.match(r"((?:how|when|where|why|what|which)(?: \w+)?) to (\w.*)", clause):
        return f"{match[1].capitalize()} should one {match[2]}?"
    if every[0] in ("when", "if"):
        return f"What happens {clause}?"
    if every[0] in _AUXILIARY or every[1] in _AUXILIARY:
        return f"{bare[0].upper()}{bare[1:]}?" if len(every) > 3 else None
    if every[0] == "why" and not {*every} & _VERBS:
        return f"{bare}?"
    return f"Can you explain {clause}?" if every[0] in ("why", "how", "what", "where") else None


def _of_two(first: str, second: str, text: str) -> str | None:
    """A heading of two parts, about the one that names a thing: `Searching by words: BM25` is about BM25, `nDCG: a gain` about nDCG."""
    parts = [part for part in (first.strip(), second.strip()) if words(part)]
    if len(parts) < 2 or (is_generic(first) and " and " in second):
        return None
    opening = words(first)[0]
    if _names_by_letters(second) or _PROCESS.search(opening) or is_generic(first) or opening in _ASKS or len(words(first)) > LONGEST_TERM:
        parts.reverse()
    usable = [part for part in parts if len(words(part)) <= LONGEST_TERM and "," not in part and words(part)[0] not in _ASKS]
    return next((asked for part in usable if (asked := _of_noun(part, text))), None)


def _names_by_letters(phrase: str) -> bool:
    """Whether it holds an abbreviation or a name in mixed letters: `BM25`, `ZeRO`, `MQA and GQA`."""
    return bool(re.search(r"\b\w*[a-z]?[A-Z0-9]\w*[A-Z]\w*\b|\b[A-Z]{2,}\d*\b", phrase))


def _of_noun(phrase: str, text: str) -> str | None:
    """A noun phrase: `What is …?`, of a process `How does … work?`, of several things `What are …?`"""
    phrase = phrase.strip(' .:,;–—-"“”')
    every = words(phrase)
    if not every or not _may_name(phrase, every):
        return None
    named = _uncapped(phrase, text)
    opening = named.split()[0].lower()
    if every[0] in ("understanding", "introducing", "exploring"):
        return _of_noun(named.split(maxsplit=1)[1], text) if len(every) > 1 else None
    if every[0] in ("types", "kinds", "forms", "classes", "families") and " of " in named:
        return f"Which {named} are there?"
    # A gerund before an article or a preposition has an object; of others it is known.
    if " " in named and (opening in _VERBAL or (opening.endswith("ing") and named.split()[1] in _AFTER_GERUND)):
        return f"How does {named} work?"
    head = _AFTER_HEAD.split(named)[0]
    joined = re.search(r"\s(?:and|or|&)\s", named if "," in named and "with" not in every else head) is not None
    last = head.split()[-1]
    if _is_process(last):
        return f"How {'do' if joined else 'does'} {named} work?"
    several = joined or _is_plural(last)
    if every[0] in _ARTICLES or joined:
        article = ""
    elif " of " in named or " to " in named:
        article = "the "
    else:
        article = "" if several else _article(named, text)
    return f"What {'are' if several else 'is'} {article}{named}?"


def _may_name(phrase: str, every: list[str]) -> bool:
    """Whether a phrase is likely to name a thing, and one that can be told without its surroundings."""
    if is_generic(phrase) or len(every) > LONGEST_NAME or (len(every) == 1 and len(phrase) < SHORTEST):
        return False
    if every[0] in _UNPREFIXED | _QUANTIFIERS or every[-1] in _UNPREFIXED | _ARTICLES | {"first", "short"} or " ".join(every[:2]) in _VAGUE:
        return False
    if {*every} & (_VERBS | _POINTING) or every[0].endswith(("n't", "n’t")) or _ORDERS.match(phrase):
        return False
    if every[0] == "the" and len(every) == 2 and phrase[1:].islower():
        return False  # `The pipeline`: only its document tells which
    if len(re.findall('["“”]', phrase)) % 2:
        return False
    commas = phrase.count(",")
    if commas > 2 or (commas == 1 and not {*every} & {"and", "with"}) or phrase.count("(") != phrase.count(")"):
        return False
    return not re.search(r"[%\t]|\([^)]*\d|\b[A-Z]{2,}[- ]?[A-Z]* ?\d{3}|/.*/", phrase)


def _is_process(noun: str) -> bool:
    return bool(_PROCESS.search(noun)) and noun.lower() not in _NO_PROCESS and noun[0].islower()


def _is_plural(noun: str) -> bool:
    return len(noun) > 3 and noun.endswith("s") and not noun.isupper() and not _SINGULAR.search(noun)


def _uncapped(phrase: str, text: str) -> str:
    """The phrase inside a sentence: a word has a capital where the text writes it so in mid-sentence, more often than small."""

    shouts = phrase.isupper() and len(phrase) > 5 and " " in phrase
    has_small = any(word.islower() and word not in STOPWORDS for word in re.findall(r"[^\W\d_]+", phrase))

    pairs = re.finditer(r"(?=\b([A-Z][a-z]+) ([A-Z][a-z]+)\b)", phrase)
    names = [match for match in pairs if text.count(f"{match[1]} {match[2]}") > 1 and f"{match[1]} {match[2]}".lower() not in text]
    in_pairs = {match.start(group) for match in names for group in (1, 2)}

    def recased(match: re.Match[str]) -> str:
        word = match[0]
        if (
            word.islower()
            or not (word[1:].islower() or len(word) == 1 or shouts)
            or re.match(r"\w", phrase[match.start() - 1 : match.start()])
        ):
            return word
        small = word.lower()
        if small in STOPWORDS:
            return small
        # The word before is small: then it stands in mid-sentence, and in no heading.
        as_name = len(re.findall(rf"\b[a-z]+,? {re.escape(small.capitalize())}\b", text))
        as_word = len(re.findall(rf"\b{re.escape(small)}\b", text))
        is_owner = small.endswith(("'s", "’s"))
        if match.start() in in_pairs:
            return word
        is_inner = match.start() > 0  # the first word has a capital anyway
        if as_word == 0:
            is_name = is_owner or as_name > 0 or (is_inner and (has_small or text.count(small.capitalize()) > 1))
        else:
            is_name = (is_inner and has_small and as_name > 0) or as_name > 2 * as_word
        return small.capitalize() if is_name else small

    if len(phrase.split()) > 1 and re.search(rf"\b[a-z]+,? {re.escape(phrase)}\b", text):
        return phrase  # a name of several words
    return re.sub(r"[^\W\d_]+(?:['’][^\W\d_]+)?", recased, phrase)


def _article(named: str, text: str) -> str:
    """What goes before a noun phrase: what the text has before it mostly, else `the` where the phrase names one countable thing."""
    after = r"(?=\s*(?:[.,;:()\n]|$)|\s+(?:is|are|was|of|in|to|that|which|and|for|with|on|as|at|by|has|can|will|from|or|does|must)\b)"
    found = Counter(match.lower() for match in re.findall(rf"\b(?:(an?|the) )?{re.escape(named)}{after}", text, re.IGNORECASE))
    found[""] -= 1  # the heading itself
    if max(found.values()) > 0:
        best = found.most_common(1)[0][0]
        return f"{best} " if best else ""
    return "the " if named.split()[-1] in _COUNTED and not re.match(r"\w+['’]s ", named) else ""


def _own(phrase: str) -> str:
    return re.sub(r"\byour\b", "my", phrase)
