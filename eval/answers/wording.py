"""How replies state, deny and refuse an answer: the words that the parser of answers looks for.

Every repetition in these patterns is bounded, so that a pattern does a bounded amount of work at each character.
"""

from __future__ import annotations

import re
import unicodedata

# Characters that words of alphabets with spaces between words are made of; CJK text needs no boundary beside a letter.
WORD = "0-9A-Za-z_\u00aa-\u02af\u0370-\u052f"

_NOUNS = (
    "answer|solution|antwort|respuesta|réponse|reponse|risposta|resposta|antwoord|svar|svaret|odpowiedź|cevap"
    "|ответ|отговор|отговорът|відповідь"
)
_CJK_NOUNS = "答案|正解|答え|回答|解答|정답|답"
_VERBS = (
    "(?:choose|chose|choosing|pick|picked|select|selected|going with|go with|opt for|guess|think|believe|say"
    "|wähle|glaube|choisis|pense|elijo|creo|escolho|acho|scelgo|выбираю)"
)

# What follows one of these is the answer: a letter soon after it, or an option's text in the rest of the sentence.
ANSWER_CUE = re.compile(rf"(?<![{WORD}])(?:{_NOUNS})(?![{WORD}]| choices| options)|{_CJK_NOUNS}", re.IGNORECASE)
BOXED = re.compile(r"\\(?:boxed|fbox) ?\{([^{}\n]{1,200})\}")
# Only a letter, or an option's text, right after it.
VERB_CUE = re.compile(
    rf"(?<![{WORD}]){_VERBS}(?: that)?(?: it| this| that)?(?:'s| is)?(?: the)?(?![{WORD}])", re.IGNORECASE
)
COPULA_CUE = re.compile(
    rf"(?<![{WORD}])(?:is|it's|therefore|thus|hence|so|be|ist|est|es|è|é|also|donc)(?![{WORD}'])|选|選|は",
    re.IGNORECASE,
)
DENIED_CUE = re.compile(
    rf"(?<![{WORD}])(?:not|nicht|pas|no|non) [^.;\n]{{1,40}}(?:but|sondern|mais|sino|ma) ", re.IGNORECASE
)
OPTION_CUE = re.compile(
    rf"(?<![{WORD}])(?:option|choice|letter|opción|opzione|opção|choix|lettre|buchstabe|вариант)(?![{WORD}])"
    "|选项|選項|選択肢|보기",
    re.IGNORECASE,
)

# After a letter: the sentence says that it is right, or wrong.
ENDORSED = re.compile(
    r"\W{0,3} ?(?:is|was|would be|must be|seems|looks)\b[^.;\n]{0,40}\b(?:correct|right|answer|best)\b", re.IGNORECASE
)
REFUSED = re.compile(
    r"\W{0,3} ?(?:(?:is|was|looks|seems|can|could|does|would)\b[^.;,\n]{0,25}?"
    r"(?:\b(?:not|incorrect|wrong|false|ruled|eliminated|excluded|impossible|unlikely)\b|n't\b)"
    r"|(?:isn't|can't|doesn't|cannot|won't|wouldn't)\b)",
    re.IGNORECASE,
)
# Between two letters, or two options' texts, that are stated together.
JOINT = re.compile(
    r"[)\]}\"']?(?: ?[,/&+|、] ?| )?(?:(?:or|and|and/or|oder|und|ou|et|y|o|e|или|и|или|または|或|和|또는) )?"
    r"(?:options? )?(?:(?:an?|the) )?[(\[{\"']?",
    re.IGNORECASE,
)
# A letter that is also a word stands for an option only before these.
WORD_LETTERS = "AEIOUY"
AFTER_LETTER = re.compile(
    r" (?:is|was|because|since|as|for|which|that|with|and|or|but|would|must|seems|looks|matches|best|due|correct|given"
    r"|rather|instead|not|ist|weil|est|car|parce|porque|es|è|é|perché)\b",
    re.IGNORECASE,
)
ARTICLE = re.compile(
    r"(?:(?:a|an|the|some|der|die|das|ein|eine|einen|le|la|les|un|une|des|el|los|las|una|il|lo|o|os|as|um|uma)\s|[ld]'"
    r"|c'est (?:une? |le |la )?)",
    re.IGNORECASE,
)

