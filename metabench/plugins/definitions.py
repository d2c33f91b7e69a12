"""The normal form of one definition, which contains only what runs.

Docstrings, comments, formatting, and annotations of arguments, returns and variables are left
out. Annotations in class bodies stay, because they define fields. The name of another definition
that is read becomes a reference to it, so that neither its name nor its file counts.
"""

from __future__ import annotations

import ast
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

from metabench.plugins.modules import Import, Module, absolute, imported, loads


class Reference(NamedTuple):
    """A definition that is read, or several: `OWN` of a module, or `ALL` that it has."""

    module: str
    name: str


OWN = "*"  # all definitions of a module
ALL = "**"  # also those that it imports


class Meaning(NamedTuple):
    """The meaning of a dotted name."""

    found: Reference | str  # a definition that is read, or the full dotted name of anything else
    rest: Sequence[str] = ()  # the attributes looked up on a definition


class Resolver(Protocol):
    """A resolver of names; it returns None for builtins, which no module defines or imports."""

    def of_global(self, module: Module, path: Sequence[str]) -> Meaning | None: ...
    def of_import(self, module: Module, source: Import, rest: Sequence[str]) -> Meaning: ...


# Code that uses one of these may use any definition of its module, or of the class's module.
_ANY = frozenset({"globals", "eval", "exec", "__subclasses__"})
_IMPORTS = frozenset({"import_module", "__import__"})
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)+")
_SELF = "\N{SECTION SIGN}"


@dataclass
class Definition:
    """The normal form of the statements that define one name."""

    text: str = ""  # the normal form; a reference is written as its index in `references`
    # definitions that it uses, in order of appearance
    references: list[Reference] = field(default_factory=list)
    # top-level names of the packages that it uses and that are not read
    packages: set[str] = field(default_factory=set)
    # its string constants, apart from those in `defaults`
    strings: list[str] = field(default_factory=list)
    # the arguments whose default is a string constant, with it
    defaults: list[tuple[str, str]] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)  # modules that it imports when it runs

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its own text; it does not depend on the definitions that this one uses."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def normal_form(
    name: str, statements: Sequence[ast.stmt], module: Module, resolver: Resolver
) -> Definition:
    """Read the statements that define a name.

    Args:
        name: the name; "" for statements that are read for their effects.
        statements: all top-level statements of a module that bind it.
        module: the module.
        resolver: resolves the names in it.
    """
    writer = _Writer(name, module, resolver)
    for node in statements:
        writer.write(node)
    writer.found.text = " ".join(writer.words)
    return writer.found


