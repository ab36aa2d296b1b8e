"""Makes mutants of a C++ source: copies with one small mistake each.

It works on tokens, not on a parse tree, and leans on clang-format: a binary operator has blanks around it, a template
bracket or a reference has none. What comes out wrong does not compile, and then it is no mutant.
"""

import re
from dataclasses import dataclass, field

TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*|/\*.*?\*/|^\s*\#(?:[^\n\\]|\\.)*)
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)+'(?!\d))
      | (?P<number>\d[\w'.]*)
      | (?P<word>[A-Za-z_]\w*)
      | (?P<sign><=>|->|::|<<=|>>=|<=|>=|==|!=|&&|\|\||\+\+|--|[-+*/%&|^]=|<<|\.\.\.|.)""",
    re.VERBOSE | re.DOTALL | re.MULTILINE,
)

# Comparison: what it is changed to.
COMPARISONS = {"<": "<=", "<=": "<", ">": ">=", ">=": ">", "==": "!=", "!=": "=="}
# Effects and records that may stand for each other: each is exchanged for the next of its row.
KIN = [
    ["Prepare", "Commit", "Rollback", "CommitOnePhase", "Settle"],
    ["Force", "Over"],
    ["Finished", "Recovered", "Forgotten"],
]
NEXT_OF_KIN = {one: row[(i + 1) % len(row)] for row in KIN for i, one in enumerate(row)}
NO_STATEMENT = {
    "return", "if", "for", "while", "do", "switch", "case", "default", "else", "using", "namespace", "struct", "class",
    "enum", "template", "const", "constexpr", "auto", "static", "public", "private", "typedef", "static_assert", "try",
    "catch", "operator", "virtual", "explicit", "inline", "goto",
}  # fmt: skip


@dataclass(eq=False)
class Token:
    kind: str
    text: str
    start: int
    end: int


@dataclass(eq=False)
class Mutant:
    file: str
    start: int
    end: int
    text: str  # instead of source[start:end]
    kind: str
    function: str = ""
    line: int = 0
    was: str = ""  # the lines it changes, in one line
    becomes: str = ""

    @property
    def key(self):
        return (self.file, self.function, self.was, self.becomes)

    @property
    def what(self):
        return f"{self.kind}: {self.was}  ->  {self.becomes}"


def squeeze(text):
    return " ".join(re.sub(r"//[^\n]*", "", text).split())


def tokens_of(source):
    found = []
    for match in TOKEN.finditer(source):
        if match.lastgroup != "blank":
            found.append(Token(match.lastgroup, match.group(), match.start(), match.end()))
    return found


def enums_of(headers):
    """The enumerators of every `enum class` in these texts."""
    enums = {}
    for text in headers:
        text = re.sub(r"//[^\n]*", "", text)
        for name, body in re.findall(r"\benum class (\w+)[^{;]*\{([^}]*)\}", text):
            enums[name] = re.findall(r"(\w+)(?:\s*=[^,]*)?\s*(?:,|$)", body.strip())
    return enums


@dataclass(eq=False)
class Source:
    file: str
    text: str
    enums: dict
    tokens: list = field(default_factory=list)
    match: dict = field(default_factory=dict)  # opening token -> closing token, and back
    function: list = field(default_factory=list)  # of each token
    skip: set = field(default_factory=set)  # tokens that are no code to run

    def __post_init__(self):
        self.tokens = tokens_of(self.text)
        self._pair()
        self._name_functions()
        self._find_declarations()

    def _pair(self):
        open_ones = []
        for i, token in enumerate(self.tokens):
            if token.kind != "sign":
                continue
            if token.text in "([{":
                open_ones.append(i)
            elif token.text in ")]}":
                begin = open_ones.pop()
                self.match[begin] = i
                self.match[i] = begin

    def _name_functions(self):
        """A body is a brace behind `name(...)`; the outermost one counts, so a lambda belongs to who holds it."""
        self.function = [""] * len(self.tokens)
        until = -1
        for i, token in enumerate(self.tokens):
            if i <= until or token.text != "{" or token.kind != "sign":
                continue
            name = self._head_before(i)
            if name:
                until = self.match[i]
                for inside in range(i, until + 1):
                    self.function[inside] = name

    def _head_before(self, brace):
        i = brace - 1
        while i >= 0 and self.tokens[i].text in ("const", "override", "noexcept", "final"):
            i -= 1
        begin = i
        while begin >= 0 and self.tokens[begin].text not in (";", "{", "}"):
            begin = self.match.get(begin, begin) - 1 if self.tokens[begin].text in ")]" else begin - 1
        words = self.tokens[begin + 1 : i + 1]
        if not words or words[0].text in ("namespace", "enum", "class", "struct", "using"):
            return ""
        if words[0].text == "template" and any(w.text in ("class", "struct") for w in words[4:]):
            if not any(w.text == "(" for w in words):
                return ""
        for j in range(begin + 1, i + 1):
            if self.tokens[j].text == "(" and self.tokens[j - 1].kind == "word":
                first = j - 1
                while first >= 2 and self.tokens[first - 1].text in ("::", "~"):
                    first -= 2 if self.tokens[first - 1].text == "::" else 1
                return "".join(t.text for t in self.tokens[first:j])
            if self.tokens[j].text == "=":
                return self.tokens[j - 1].text  # a table
        return ""

    def _find_declarations(self):
        for i, token in enumerate(self.tokens):
            if token.text in ("static_assert", "template") and token.kind == "word":
                end = i + 1
                if token.text == "template":
                    while self.tokens[end].text != ">":
                        end += 1
                else:
                    end = self.match[i + 1]
                self.skip.update(range(i, end + 1))
            if token.text == "enum" and token.kind == "word":
                end = i
                while self.tokens[end].text not in ("{", ";"):
                    end += 1
                self.skip.update(range(i, self.match.get(end, end) + 1))
            if token.text == "case" and token.kind == "word":
                end = i
                while self.tokens[end].text != ":":
                    end += 1
                self.skip.update(range(i, end))

    def spaced(self, i):
        """A blank before and behind, as clang-format has it around a binary operator."""
        token = self.tokens[i]
        return self.text[token.start - 1].isspace() and self.text[token.end].isspace()

    def mutants(self):
        seen = set()
        for start, end, text, kind, at in self._all():
            # Two ways to the same text are one mutant.
            mutated = squeeze(self.text[:start] + text + self.text[end:])
            if mutated in seen:
                continue
            seen.add(mutated)
            first = self.text.rfind("\n", 0, start) + 1
            last = self.text.find("\n", end)
            yield Mutant(
                self.file, start, end, text, kind, self.function[at] or "(top)", self.text.count("\n", 0, start) + 1,
                squeeze(self.text[first:last]), squeeze(self.text[first:start] + text + self.text[end:last]),
            )  # fmt: skip

    def _all(self):
        for make in (
            self._comparisons, self._negations, self._junctions, self._statements, self._enumerators, self._kin,
            self._integers,
        ):  # fmt: skip
            yield from make()

    def _comparisons(self):
        for i, token in enumerate(self.tokens):
            if token.kind != "sign" or token.text not in COMPARISONS or i in self.skip or not self.spaced(i):
                continue
            if self.tokens[i - 1].text != "operator":
                yield token.start, token.end, COMPARISONS[token.text], "comparison", i

    def _junctions(self):
        for i, token in enumerate(self.tokens):
            if token.text in ("&&", "||") and self.spaced(i) and i not in self.skip:
                yield token.start, token.end, "||" if token.text == "&&" else "&&", "and/or", i

    def _top_level(self, first, last, signs):
        """Where in first..last one of the signs stands outside of any bracket."""
        i = first
        while i <= last:
            if self.tokens[i].kind == "sign" and self.tokens[i].text in signs:
                yield i
            i = self.match[i] + 1 if self.tokens[i].text in "([{" and self.tokens[i].kind == "sign" else i + 1

    def _negated(self, first, last):
        """The condition of these tokens, negated; None where a changed comparison is the same."""
        start, end = self.tokens[first].start, self.tokens[last].end
        condition = self.text[start:end]
        spaced = [i for i in self._top_level(first, last, set(COMPARISONS)) if self.spaced(i)]
        junctions = list(self._top_level(first, last, {"&&", "||", "?"}))
        if not junctions and any(self.tokens[i].text in ("==", "!=") for i in spaced):
            return None
        if self.tokens[first].text == "!" and not junctions and not spaced:
            return start, end, self.text[self.tokens[first + 1].start : end]
        declared = re.match(r"(?:const\s+)?[\w:]+(?:<[^=]*>)?\s*[*&]*\s*\b(\w+)\s*=(?!=)", condition)
        if declared:
            return start, end, f"{condition}; !({declared.group(1)})"
        return start, end, f"!({condition})"

    def _conditions(self):
        for i, token in enumerate(self.tokens):
            if i in self.skip:
                continue
            if token.text in ("if", "while") and self.tokens[i + 1].text == "(":
                first, last = i + 2, self.match[i + 1] - 1
                parts = list(self._top_level(first, last, {";"}))
                yield (parts[-1] + 1 if parts else first), last
            elif token.text == "for" and self.tokens[i + 1].text == "(":
                parts = list(self._top_level(i + 2, self.match[i + 1] - 1, {";"}))
                if len(parts) == 2 and parts[0] + 1 < parts[1]:
                    yield parts[0] + 1, parts[1] - 1
            elif token.text == "bool" and self.tokens[i + 1].kind == "word" and self.tokens[i + 2].text == "=":
                ends = list(self._top_level(i + 3, len(self.tokens) - 1, {";"}))[:1]
                if ends and self.function[i]:
                    yield i + 3, ends[0] - 1
            elif token.text == "return" and self.tokens[i + 1].text != ";":
                end = next(self._top_level(i + 1, len(self.tokens) - 1, {";"}))
                if list(self._top_level(i + 1, end - 1, {"&&", "||"})) and not list(
                    self._top_level(i + 1, end - 1, {"?", "<<", "+"})
                ):
                    yield i + 1, end - 1
            elif token.text == "?" and token.kind == "sign":
                first = i - 1
                while True:
                    before = self.tokens[first - 1]
                    if self.tokens[first].text in ")]}" and self.tokens[first].kind == "sign":
                        first = self.match[first]
                        continue
                    if before.kind == "sign" and before.text in ("(", ",", "=", "+=", "{", ";", ":", "[", "?", "+"):
                        break
                    if before.text == "return" or (before.text == "(" and before.kind == "sign"):
                        break
                    first -= 1
                if self.tokens[first].text != "(" or self.match.get(first) != i - 1:
                    yield first, i - 1

    def _negations(self):
        for first, last in self._conditions():
            made = self._negated(first, last)
            if made:
                yield *made, "negated", first
        for i, token in enumerate(self.tokens):
            if token.kind == "sign" and token.text == "!" and i not in self.skip:
                yield token.start, token.end, "", "not dropped", i

    def _statements(self):
        for i, token in enumerate(self.tokens):
            if token.kind != "word" and token.text not in ("++", "--") or not self.function[i] or i in self.skip:
                continue
            before = self.tokens[i - 1]
            starts = before.kind == "sign" and before.text in (";", "{", "}", ")", ":") or before.text == "else"
            if before.text == ")" and self.tokens[self.match[i - 1] - 1].text not in ("if", "for", "while"):
                starts = False
            if not starts or token.text in NO_STATEMENT:
                continue
            end = next(self._top_level(i, len(self.tokens) - 1, {";", "}", ")", ","}), None)
            if end is None or self.tokens[end].text != ";":
                continue
            if self._is_statement(i, end):
                yield token.start, self.tokens[end].end, ";", "dropped", i

    def _is_statement(self, i, end):
        """A call, an assignment, a step, a throw, break or continue; not a declaration."""
        if self.tokens[i].text in ("throw", "break", "continue", "++", "--"):
            return True
        j = i
        while j < end:
            text = self.tokens[j].text
            if self.tokens[j].kind == "word" and j > i and self.tokens[j - 1].kind == "word":
                return False
            if text == "<":  # of a template
                while self.tokens[j].text != ">":
                    j += 1
            elif text == "(" or text == "[":
                j = self.match[j]
                if self.tokens[j + 1].text == ";":
                    return True
            elif text in ("=", "+=", "-=", "|=", "^=", "++", "--", "<<="):
                return True
            elif self.tokens[j].kind != "word" and text not in (".", "->", "::", ">", "]", ")", "*"):
                return False
            j += 1
        return False

    def _enumerators(self):
        for i, token in enumerate(self.tokens[:-2]):
            if token.text not in self.enums or self.tokens[i + 1].text != "::" or i in self.skip:
                continue
            all_of = self.enums[token.text]
            one = self.tokens[i + 2]
            if one.text in all_of and len(all_of) > 1:
                other = all_of[(all_of.index(one.text) + 1) % len(all_of)]
                yield one.start, one.end, other, "enumerator", i + 2

    def _kin(self):
        for i, token in enumerate(self.tokens[:-1]):
            if token.text in NEXT_OF_KIN and self.tokens[i + 1].text == "{" and self.function[i] and i not in self.skip:
                yield token.start, token.end, NEXT_OF_KIN[token.text], "swapped", i

    def _integers(self):
        for i, token in enumerate(self.tokens):
            if token.kind != "number" or i in self.skip or "." in token.text:
                continue
            # A bare part of an aggregate is a value, not a bound; in initializers it is a start.
            if self.tokens[i - 1].text in ("{", ",") and self.tokens[i + 1].text in ("}", ","):
                before = self._opening(i)
                if before is None or self.tokens[before].text == "{":
                    if not (self.tokens[i - 1].text == "{" and self.tokens[i + 1].text == "}"):
                        continue
            match = re.fullmatch(r"(0x[0-9a-fA-F']+|[\d']+)([uUlLzZ]*)", token.text)
            if not match:
                continue
            value = int(match.group(1).replace("'", ""), 0)
            yield token.start, token.end, f"{value + 1}{match.group(2)}", "off by one", i

    def _opening(self, i):
        while i >= 0:
            i -= 1
            if i >= 0 and self.tokens[i].kind == "sign":
                if self.tokens[i].text in ")]}":
                    i = self.match[i]
                elif self.tokens[i].text in "([{":
                    return i
        return None
