"""The expression that tokens spell: sums, products, powers, functions, in LaTeX or plain text.

Every token must find its place; what has two readings (`1/2x`, `2\\frac{3}{2}`, a `\\log` without
base) is read as `Style` says, and the reader learns that there are two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

from resources.verifiers.answers.notation.labels import run_of_letters
from resources.verifiers.answers.notation.phrases import words
from resources.verifiers.answers.notation.tokens import Token
from resources.verifiers.answers.notation.tree import Apply, Name, Number, Series, Tree, Unread

_MAX_DEPTH = 40
_CLOSING = {"(": ")", "[": "]", "{": "}", "floor": "floor", "ceil": "ceil"}
_OF_ONE = frozenset(
    words("sin cos tan cot sec csc arcsin arccos arctan arccot sinh cosh tanh coth ln exp")
)
_OF_MANY = frozenset(["gcd", "lcm", "max", "min"])
_OPAQUE = ("f", "g", "h", "F", "G")
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan", "cot": "arccot"}
ZERO, ONE, TWO, TEN = (Number(Fraction(value)) for value in (0, 1, 2, 10))


@dataclass
class Style:
    """How to read what has two readings; `met` collects which of them came up."""

    slash_binds: bool = False  # 1/2x is 1/(2x), not (1/2)x
    log_is_decimal: bool = False  # \log without base
    letter_is_unit: bool = False  # 10 m is ten metres, not ten times m
    met: set[str] = field(default_factory=set)


def expression(tokens: Sequence[Token], style: Style | None = None) -> Tree:
    """The tree of an expression.

    Raises Unread, with what is not understood, when a token has no place in one.
    """
    parser = _Parser(tokens, Style() if style is None else style)
    tree = parser.whole()
    if parser.place != len(parser.tokens):
        raise Unread(_placeless(parser.tokens[parser.place]))
    return tree


def _placeless(token: Token) -> str:
    what = "word" if token.kind == "word" else "sign"
    return f"the {what} {token.text!r} where it stands"


class _Parser:
    """Recursive descent: sum, product, sign, power, atom."""

    def __init__(self, tokens: Sequence[Token], style: Style) -> None:
        self.tokens = tokens
        self.style = style
        self.place = 0
        self.depth = 0
        self.bars = 0

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        at = self.place + ahead
        return self.tokens[at].plain if at < len(self.tokens) else ("end", "")

    def take(self, *wanted: tuple[str, str]) -> str | None:
        if self.peek() in wanted:
            self.place += 1
            return self.tokens[self.place - 1].text
        return None

    def need(self, kind: str, text: str) -> None:
        if self.take((kind, text)) is None:
            where = self.peek()[1] or "the end"
            raise Unread(f"{where!r} where {text!r} is due")

    def whole(self) -> Tree:
        """A sum, or two of them one above the other: {1 \\over 2}, {5 \\choose 2}."""
        tree = self.sum()
        if self.take(("command", "\\over")):
            return Apply("/", (tree, self.sum()))
        if self.take(("command", "\\choose")):
            return Apply("binom", (tree, self.sum()))
        return tree

    def sum(self) -> Tree:
        signs = tuple(("operator", sign) for sign in ("+", "-", "pm", "mp"))
        tree = self.product()
        while sign := self.take(*signs):
            term = self.product()
            if sign == "-":
                term = Apply("neg", (term,))
            tree = Apply("+" if sign in "+-" else sign, (tree, term))
        return tree

    def product(self) -> Tree:
        tree = self.signed()
        while True:
            sign = self.take(("operator", "*"), ("operator", "/"), ("operator", "mod"))
            if sign == "*":
                tree = Apply("*", (tree, self.signed()))
            elif sign == "/":
                tree = Apply("/", (tree, self.divisor()))
            elif sign == "mod":
                tree = Apply("mod", (tree, self.signed()))
            elif self.begins():
                tree = Apply("*", (tree, self.power()))
            else:
                return tree

    def divisor(self) -> Tree:
        """What a slash divides by; 1/2x has two readings."""
        tree = self.signed()
        if self.begins():
            self.style.met.add("slash_binds")
            while self.style.slash_binds and self.begins():
                tree = Apply("*", (tree, self.power()))
        return tree

    def begins(self) -> bool:
        """Whether a factor without a sign before it begins here."""
        kind, text = self.peek()
        if kind == "operator":
            return text == "|" and self.bars == 0
        if kind == "open":
            return text in _CLOSING
        if kind == "word":
            return run_of_letters(self.tokens[self.place])
        if kind == "command":
            return text not in ("\\over", "\\choose")
        return kind in ("name", "number")

    def signed(self) -> Tree:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise Unread("brackets or signs within each other too deep")
        sign = self.take(*(("operator", sign) for sign in ("-", "+", "pm", "mp")))
        tree = self.signed() if sign else self.power()
        self.depth -= 1
        if sign in ("pm", "mp"):
            return Apply(sign, (ZERO, tree))
        return Apply("neg", (tree,)) if sign == "-" else tree

    def power(self) -> Tree:
        tree = self.atom()
        while True:
            if self.take(("operator", "!")):
                if self.peek() == ("operator", "!"):
                    raise Unread("a double factorial")
                tree = Apply("!", (tree,))
            elif self.take(("operator", "degree")):
                tree = Apply("degree", (tree,))
            elif self.take(("operator", "^")):
                if self.circle():
                    tree = Apply("degree", (tree,))
                else:
                    return Apply("^", (tree, self.exponent()))
            else:
                return tree

    def circle(self) -> bool:
        for signs in (("circ",), ("{", "circ", "}"), ("degree",)):
            if tuple(self.peek(ahead)[1] for ahead in range(len(signs))) == signs:
                self.place += len(signs)
                return True
        return False

    def exponent(self) -> Tree:
        if self.take(("operator", "-")):
            return Apply("neg", (self.exponent(),))
        self.take(("operator", "+"))
        tree = self.group("{") if self.peek() == ("open", "{") else self.atom()
        if self.take(("operator", "^")):
            return Apply("^", (tree, self.exponent()))
        return tree

    def atom(self) -> Tree:
        if self.place >= len(self.tokens):
            raise Unread("an expression that ends too early")
        token = self.tokens[self.place]
        kind, text = token.plain
        if kind == "open" and text in _CLOSING:
            self.depth += 1
            if self.depth > _MAX_DEPTH:
                raise Unread("brackets or signs within each other too deep")
            tree = self.group(text)
            self.depth -= 1
            return Apply(text, (tree,)) if text in ("floor", "ceil") else tree
        self.place += 1
        if kind == "number":
            return self.number(token)
        if kind == "name":
            return self.name(text)
        if kind == "word" and run_of_letters(token):
            if text.isupper():
                return self.name(text)
            tree = Name(text[0])
            for letter in text[1:-1]:
                tree = Apply("*", (tree, Name(letter)))
            return Apply("*", (tree, self.power_of(text[-1])))
        if kind == "command":
            return self.command(text[1:])
        if kind == "operator" and text == "|":
            return self.absolute()
        raise Unread(_placeless(token))

    def power_of(self, letter: str) -> Tree:
        """The last letter of a run, with its exponent: xy^2."""
        tree = self.name(letter)
        return Apply("^", (tree, self.exponent())) if self.take(("operator", "^")) else tree

    def group(self, opening: str) -> Tree:
        self.need("open", opening)
        bars, self.bars = self.bars, 0
        tree = self.whole()
        self.bars = bars
        self.need("close", _CLOSING[opening])
        return tree

    def absolute(self) -> Tree:
        self.bars += 1
        tree = self.sum()
        self.need("operator", "|")
        self.bars -= 1
        return Apply("abs", (tree,))

    def number(self, token: Token) -> Tree:
        assert token.number is not None
        if self.peek()[0] == "number":
            return self.beside(token.number)
        if self.peek() == ("name", "C") and self.peek(1)[0] == "number":
            self.place += 2  # 5C2
            return Apply("binom", (token.number, self.tokens[self.place - 1].number or ZERO))
        if self.peek() == ("operator", "_"):
            raise Unread("a number with a subscript inside an expression")
        if self.peek() == ("command", "\\frac") and token.number.places is None:
            place = self.place
            self.place += 1
            top, bottom = self.argument(digits=True), self.argument(digits=True)
            if isinstance(top, Number) and isinstance(bottom, Number):
                return _mixed(token.number, top, bottom)
            self.place = place
        return token.number

    def beside(self, whole: Number) -> Tree:
        """A number right after a number: the fraction of a mixed one, as in 1 1/2."""
        slash, bottom = self.peek(1), self.place + 2
        if slash == ("operator", "/") and bottom < len(self.tokens):
            over, under = self.tokens[self.place].number, self.tokens[bottom].number
            if over is not None and under is not None and whole.places is None:
                self.place += 3
                return _mixed(whole, over, under)
        raise Unread("two numbers side by side")

    def name(self, text: str) -> Tree:
        if self.take(("operator", "_")):
            text += f"_{self.subscript()}"
        while self.take(("operator", "'")):
            text += "'"
        if self.peek()[0] == "number":
            raise Unread(f"a number right after {text!r}")
        head = text.split("_")[0].rstrip("'")
        if self.peek() == ("open", "(") and (head in _OPAQUE or text == "C"):
            arguments = self.arguments()
            if text == "C" and len(arguments) == 2:
                return Apply("binom", arguments)
            if head in _OPAQUE:
                return Apply(f"{text}()", arguments)
            return Apply("*", (Name(text), *arguments)) if len(arguments) == 1 else _list()
        return Name(text)

    def subscript(self) -> str:
        if self.peek() != ("open", "{"):
            if self.peek()[0] not in ("name", "number", "word"):
                raise Unread("a subscript that is neither a name nor a number")
            self.place += 1
            return self.peek(-1)[1]
        start, depth = self.place + 1, 0
        while self.place < len(self.tokens):
            depth += {"open": 1, "close": -1}.get(self.peek()[0], 0)
            self.place += 1
            if depth == 0:
                inside = [token.text for token in self.tokens[start : self.place - 1]]
                return inside[0] if len(inside) == 1 else "{" + "".join(inside) + "}"
        raise Unread("a subscript that is never closed")

    def arguments(self) -> tuple[Tree, ...]:
        self.need("open", "(")
        found = [self.sum()]
        while self.take(("separator", ",")):
            found.append(self.sum())
        self.need("close", ")")
        return tuple(found)

    def argument(self, *, digits: bool = False) -> Tree:
        """What a command takes: a group in braces, or one digit or letter as in \\frac12."""
        kind, text = self.peek()
        if kind == "open" and text == "{":
            return self.group("{")
        if kind == "number" and text.isdigit() and len(text) > 1:
            if not digits or len(text) > 2:
                raise Unread(f"how much of {text} a command takes")
            split = [Token("number", digit, number=Number(Fraction(digit))) for digit in text]
            self.tokens = [*self.tokens[: self.place], *split, *self.tokens[self.place + 1 :]]
        if self.peek()[0] in ("number", "name"):
            token = self.tokens[self.place]
            self.place += 1
            return token.number if token.number is not None else Name(token.text)
        return self.atom()

    def command(self, name: str) -> Tree:
        if name == "frac":
            top = self.argument(digits=True)
            return Apply("/", (top, self.argument(digits=True)))
        if name == "binom":
            top = self.argument(digits=True)
            return Apply("binom", (top, self.argument(digits=True)))
        if name == "sqrt":
            degree = self.group("[") if self.peek() == ("open", "[") else TWO
            bracketed = self.peek() == ("open", "(")
            return Apply("root", (self.group("(") if bracketed else self.argument(), degree))
        if name in ("sum", "prod"):
            return self.series(name)
        if name in _OF_MANY:
            return Apply(name, self.arguments())
        if name in ("log", "lg"):
            return self.logarithm(name)
        if name in _OF_ONE:
            return self.function(name)
        if name == "overline":
            return Name(f"\\overline{self.subscript()}")
        raise Unread(f"the command \\{name} where it stands")

    def function(self, name: str) -> Tree:
        power: Tree | None = None
        if self.take(("operator", "^")):
            power = self.exponent()
        if power == Apply("neg", (ONE,)):
            if name not in _INVERSE:
                raise Unread(f"\\{name}^{{-1}}")
            name, power = _INVERSE[name], None
        tree: Tree = Apply(name, (self.operand(),))
        return tree if power is None else Apply("^", (tree, power))

    def logarithm(self, name: str) -> Tree:
        base: Tree = TEN
        if self.take(("operator", "_")):
            base = self.argument()
        elif name == "log":
            self.style.met.add("log_is_decimal")
            base = TEN if self.style.log_is_decimal else Name("e")
        power = self.exponent() if self.take(("operator", "^")) else None
        tree: Tree = Apply("log", (self.operand(), base))
        return tree if power is None else Apply("^", (tree, power))

    def operand(self) -> Tree:
        """What a function without braces is of: a group, or what stands close, as in \\sin 2x."""
        if self.peek()[1] in ("(", "[", "{"):
            tree = self.group(self.peek()[1])
            if self.peek()[1] in ("^", "!"):
                raise Unread("a power after a function's brackets")
            return tree
        sign = self.take(("operator", "-"))
        tree = self.power()
        while self.peek()[0] in ("name", "number") or self.peek() == ("command", "\\frac"):
            tree = Apply("*", (tree, self.power()))
        if self.peek() == ("open", "("):
            raise Unread("how far a function's argument goes")
        return Apply("neg", (tree,)) if sign else tree

    def series(self, function: str) -> Tree:
        self.need("operator", "_")
        self.need("open", "{")
        if self.peek()[0] != "name" or self.peek(1) != ("relation", "="):
            raise Unread(f"the range of a \\{function}")
        index = self.peek()[1]
        self.place += 2
        low = self.sum()
        self.need("close", "}")
        self.need("operator", "^")
        high = self.argument(digits=True)
        return Series(function, index, low, high, self.product())


def _mixed(whole: Number, top: Number, bottom: Number) -> Tree:
    proper = top.places is None and bottom.places is None and 0 < top.value < bottom.value
    if not proper:
        raise Unread("a mixed number or a product")
    return Number(whole.value + top.value / bottom.value)


def _list() -> Tree:
    raise Unread("a list inside an expression")
