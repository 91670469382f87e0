"""Checkable instructions: the 25 verifiers of IFEval (arXiv 2311.07911), in own code and offline.

An instruction is a function from a response and its keyword arguments to a bool, under the id
that IFEval gives it. Sentence and word splitting are in `words.py`; languages are told by
`langdetect`, as IFEval tells them.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resources.verifiers import words

_OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
_FENCES = ("```json", "```Json", "```JSON", "```")


def verify(
    response: str,
    instruction_ids: Sequence[str],
    kwargs: Sequence[Mapping[str, Any]],
    prompt: str = "",
    loose: bool = False,
) -> list[bool]:
    """Whether `response` follows each instruction.

    Arguments that are None are ignored. `loose` accepts when any of IFEval's eight variants of the
    response follows (without its first line, last line, both; each with and without asterisks).
    An empty response follows nothing. `prompt` stands for a missing `prompt_to_repeat`.

    Raises ValueError for an unknown id or missing or unknown arguments.

    >>> verify("no commas here", ["punctuation:no_comma"], [{}])
    [True]
    >>> verify("Sure:\\nno commas", ["change_case:capital_word_frequency"],
    ...        [{"capital_frequency": 1, "capital_relation": "at least"}])
    [False]
    """
    if len(instruction_ids) != len(kwargs):
        raise ValueError(
            f"{len(instruction_ids)} instruction ids but {len(kwargs)} kwargs; give one each"
        )
    texts = [text for text in (variants(response) if loose else [response]) if text.strip()]
    followed = []
    for name, given in zip(instruction_ids, kwargs, strict=True):
        check = INSTRUCTIONS.get(name)
        if check is None:
            raise ValueError(f"unknown instruction {name!r}; known: {', '.join(INSTRUCTIONS)}")
        arguments = {key: value for key, value in given.items() if value is not None}
        if name == "combination:repeat_prompt" and prompt:
            arguments.setdefault("prompt_to_repeat", prompt)
        try:
            followed.append(any(check(text, **arguments) for text in texts))
        except TypeError as error:
            raise ValueError(f"instruction {name} with {arguments}: {error}") from error
    return followed


def variants(response: str) -> list[str]:
    """The eight texts that loose mode accepts, the response itself first."""
    lines = response.split("\n")
    cut = [
        response,
        "\n".join(lines[1:]).strip(),
        "\n".join(lines[:-1]).strip(),
        "\n".join(lines[1:-1]).strip(),
    ]
    return cut + [text.replace("*", "") for text in cut]


def _compare(count: int, relation: str, threshold: int) -> bool:
    if relation == "at least":
        return count >= threshold
    if relation == "less than":
        return count < threshold
    raise ValueError(f"relation is {relation!r}; it must be 'at least' or 'less than'")


def _language(text: str) -> str | None:
    """The ISO 639-1 code of the text's language, or None when it has no features to tell by."""
    import langdetect

    langdetect.DetectorFactory.seed = 0  # it draws at random otherwise
    try:
        code: str = langdetect.detect(text)
    except langdetect.LangDetectException:
        return None
    return code


def existence(response: str, keywords: Sequence[str]) -> bool:
    """keywords:existence: every keyword occurs, in any case, also inside words."""
    return all(re.search(re.escape(word), response, re.IGNORECASE) for word in keywords)


def frequency(response: str, keyword: str, frequency: int, relation: str) -> bool:
    """keywords:frequency: the keyword occurs so often, in any case, also inside words."""
    found = re.findall(re.escape(keyword.strip()), response, re.IGNORECASE)
    return _compare(len(found), relation, frequency)


def forbidden_words(response: str, forbidden_words: Sequence[str]) -> bool:
    """keywords:forbidden_words: none occurs as a whole word, in any case."""
    patterns = (rf"\b{re.escape(word)}\b" for word in forbidden_words)
    return not any(re.search(pattern, response, re.IGNORECASE) for pattern in patterns)