class _Writer:
    """A writer of syntax trees as words that are the same in every version of Python."""

    def __init__(self, name: str, module: Module, resolver: Resolver) -> None:
        self.found = Definition()
        self.words: list[str] = []
        self._own = Reference(module.key, name)
        self._module, self._resolver = module, resolver
        self._scopes: list[dict[str, Import | None]] = []  # of functions; imports by their source
        self._in_class = False
        self._special: dict[type[ast.AST], Callable[[Any], None]] = {
            ast.FunctionDef: self._function,
            ast.AsyncFunctionDef: self._function,
            ast.Lambda: self._lambda,
            ast.ClassDef: self._class,
            ast.AnnAssign: self._annotated,
            ast.Name: self._name,
            ast.Attribute: self._attribute,
            ast.Import: self._import,
            ast.ImportFrom: self._import,
            ast.Constant: self._constant,
            ast.Call: self._call,
            ast.Delete: self._delete,
            ast.Subscript: self._subscript,
        }

    def write(self, node: object) -> None:
        """Write a node, a list of nodes, or the value of a field."""
        if isinstance(node, list):
            self.words.append("[")
            for item in node:
                self.write(item)
            self.words.append("]")
        elif isinstance(node, ast.AST):
            self._special.get(type(node), self._plain)(node)
        else:
            self.words.append(repr(node))

    def _plain(self, node: ast.AST) -> None:
        self.words.append(f"{type(node).__name__}(")
        for field_name in node._fields:
            value = getattr(node, field_name, None)
            if value is None or value == [] or field_name in ("ctx", "type_comment"):
                continue  # versions of Python differ in their empty fields
            self.words.append(f"{field_name}=")
            self.write(value)
        self.words.append(")")

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self.words += [type(node).__name__, self._defined(node.name)]
        self.write(node.decorator_list)
        self._scoped(node.args, node.body, _code(node.body))

    def _lambda(self, node: ast.Lambda) -> None:
        self.words.append("Lambda")
        self._scoped(node.args, [node.body], node.body)

    def _scoped(self, args: ast.arguments, body: Sequence[ast.AST], code: object) -> None:
        """Write the arguments and the body of a function, which is a scope of its own."""
        self._write_defaults(args)  # in the scope around
        scope: dict[str, Import | None] = dict.fromkeys(_arguments(args))
        names, imports = _bound_in(body)
        scope.update(dict.fromkeys(names))
        for node in imports:
            self.found.loaded += loads(node, self._module)
            scope.update(imported(node, self._module))
        within, self._in_class = self._in_class, False
        self._scopes.append(scope)
        self.words.append(f"args:{','.join(_arguments(args))}")
        self.write(code)
        self._scopes.pop()
        self._in_class = within

    def _write_defaults(self, args: ast.arguments) -> None:
        positional = [*args.posonlyargs, *args.args]
        first = len(positional) - len(args.defaults)
        self.words.append("[")
        for arg, default in zip(
            [*positional[first:], *args.kwonlyargs],
            [*args.defaults, *args.kw_defaults],
            strict=True,
        ):
            self.write(default)
            if isinstance(default, ast.Constant) and isinstance(default.value, str):
                self.found.defaults.append((arg.arg, self.found.strings.pop()))
        self.words.append("]")

    def _class(self, node: ast.ClassDef) -> None:
        self.words += ["ClassDef", self._defined(node.name)]
        self.write(node.decorator_list)
        self.write(node.bases)
        self.write(node.keywords)
        within, self._in_class = self._in_class, True
        self.write(_code(node.body))
        self._in_class = within

    def _annotated(self, node: ast.AnnAssign) -> None:
        if self._in_class:
            self._plain(node)
        elif node.value is not None:
            self.write(ast.Assign([node.target], node.value))

    def _defined(self, name: str) -> str:
        """Return the word for the name of a definition, which counts only if it is an inner one."""
        return _SELF if name == self._own.name and not self._scopes and not self._in_class else name

    def _name(self, node: ast.Name) -> None:
        self._dotted([node.id])

    def _dotted(self, path: Sequence[str]) -> None:
        """Write a name, or several joined by dots."""
        name, *rest = path
        for scope in reversed(self._scopes):
            source = scope.get(name)
            if source is not None:
                self._mean(self._resolver.of_import(self._module, source, rest))
                return
            if name in scope:
                self.words.append(".".join(path))
                return
        if name in _ANY:
            self._refer(Reference(self._module.key, ALL))
        meaning = self._resolver.of_global(self._module, path)
        if meaning is None:
            self.words.append(".".join(path))
        else:
            self._mean(meaning)

    def _mean(self, meaning: Meaning) -> None:
        if isinstance(meaning.found, Reference):
            self.words.append(".".join([self._refer(meaning.found), *meaning.rest]))
            if not _ANY.isdisjoint(meaning.rest):
                self._refer(Reference(meaning.found.module, ALL))
        else:
            self.found.packages.add(meaning.found.partition(".")[0])
            self.words.append(meaning.found)

    def _mean_if_read(self, source: Import, rest: Sequence[str]) -> bool:
        """Write what a text names, if that is read; return whether it is."""
        meaning = self._resolver.of_import(self._module, source, rest)
        if isinstance(meaning.found, Reference):
            self._mean(meaning)
        return isinstance(meaning.found, Reference)

    def _refer(self, reference: Reference) -> str:
        if reference == self._own:
            return _SELF
        if reference not in self.found.references:
            self.found.references.append(reference)
        return f"@{self.found.references.index(reference)}"

    def _attribute(self, node: ast.Attribute) -> None:
        """Write a dotted name, or attributes of any other expression."""
        if node.attr in _ANY:
            self._refer(Reference(self._module.key, OWN))  # most are `network.eval()`
        path: list[str] = []
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            path.insert(0, value.attr)
            value = value.value
        if isinstance(value, ast.Name):
            self._dotted([value.id, *path])
        else:
            self.write(value)
            self.words.append(f".{'.'.join(path)}")

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if self._scopes:
            return  # the imports of a function count where they are used
        self.found.loaded += loads(node, self._module)
        for name, source in imported(node, self._module):
            self.words.append(f"import:{name}")
            self._mean(self._resolver.of_import(self._module, source, []))

    def _call(self, node: ast.Call) -> None:
        self._plain(node)
        called = getattr(node.func, "attr", getattr(node.func, "id", ""))
        match node.args:
            case [ast.Constant(value=str(name)), *_] if called in _IMPORTS:
                whole = name.lstrip(".")
                source = absolute(self._module, whole, len(name) - len(whole))
                self.found.loaded.append(source)
                self._mean(self._resolver.of_import(self._module, Import(source), []))

    def _subscript(self, node: ast.Subscript) -> None:
        match node.slice:
            case ast.Name("__name__"):  # sys.modules[__name__]
                self._refer(Reference(self._module.key, ALL))
        self._plain(node)

    def _delete(self, node: ast.Delete) -> None:
        """Write `del (a, b)` as `del a, b`, which some formatters prefer."""
        match node.targets:
            case [ast.Tuple(elts=targets)]:
                node = ast.Delete(targets)
        self._plain(node)

    def _constant(self, node: ast.Constant) -> None:
        value = node.value
        if isinstance(value, str):
            self.found.strings.append(value)
            if _TARGET.fullmatch(value):  # "module:attr", as catalogues name what they load
                module, _, name = value.partition(":")
                attr, *rest = name.split(".")
                if self._mean_if_read(Import(module, attr), rest):
                    return
            elif _DOTTED.fullmatch(value):  # "module.attr", as configuration files name it
                parts = value.split(".")
                for k in range(len(parts) - 1, 0, -1):
                    source = Import(".".join(parts[:k]), parts[k])
                    if self._mean_if_read(source, parts[k + 1 :]):
                        return
        self.words.append(repr(value))


