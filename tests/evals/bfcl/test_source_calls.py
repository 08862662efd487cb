"""Expected results are those of upstream's parser (tree-sitter), recorded once."""

from __future__ import annotations

import pytest

from coalm.errors import ParseError
from coalm.evals.bfcl.java_calls import read_java_call
from coalm.evals.bfcl.javascript_calls import read_javascript_call

JAVA = [
    ("A.b(x=1, y=\"z\", w='v')", "A.b", {"x": "1", "y": "z", "w": "v"}),
    ("a.bcdef(x = List.of(1,  2))", "a.bcdef", {"x": "List.of(1,  2)"}),
    ("a.bcdef(x=1 + 2 * c)", "a.bcdef", {"x": "1+2*c"}),
    ("a.bcdef(x=(int) y, z=(A<B>) c)", "a.bcdef", {"x": "(int)y", "z": "(A<B>)c"}),
    ("a.bcdef(x=new String[]{\"a\", 'b'})", "a.bcdef", {"x": "new String[]{\"a\",'b'}"}),
    ("a.bcdef(x=new int[][]{{1, 2}, {3}})", "a.bcdef", {"x": "new int[]{{1,2},{3}}"}),
    ("a.bcdef(x=new A<>(b,  c))", "a.bcdef", {"x": "new A<>(b, c)"}),
    ('a.bcdef(x=new A<B, C>() {{ put("k", 1); }})', "a.bcdef", {"x": "new A<B,C>()"}),
    (
        "a.bcdef(x=(p, q) -> p, y=z -> { return z; })",
        "a.bcdef",
        {"x": "(p,q)->p", "y": "z->{returnz;}"},
    ),
    (
        "a.bcdef(x=B::new, y=C.class, z=d[0])",
        "a.bcdef",
        {"x": "B::new", "y": "C.class", "z": "d[0]"},
    ),
    ("a.bcdef(x=b ? c : d, y=e instanceof F)", "a.bcdef", {"x": "b?c:d", "y": "einstanceofF"}),
    ("a.bcdef(x=-5, y=1_000L, z=2.5e3f)", "a.bcdef", {"x": "-5", "y": "1_000L", "z": "2.5e3f"}),
    ("a.bcdef(x, y=1, 3, null)", "a.bcdef", {None: "x", "y": "1"}),
    ("a.bcdef(x==1, +y=2, c<z=3)", "a.bcdef", {}),
    ("a.bcdef(x=1).ghi(y=2)", "a.bcdef(x=1).ghi", {"y": "2"}),
    ("new A().bc(x=1)", "new A().bc", {"x": "1"}),
    ("return a.bc(x=1)", "a.bc", {"x": "1"}),
    ("int d = a.bc(x=1);", "a.bc", {"x": "1"}),
    ("label: a.bcde(x=1)", "a.bcde", {"x": "1"}),
    ("if (c) { a.b(x=1); } else { d(); }", "a.b", {"x": "1"}),
    ("foobarbaz(x=1)\nfoobarbaz(y=2)", "foobarbaz", {"x": "1"}),
    ('Foo.barbaz(x=1, yes="no", )', "Foo.barbaz", {"x": "1", "yes": "no", None: ""}),
    ("a.bcdef(x=new int[]{1, 2)", "a.bcdef", {"x": "new int[]{1,2"}),
    ("a.bcdef(x=some-case.json)", "a.bcdef", {"x": "some-case.json"}),
    ('bar(a="café", b="x")', "bar", {"a": 'café"', "=": '"'}),
    ("b(x=1);", "b", {"x": "1"}),
]
NO_JAVA = [
    "b(x=1)",
    "a.bcdef(x=)",
    "a.bcdef(x=1",
    "a.bcdef(x=1))",
    "a.bcdef(x=[1, 2])",
    "a.bcdef(x={'k': 1})",
    "a.bcdef(x=1, x=2)",
    "a.bcdef(x, y)",
    "a.bcdef(x=new int[5])",
    "a.bcdef(x: 1)",
    "a.bcdef(x=switch)",
    "a.bcdef(x=1) I think so",
    "a.bcdef(f()=1)",
    "class(x=1, y=2)",
    "Based on the question and the functions, I call a.b(x=1).",
    "Name.of_something",
    'a.bcdef(x="\\x4")',
    "a.bcdef(x=#)",
]
JAVASCRIPT = [
    ("a.b(x=1, y=\"z\", w='v')", "a.b", {"x": "1", "y": "z", "w": "v"}),
    ("f(x='it\\'s')", "f", {"x": "it\\'s"}),
    ('f(x="a" + "b")', "f", {"x": 'a" + "b'}),
    ("f(x={a: 1, 'b': [2, ], ...c, d})", "f", {"x": "{a: 1, 'b': [2, ], ...c, d}"}),
    (
        "f(x={get a() { return 1 }, b() {}, [c]: 2})",
        "f",
        {"x": "{get a() { return 1 }, b() {}, [c]: 2}"},
    ),
    (
        "f(x=(a, b) => { return a; }, y=async c => d)",
        "f",
        {"x": "(a, b) => { return a; }", "y": "async c => d"},
    ),
    (
        "f(x=function g(a) { if (a) return 1; else b() })",
        "f",
        {"x": "function g(a) { if (a) return 1; else b() }"},
    ),
    ("f(x=`a${b}`, y=/re[/]/g, z=1n)", "f", {"x": "`a${b}`", "y": "/re[/]/g", "z": "1n"}),
    ("f(x=a / b, y=c?.d ?? e, z=typeof g)", "f", {"x": "a / b", "y": "c?.d ?? e", "z": "typeof g"}),
    (
        "f(x=new A(1).b, y=class extends C {}, z=import('d'))",
        "f",
        {"x": "new A(1).b", "y": "class extends C {}", "z": "import('d')"},
    ),
    ("f(x=y=1, a.b=2, c[0]=3)", "f", {"x": "y=1", "a.b": "2", "c[0]": "3"}),
    ("f(true, 1, ...a)", "f", {None: "true"}),
    ("f(x+=1, y==2, -z=3)", "f", {}),
    ("f(x=1,,y=2,)", "f", {"x": "1", "y": "2"}),
    ("f(x={a: 1)", "f", {"x": "{a: 1"}),
    ("f(x=1).g(y=2)", "f(x=1).g", {"y": "2"}),
    ("f?.(x=1)", "f", {}),
    ("f(x=1) // done", "f", {"x": "1"}),
    ("javascript\nf(x=1)\n", "f", {"x": "1"}),
    ("const a = 1; f(x=1)", "f", {"x": "1"}),
    ("Foo.barbaz(x='yes')5", "Foo.barbaz", {"x": "yes"}),
]
NO_JAVASCRIPT = [
    "f(x=)",
    "f(x=1))",
    "f(x: 1)",
    "f(x=1, x=2)",
    "f(x, y)",
    "f(x=1) g(y=2)",
    "f(x=1; y=2)",
    "f('x'=1)",
    "f(x='a\nb')",
    "f(x=#)",
    "class(x=1)",
    "I cannot do that",
]