def letter_frequency(response: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    """keywords:letter_frequency: one character, in any case, occurs so often."""
    count = response.lower().count(letter.strip().lower())
    return _compare(count, let_relation, let_frequency)


def response_language(response: str, language: str) -> bool:
    """language:response_language: the whole response is in one language (ISO 639-1 code)."""
    return _language(response) in (language, None)


def number_sentences(response: str, num_sentences: int, relation: str) -> bool:
    """length_constraints:number_sentences."""
    return _compare(len(words.sentences(response)), relation, num_sentences)


def number_paragraphs(response: str, num_paragraphs: int) -> bool:
    """length_constraints:number_paragraphs: paragraphs divided by `***`, none empty inside."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", response)]
    if not all(parts[1:-1]):
        return False
    return sum(map(bool, parts)) == num_paragraphs


def number_words(response: str, num_words: int, relation: str) -> bool:
    """length_constraints:number_words: a word is a run of word characters."""
    return _compare(len(re.findall(r"\w+", response)), relation, num_words)


def nth_paragraph_first_word(
    response: str, num_paragraphs: int, nth_paragraph: int, first_word: str
) -> bool:
    """length_constraints:nth_paragraph_first_word: paragraphs are divided by two new lines."""
    parts = response.split("\n\n")
    count = sum(bool(part.strip()) for part in parts)
    if count != num_paragraphs or not 1 <= nth_paragraph <= count:
        return False
    paragraph = parts[nth_paragraph - 1].split()
    if not paragraph:
        return False
    word = re.split(r"[.,?!'\"]", paragraph[0].lstrip("'").lstrip('"'))[0]
    return word.lower() == first_word.lower()


def number_placeholders(response: str, num_placeholders: int) -> bool:
    """detectable_content:number_placeholders: at least so many `[...]`."""
    return len(re.findall(r"\[.*?\]", response)) >= num_placeholders


def postscript(response: str, postscript_marker: str) -> bool:
    """detectable_content:postscript: the marker occurs (P.S. and P.P.S with optional spaces)."""
    marker = postscript_marker.strip()
    patterns = {"P.P.S": r"p\.\s?p\.\s?s", "P.S.": r"p\.\s?s\."}
    return bool(re.search(patterns.get(marker, re.escape(marker.lower())), response.lower()))


def number_bullet_lists(response: str, num_bullets: int) -> bool:
    """detectable_format:number_bullet_lists: exactly so many lines starting with `*` or `-`."""
    stars = re.findall(r"^\s*\*[^\*].*$", response, re.MULTILINE)
    dashes = re.findall(r"^\s*-.*$", response, re.MULTILINE)
    return len(stars) + len(dashes) == num_bullets


def constrained_response(response: str) -> bool:
    """detectable_format:constrained_response: one of the three fixed answers occurs."""
    return any(option in response for option in _OPTIONS)


def number_highlighted_sections(response: str, num_highlights: int) -> bool:
    """detectable_format:number_highlighted_sections: at least so many `*...*` or `**...**`."""
    single = re.findall(r"\*[^\n\*]*\*", response)
    double = re.findall(r"\*\*[^\n\*]*\*\*", response)
    return sum(bool(text.strip("*").strip()) for text in single + double) >= num_highlights


def multiple_sections(response: str, section_spliter: str, num_sections: int) -> bool:
    """detectable_format:multiple_sections: at least so many `<word> <number>` headings."""
    pattern = rf"\s?{re.escape(section_spliter.strip())}\s?\d+\s?"
    return len(re.findall(pattern, response)) >= num_sections


def json_format(response: str) -> bool:
    """detectable_format:json_format: the whole response is JSON, a code fence allowed."""
    text = response.strip()
    for fence in _FENCES:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(response: str) -> bool:
    """detectable_format:title: a title in `<<...>>` that is not blank."""
    found = re.findall(r"<<[^\n]+>>", response)
    return any(text.lstrip("<").rstrip(">").strip() for text in found)


def two_responses(response: str) -> bool:
    """combination:two_responses: two different texts divided by `******`."""
    parts = [part.strip() for part in response.split("******")]
    if not all(parts[1:-1]):
        return False
    texts = [part for part in parts if part]
    return len(texts) == 2 and texts[0] != texts[1]


def repeat_prompt(response: str, prompt_to_repeat: str) -> bool:
    """combination:repeat_prompt: the response starts with the prompt, in any case."""
    return response.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(response: str, end_phrase: str) -> bool:
    """startend:end_checker: the response ends with the phrase; case and outer quotes aside."""
    return response.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(response: str) -> bool:
    """startend:quotation: the response is wrapped in double quotation marks."""
    text = response.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


def capital_word_frequency(response: str, capital_frequency: int, capital_relation: str) -> bool:
    """change_case:capital_word_frequency: so many words in capitals; a hyphenated word is one."""
    count = sum(word.isupper() for word in words.tokens(response))
    return _compare(count, capital_relation, capital_frequency)


def english_capital(response: str) -> bool:
    """change_case:english_capital: English, every letter a capital."""
    return response.isupper() and _language(response) in ("en", None)


def english_lowercase(response: str) -> bool:
    """change_case:english_lowercase: English, no capital letter."""
    return response.islower() and _language(response) in ("en", None)


def no_comma(response: str) -> bool:
    """punctuation:no_comma."""
    return "," not in response


INSTRUCTIONS: dict[str, Callable[..., bool]] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "language:response_language": response_language,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:number_words": number_words,
    "length_constraints:nth_paragraph_first_word": nth_paragraph_first_word,
    "detectable_content:number_placeholders": number_placeholders,
    "detectable_content:postscript": postscript,
    "detectable_format:number_bullet_lists": number_bullet_lists,
    "detectable_format:constrained_response": constrained_response,
    "detectable_format:number_highlighted_sections": number_highlighted_sections,
    "detectable_format:multiple_sections": multiple_sections,
    "detectable_format:json_format": json_format,
    "detectable_format:title": title,
    "combination:two_responses": two_responses,
    "combination:repeat_prompt": repeat_prompt,
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "change_case:capital_word_frequency": capital_word_frequency,
    "change_case:english_capital": english_capital,
    "change_case:english_lowercase": english_lowercase,
    "punctuation:no_comma": no_comma,
}