def _code(body: Sequence[ast.stmt]) -> list[ast.stmt]:
    """Return the statements of a block that do anything: no docstring, bare string or `pass`."""
    return [node for node in body if not _is_idle(node)]


def _is_idle(node: ast.stmt) -> bool:
    match node:
        case ast.Expr(value=ast.Constant()) | ast.Pass():
            return True
    return False


def _arguments(node: ast.arguments) -> list[str]:
    """Return the names of arguments, with their kind marked where it matters to callers."""
    return [
        *(each.arg for each in node.posonlyargs),
        *(["/"] if node.posonlyargs else []),
        *(each.arg for each in node.args),
        *([] if node.vararg is None else ["*", node.vararg.arg]),
        *(["*"] if node.kwonlyargs and node.vararg is None else []),
        *(each.arg for each in node.kwonlyargs),
        *([] if node.kwarg is None else ["**", node.kwarg.arg]),
    ]


def _bound_in(
    body: Sequence[ast.AST],
) -> tuple[set[str], list[ast.Import | ast.ImportFrom]]:
    """Return the names that the statements of a function bind in it, and its import statements."""
    found: set[str] = set()
    elsewhere: set[str] = set()
    imports: list[ast.Import | ast.ImportFrom] = []
    todo: list[ast.AST] = list(body)
    while todo:  # by type: matching patterns took a third of the time of a digest
        node = todo.pop()
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                found.add(node.id)
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
            continue  # names in it are bound there
        if isinstance(node, ast.Lambda | ast.Constant):
            continue
        if isinstance(node, ast.comprehension):
            todo += [node.iter, *node.ifs]  # its targets are bound in the comprehension alone
            continue
        if isinstance(node, ast.ExceptHandler | ast.MatchAs | ast.MatchStar):
            if node.name is not None:
                found.add(node.name)
        elif isinstance(node, ast.MatchMapping):
            if node.rest is not None:
                found.add(node.rest)
        elif isinstance(node, ast.Global):
            elsewhere.update(node.names)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            imports.append(node)
        todo += ast.iter_child_nodes(node)
    return found - elsewhere, imports
