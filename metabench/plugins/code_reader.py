"""Reachable definitions: what given definitions use, directly or not, and a digest of each."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from metabench.plugins.definitions import ALL, OWN, Definition, Meaning, Reference, normal_form
from metabench.plugins.modules import Import, Module, ModuleFinder, inner_nodes

_MAX_DEPTH = 30  # levels of re-exports that are followed; circular ones never end


class CodeReader:
    """A reader of definitions; it reads each file once.

    Args:
        packages: the packages of plugins; metabench's own are always read.
        outside: modules of metabench to leave out, because they are no part of a cell.
    """

    def __init__(self, packages: Sequence[str] = (), outside: Sequence[str] = ()) -> None:
        self._finder = ModuleFinder(packages)
        self._outside = tuple(outside)
        self._modules: dict[str, Module] = {}
        self._read: dict[Reference, Definition] = {}
        self._effects: dict[str, list[Reference]] = {}

    def module(self, name: str) -> Module | None:
        """Return the module of a dotted name."""
        found = self._finder.find(name)
        return None if found is None else self._known(found)

    def file(self, file: Path) -> Module:
        """Return the module in a file."""
        return self._known(self._finder.file(file))

    def look_up(self, module: Module, name: str) -> Reference | None:
        """Return the definition that a name stands for, wherever it is; None if there is none."""
        meaning = self._attribute(module, name, [])
        return meaning.found if isinstance(meaning.found, Reference) else None

    def reach(
        self, roots: Iterable[Reference], imported: Iterable[Module] = ()
    ) -> dict[Reference, Definition]:
        """Return the definitions of `roots`, and all that they use.

        Statements that run on import count for each module with a definition in use, and for the
        modules that it imports; likewise for the modules `imported`.
        """
        found: dict[Reference, Definition] = {}
        loaded: set[str] = set()
        todo = list(roots)
        for module in imported:
            todo += self._loading([module.name], module, loaded)
        while todo:
            reference = todo.pop()
            if reference in found:
                continue
            definition = found[reference] = self._definition(reference)
            todo += definition.references
            module = self._modules[reference.module]
            names = [module.name, *definition.loaded]
            todo += self._loading(names, module, loaded)
        return found

    def name(self, reference: Reference) -> str:
        """Return the readable name of a definition: "package.module:name"."""
        return f"{self._modules[reference.module].name}:{reference.name}"

    def of_global(self, module: Module, path: Sequence[str]) -> Meaning | None:
        """Resolve a global name of a module, and the attributes that follow it."""
        name, *rest = path
        if name in module.bindings.definitions:
            return Meaning(Reference(module.key, name), rest)
        if name in module.bindings.imports:
            return self.of_import(module, module.bindings.imports[name], rest)
        return self._starred(module, name, rest, 0)

    def of_import(
        self, module: Module, source: Import, rest: Sequence[str], depth: int = 0
    ) -> Meaning:
        """Resolve a name that a module imports, and the attributes that follow it."""
        path = [source.attr, *rest] if source.attr else rest
        target = self._finder.find(source.module, module)
        if target is None or depth > _MAX_DEPTH:
            return Meaning(".".join([source.module, *path]))
        return self._inside(self._known(target), path, depth)

    def _inside(self, module: Module, path: Sequence[str], depth: int) -> Meaning:
        if self._is_outside(module.name):
            below = module.name
            while path and self._finder.find(f"{below}.{path[0]}") is not None:
                below, path = f"{below}.{path[0]}", path[1:]
            return Meaning(".".join(["metabench", *path]))  # its place does not count
        if not path or path[0] == "__dict__":
            return Meaning(Reference(module.key, ALL), path)
        return self._attribute(module, path[0], path[1:], depth)

    def _attribute(self, module: Module, name: str, rest: Sequence[str], depth: int = 0) -> Meaning:
        """Resolve a name of a module, as seen from outside."""
        found = self._bound(module, name, rest, depth)
        if found is not None:
            return found
        if "__getattr__" in module.bindings.definitions:
            return Meaning(Reference(module.key, "__getattr__"), [name, *rest])
        return Meaning(".".join([module.name, name, *rest]))

    def _bound(self, module: Module, name: str, rest: Sequence[str], depth: int) -> Meaning | None:
        """Resolve a name that a module defines, imports or contains."""
        bindings = module.bindings
        if name in bindings.definitions:
            return Meaning(Reference(module.key, name), rest)
        for imports in (bindings.imports, bindings.for_annotations):
            if name in imports:
                return self.of_import(module, imports[name], rest, depth + 1)
        below = self._finder.find(f"{module.name}.{name}", module)
        if below is not None:
            return self._inside(self._known(below), rest, depth + 1)
        return self._starred(module, name, rest, depth)

    def _starred(
        self, module: Module, name: str, rest: Sequence[str], depth: int
    ) -> Meaning | None:
        for star in reversed(module.bindings.stars):  # the last one wins
            target = self._finder.find(star, module)
            if target is not None and depth <= _MAX_DEPTH:
                meaning = self._bound(self._known(target), name, rest, depth + 1)
                if meaning is not None:
                    return meaning
        return None

    def _definition(self, reference: Reference) -> Definition:
        if reference not in self._read:
            module = self._modules[reference.module]
            if reference.name in (OWN, ALL):
                self._read[reference] = self._whole(module, reference.name == ALL)
            else:
                statements = self._statements(module, reference.name)
                found = normal_form(reference.name, statements, module, self)
                self._read[reference] = self._with_import(found, reference.name, module)
        return self._read[reference]

    def _with_import(self, found: Definition, name: str, module: Module) -> Definition:
        """Add the import that a definition may use by its own name, as in `f = wrap(f)`."""
        if name in module.bindings.imports:
            _add(found, self.of_import(module, module.bindings.imports[name], []))
        return found

    def _whole(self, module: Module, with_imports: bool) -> Definition:
        """Return a whole module; its names count, because its user may look up any of them."""
        bindings = module.bindings
        names = sorted(bindings.definitions)
        found = Definition(",".join(names), [Reference(module.key, name) for name in names])
        if with_imports:
            stars = [self._finder.find(star, module) for star in bindings.stars]
            for meaning in (
                *(self.of_import(module, source, []) for source in bindings.imports.values()),
                *(self._inside(self._known(star), [], 0) for star in stars if star is not None),
            ):
                _add(found, meaning)
        return found

    def _statements(self, module: Module, name: str) -> Sequence[ast.stmt]:
        return module.bindings.definitions[name] if name else module.bindings.effects

    def _loading(
        self, names: Sequence[str], importer: Module, loaded: set[str]
    ) -> Iterator[Reference]:
        """Yield what runs when modules, their imports and their parent packages are imported."""
        todo = [(name, importer) for name in names]
        while todo:
            name, by = todo.pop()
            # The name of a single file does not say where it lies.
            module = by if name == by.name else self._finder.find(name, by)
            if module is None or module.key in loaded or self._is_outside(module.name):
                continue
            loaded.add(self._known(module).key)
            yield from self._effects_of(module)
            around = name.rpartition(".")[0]
            todo += [(other, module) for other in (*module.bindings.loaded, around) if other]

    def _effects_of(self, module: Module) -> list[Reference]:
        if module.key not in self._effects:
            effects = [Reference(module.key, "")] if module.bindings.effects else []
            for name, statements in module.bindings.definitions.items():
                inner = (node for statement in statements for node in inner_nodes(statement))
                if any(self._registers(module, node) for node in inner):
                    effects.append(Reference(module.key, name))
            self._effects[module.key] = effects
        return self._effects[module.key]

    def _registers(self, module: Module, node: ast.AST) -> bool:
        """Return whether a definition runs a decorator, base class or function that is read."""
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            defined = self._defined_by(module, node.value.func)
            return defined is not None and not isinstance(defined[1], ast.ClassDef)
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            return False
        for decorator in node.decorator_list:
            called = decorator.func if isinstance(decorator, ast.Call) else decorator
            if self._defined_by(module, called) is not None:
                return True
        return isinstance(node, ast.ClassDef) and self._notes_subclasses(module, node, 0)

    def _notes_subclasses(self, module: Module, node: ast.ClassDef, depth: int) -> bool:
        if any(keyword.arg == "metaclass" for keyword in node.keywords) or depth > _MAX_DEPTH:
            return True
        for base in node.bases:
            found = self._defined_by(module, base)
            if found is None or not isinstance(found[1], ast.ClassDef):
                continue
            home, parent = found[0], found[1]
            names = {getattr(inner, "name", "") for inner in parent.body}
            if "__init_subclass__" in names or self._notes_subclasses(home, parent, depth + 1):
                return True
        return False

    def _defined_by(self, module: Module, node: ast.expr) -> tuple[Module, ast.stmt] | None:
        """Return the statement that defines what a decorator or base names, if it is read."""
        path: list[str] = []
        while isinstance(node, ast.Attribute):
            path.insert(0, node.attr)
            node = node.value
        meaning = self.of_global(module, [node.id, *path]) if isinstance(node, ast.Name) else None
        if meaning is None or not isinstance(meaning.found, Reference):
            return None
        home = self._modules[meaning.found.module]
        statements = home.bindings.definitions.get(meaning.found.name, ())
        own = (s for s in statements if isinstance(s, ast.FunctionDef | ast.ClassDef))
        return next(((home, statement) for statement in (*own, *statements)), None)

    def _known(self, module: Module) -> Module:
        return self._modules.setdefault(module.key, module)

    def _is_outside(self, name: str) -> bool:
        return any(name == out or name.startswith(f"{out}.") for out in self._outside)


def _add(found: Definition, meaning: Meaning) -> None:
    """Add what a name means to a definition that may use it."""
    if isinstance(meaning.found, Reference):
        found.references.append(meaning.found)
    else:
        found.text += f" {meaning.found}"


def digests(reached: dict[Reference, Definition]) -> dict[Reference, str]:
    """Compute a digest of each definition and of all that it uses.

    Definitions may use each other in circles, so no order computes their digests one by one.
    Each round hashes the digests of the previous round, until no round distinguishes any more
    definitions than the one before.
    """
    found = {reference: definition.digest for reference, definition in reached.items()}
    different = 0
    while different < len(set(found.values())):
        different = len(set(found.values()))
        found = {
            reference: _sha(definition.text, *(found[used] for used in definition.references))
            for reference, definition in reached.items()
        }
    return found


def _sha(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