@pytest.mark.parametrize(("text", "name", "given"), JAVA)
def test_java(text: str, name: str, given: dict[str | None, str]) -> None:
    assert read_java_call(text) == {name: given}


@pytest.mark.parametrize("text", NO_JAVA)
def test_no_java(text: str) -> None:
    with pytest.raises(ParseError):
        read_java_call(text)


@pytest.mark.parametrize(("text", "name", "given"), JAVASCRIPT)
def test_javascript(text: str, name: str, given: dict[str | None, str]) -> None:
    assert read_javascript_call(text) == {name: given}


@pytest.mark.parametrize("text", NO_JAVASCRIPT)
def test_no_javascript(text: str) -> None:
    with pytest.raises(ParseError):
        read_javascript_call(text)


@pytest.mark.parametrize("text", ["", "'Foo.barbaz(x=1)'", "Unfortunately none", "// a.b(x=1)"])
def test_sound_java_without_a_call(text: str) -> None:
    assert read_java_call(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x = f(a=1)",
        "f(a=1), g(b=2)",
        "await f(a=1)",
        "return f(a=1)",
        "{f(a=1)}",
        "if (a) { f(b=1) } else g()",
        "while (a) f()",
        "for (const a of b) f(a)",
        "function f(a) { return a }",
        "name: ",
        "{'name': 'f', 'arguments': {'a': 1}}",
    ],
)
def test_sound_javascript_without_a_call(text: str) -> None:
    assert read_javascript_call(text) is None