# Before an option's text in its clause, and at most five words away: the option is denied.
NEGATOR = re.compile(
    rf"(?:(?<![{WORD}])(?:not(?! (?:only|just|merely))|no(?! it)|never|nor|neither|without|cannot|isnt|unlike|except"
    r"|excluding|instead of|rather than|nicht|kein|keine|keinen|pas|sin|non|não|nie|ne|не|ни|нет|без)"
    rf"(?![{WORD}])|n't(?![{WORD}])|不是|没有|沒有|并非)",
    re.IGNORECASE,
)
CLAUSE = re.compile(
    rf"[.;:,!?\n，。；]|(?<![{WORD}])(?:but|however|so|therefore|thus|hence|because|since|sondern|mais|sino|mas|aber|ma|но|а)"
    rf"(?![{WORD}])",
    re.IGNORECASE,
)
DENIED_AFTER = re.compile(
    r" ?(?:(?:is|are|was|were|does|do|can|could|would|has|have) ?(?:n't|not)\b(?! (?:only|just))"
    r"|cannot\b|では(?:ない|ありません)|じゃない|(?:이|가) 아니)",
    re.IGNORECASE,
)

# The reply gives no answer, whatever options it names.
REFUSAL = re.compile(
    r"\b(?:can(?:no|')t|cannot|can not|unable to|not able to|couldn't|could not|don't|do not)\b"
    r"(?: \w{1,12}+){0,3}? (?:see|view|access|open|load|look at|have|hear|listen to)\b"
    r"(?: \w{1,12}+){0,3}? (?:image|picture|photo|attachment|visual|audio|sound|recording|file)s?\b"
    r"|\bno (?:image|picture|photo|audio|sound|recording|file)s?\b(?: \w{1,12}+){0,4}? "
    r"(?:provided|attached|given|included|available|uploaded|shared|visible)\b"
    r"|\bno (?:image|picture|photo|audio) ?[.!]?$"
    r"|\b(?:image|picture|photo|audio) (?:is|was)(?: not|n't) "
    r"(?:provided|attached|given|included|available|visible|here)\b"
    r"|\bas an? (?:AI|text|language|text-based)\b"
    r"|\b(?:none|neither) of (?:the|these|those|them|above|your)\b"
    r"|\bno (?:correct|right|valid) (?:answer|option|choice)\b"
    r"|\b(?:can't|cannot|can not|unable to|not able to|not possible to|impossible to) "
    r"(?:be )?(?:answer|answered|determine|determined|tell|told|say|identify|identified|help|assist|provide)\b"
    r"|\b(?:insufficient|not enough|too little) (?:information|context|detail|details)\b"
    r"|\bkeine (?:der|von)\b|\bninguna de\b|\baucune? des?\b|\bnessuna (?:delle|di)\b"
    r"|以上都不|都不是|无法(?:看到|确定|回答)|無法",
    re.IGNORECASE,
)
DOUBT = re.compile(
    r"\b(?:not (?:sure|certain|clear)|unsure|uncertain|unclear|no idea|hard to (?:tell|say)|difficult to (?:tell|say)"
    r"|(?:don't|do not|dont) (?:know|understand)|no way to (?:know|tell)|weiß (?:es )?nicht|ne sais pas|no lo sé|no sé"
    r"|non lo so|não sei|не знаю)\b|不知道|不确定|不清楚|わかりません|分かりません|わからない|모르",
    re.IGNORECASE,
)
TURN = re.compile(r"\b(?:but|however|though|although|still|nevertheless|aber|mais|pero|ma|mas|но)\b|但", re.IGNORECASE)

_UNWRAPPED = re.compile(
    r"\\(?:text|textbf|textit|mathrm|mathbf|mathit|rm|bf) ?\{([^{}\n]{0,100})\}|\$(\\?[A-Za-z{}\\()]{1,40})\$"
)
_EMPHASIS = re.compile(r"(?<![^\W_])[*_`~]{1,3}(?=\S)|(?<=\S)[*_`~]{1,3}(?![^\W_])")
_QUOTES = str.maketrans({"’": "'", "‘": "'", "ʼ": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "−": "-"})


def cleaned(text: str) -> str:
    """Text without emphasis, typographic variants and blank lines; of a chain of thought in tags, what follows it."""
    after = text.rpartition("</think>")[2]
    text = after if after.strip() else text
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES).replace("\\(", "").replace("\\)", "")
    for _ in range(2):  # they come within each other
        text = _EMPHASIS.sub("", _UNWRAPPED.sub(lambda found: found[1] or found[2] or "", text))
    return "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())


def folded(text: str) -> str:
    """Text without case; unlike ``casefold`` it keeps every character's place."""
    return "".join(low if len(low := each.casefold()) == 1 else each for each in text)


PATTERNS = {name: each for name, each in list(globals().items()) if isinstance(each, re.Pattern)}
