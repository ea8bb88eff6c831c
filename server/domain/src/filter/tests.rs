mod edited;

use proptest::prelude::*;

use super::*;

/// The fields of the tests.
struct Fields;

type Id = &'static str;

fn field(path: &[&str]) -> Option<Field<Id>> {
    let colours = [("RED", 1), ("COLOUR_RED", 1), ("GREEN", 2)].map(|(name, code)| (name.to_owned(), code));
    Some(match path {
        ["t"] => Field::new("t", Type::Text),
        ["note"] => Field::new("note", Type::Text).nullable(),
        ["n"] => Field::new("n", Type::Int),
        ["u"] => Field::new("u", Type::UInt),
        ["m"] => Field::new("m", Type::Int).nullable(),
        ["x"] => Field::new("x", Type::Float).nullable(),
        ["b"] => Field::new("b", Type::Bool),
        ["at"] => Field::new("at", Type::Time(TimeUnit::Microsecond)),
        ["day"] => Field::new("day", Type::Date),
        ["span"] => Field::new("span", Type::Duration(TimeUnit::Millisecond)),
        ["colour"] => Field::new("colour", Type::Enum(colours.to_vec())),
        ["hash"] => Field::new("hash", Type::Bytes(Some(2))),
        ["words"] => Field::new("words", Type::Text).repeated(),
        ["n genes"] => Field::new("n genes", Type::Int),
        ["map", "k"] => Field::new("map.k", Type::Int).nullable(),
        ["map", "k.l"] => Field::new("map.k.l", Type::Int).nullable(),
        _ => return None,
    })
}

impl Schema for Fields {
    type Id = Id;

    fn field(&self, path: &[&str]) -> Result<Resolved<Id>, Unresolved> {
        match path {
            ["map"] => Ok(Resolved::Map("map")),
            ["secret"] => Err(Unresolved::Because("is nobody's business".to_owned())),
            path => field(path).map(Resolved::Field).ok_or(Unresolved::Unknown),
        }
    }

    fn function(&self, path: &[&str]) -> Option<Function<Id>> {
        (path == ["input_of"]).then(|| Function {
            id: "input_of",
            arguments: vec![Type::Text, Type::Int],
        })
    }

    fn names(&self) -> Vec<String> {
        ["t", "note", "colour", "words"].map(str::to_owned).to_vec()
    }
}

fn shown(predicate: &Predicate<Id>) -> String {
    let joined = |parts: &[Predicate<Id>]| parts.iter().map(shown).collect::<Vec<_>>().join(" ");
    match predicate {
        Predicate::All(parts) => format!("all({})", joined(parts)),
        Predicate::Any(parts) => format!("any({})", joined(parts)),
        Predicate::Is(test) => shown_test(test),
        Predicate::IsNot(test) => format!("!{}", shown_test(test)),
    }
}

fn shown_test(test: &Test<Id>) -> String {
    let like = |pattern: &Pattern| format!("{:?}", (pattern.prefix(), pattern.infix(), pattern.suffix()));
    match test {
        Test::Set(field) => format!("set({})", field.id),
        Test::NotEmpty(map) => format!("any({map})"),
        Test::Compare(field, comparison, value) => format!("{}{}{}", field.id, sign(*comparison), shown_value(value)),
        Test::Like(field, pattern) => format!("{}~{}", field.id, like(pattern)),
        Test::Unlike(field, pattern) => format!("{}!~{}", field.id, like(pattern)),
        Test::Call(function, values) => {
            format!(
                "{function}({})",
                values.iter().map(shown_value).collect::<Vec<_>>().join(",")
            )
        }
    }
}

fn sign(comparison: Comparison) -> &'static str {
    match comparison {
        Comparison::Equal => "=",
        Comparison::NotEqual => "!=",
        Comparison::Less => "<",
        Comparison::LessOrEqual => "<=",
        Comparison::Greater => ">",
        Comparison::GreaterOrEqual => ">=",
    }
}

fn shown_value(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("{text:?}"),
        Value::Int(number) => number.to_string(),
        Value::Float(number) => format!("{number:?}f"),
        Value::Bool(value) => value.to_string(),
        Value::Bytes(bytes) => format!("{bytes:02x?}"),
    }
}

fn checked(text: &str) -> Result<Predicate<Id>, FilterFault> {
    text.parse::<Filter>()?.check(&Fields)
}

#[test]
fn filters_mean_what_they_say() {
    for (text, meaning) in [
        ("", "all()"),
        (" \t\r\n", "all()"),
        // Joining.
        (r#"t="a""#, r#"t="a""#),
        ("t = a AND n = 1 OR n = 2", r#"all(t="a" any(n=1 n=2))"#),
        ("t = a OR n = 1 AND n = 2", r#"all(any(t="a" n=1) n=2)"#),
        ("(t = a OR (n = 1 AND n = 2))", r#"any(t="a" all(n=1 n=2))"#),
        ("t = a n = 1 OR n = 2 b = true", r#"all(t="a" any(n=1 n=2) b=true)"#),
        ("t = a -n = 1", r#"all(t="a" !n=1)"#),
        ("t=a AND(n=1)", r#"all(t="a" n=1)"#),
        ("NOT t = a OR n = 1", r#"any(!t="a" n=1)"#),
        ("NOT (t = a OR n = 1)", r#"all(!t="a" !n=1)"#),
        ("-(t = a AND NOT n < 1)", r#"any(!t="a" n<1)"#),
        ("NOT (NOT (t = a))", r#"t="a""#),
        // Text.
        (r#"t = "a\"b\\c\n\t\r\*'""#, r#"t="a\"b\\c\n\t\r*'""#),
        (r#"t = 'it"s'"#, r#"t="it\"s""#),
        ("t = cells/pbmc-68k.h5ad", r#"t="cells/pbmc-68k.h5ad""#),
        ("t = .h5ad", r#"t=".h5ad""#),
        ("t = -x", r#"t="-x""#),
        ("t = AND AND n = 1", r#"all(t="AND" n=1)"#),
        ("t = é日本", r#"t="é日本""#),
        ("t = ''", r#"t="""#),
        ("t >= b", r#"t>="b""#),
        (r#"t = "null""#, r#"t="null""#),
        ("t='; DROP TABLE artifacts;--'", r#"t="; DROP TABLE artifacts;--""#),
        (r"t = '%_%'", r#"t="%_%""#),
        // Patterns.
        ("t = a*", r#"t~("a", "", "")"#),
        ("t = *.h5ad", r#"t~("", "", ".h5ad")"#),
        (r#"t = "*x*""#, r#"t~("", "x", "")"#),
        ("t = a*b*c", r#"t~("a", "b", "c")"#),
        ("t = a***c", r#"t~("a", "", "c")"#),
        (r#"t = "*\*a*""#, r#"t~("", "*a", "")"#),
        (r#"t = "\**""#, r#"t~("*", "", "")"#),
        (r#"t = "a\*""#, r#"t="a*""#),
        ("t != a*", r#"t!~("a", "", "")"#),
        ("-t = a*", r#"!t~("a", "", "")"#),
        ("t = *", "all()"),
        ("t != *", "any()"),
        ("note = *", "set(note)"),
        // Unset.
        ("note:*", "set(note)"),
        ("-note:*", "!set(note)"),
        ("t:*", "all()"),
        ("-t:*", "any()"),
        ("note:* AND t:*", "set(note)"),
        ("-t:* OR n = 1", "n=1"),
        ("-t:* AND n = 1", "any()"),
        // Integers.
        ("n = 9007199254740993", "n=9007199254740993"),
        ("n > -5", "n>-5"),
        ("n > 1e6", "n>1000000"),
        ("n = \"12\"", "n=12"),
        ("n < 2.5", "n<=2"),
        ("n <= 2.5", "n<=2"),
        ("n > 2.5", "n>2"),
        ("n >= 2.5", "n>2"),
        ("n >= -2.5", "n>-3"),
        ("n = 2.5", "any()"),
        ("n != 2.5", "all()"),
        ("m != 2.5", "set(m)"),
        ("n < 9223372036854775808", "all()"),
        ("m <= 1e30", "set(m)"),
        ("n > 9223372036854775807", "any()"),
        ("n <= 9223372036854775807", "all()"),
        ("n >= -9223372036854775808", "all()"),
        ("n > -1e30", "all()"),
        ("u = 18446744073709551615", "u=18446744073709551615"),
        ("u >= 0", "all()"),
        ("u < 0", "any()"),
        ("-u < 0", "all()"),
        // Floats.
        ("x < 0.1", "x<0.1f"),
        ("x = -1", "x=-1.0f"),
        ("x = 1e-400", "x=0.0f"),
        // The other types.
        ("b = true", "b=true"),
        ("b != false", "b!=false"),
        ("at > 2026-01-31T12:00:00.25Z", "at>1769860800250000"),
        ("at > '2026-01-31T13:00:00.25+01:00'", "at>1769860800250000"),
        ("(at >= 2026-01-31)", "at>=1769817600000000"),
        ("at < 1970-01-01T00:00:00.0000005Z", "at<=0"),
        ("at = 1970-01-01T00:00:00.0000005Z", "any()"),
        ("day = 1970-01-02", "day=1"),
        ("span >= 1.5s", "span>=1500"),
        ("colour = RED", "colour=1"),
        ("colour = COLOUR_RED", "colour=1"),
        ("colour != green", "colour!=2"),
        ("hash = 0aFf", "hash=[0a, ff]"),
        // Several values, maps, functions, names in quotes.
        ("words:a", r#"words="a""#),
        ("words = 'a*'", r#"words~("a", "", "")"#),
        ("words:'a*'", r#"words~("a", "", "")"#),
        ("words:*", "set(words)"),
        ("map:*", "any(map)"),
        ("map:k", "set(map.k)"),
        ("map.k > 3", "map.k>3"),
        ("map:'k.l'", "set(map.k.l)"),
        ("map.'k.l' = 3", "map.k.l=3"),
        ("'map'.k = 3", "map.k=3"),
        (r#""n genes" > 200"#, "n genes>200"),
        (r#"input_of("a b", 3)"#, r#"input_of("a b",3)"#),
        ("NOT input_of( a.b ,3 )", r#"!input_of("a.b",3)"#),
    ] {
        match checked(text) {
            Ok(predicate) => assert_eq!(shown(&predicate), meaning, "{text}"),
            Err(fault) => panic!("{text}: {fault}"),
        }
    }
}

#[test]
fn faults_say_what_and_where() {
    let mut other = Vec::new();
    for (text, character, message) in [
        (
            "t",
            1,
            "`t` tests nothing: write `field = value`; words are looked for by a search",
        ),
        (
            "hello world",
            1,
            "`hello` tests nothing: write `field = value`; words are looked for by a search",
        ),
        ("t = a and n = 1", 7, "write `AND` in capitals"),
        ("t = a Or n = 1", 7, "write `OR` in capitals"),
        (
            "t = a b",
            7,
            "`b` tests nothing: write `field = value`; words are looked for by a search",
        ),
        ("AND t = a", 1, "expected a field, found `AND`"),
        ("t = a AND", 10, "expected a field, found the end"),
        ("t = a OR )", 10, "expected a field, found `)`"),
        ("t = a OR AND", 10, "expected a field, found `AND`"),
        ("t =", 4, "expected a value, found the end"),
        ("t = = a", 5, "expected a value, found `=`"),
        ("t == a", 4, "expected a value, found `=`"),
        ("t = (a OR b)", 5, "expected a value, found `(`"),
        ("(t = a", 7, "expected `AND`, `OR` or `)`, found the end"),
        ("t = a)", 6, "expected `AND`, `OR` or the end, found `)`"),
        (
            "t = a, n = 1",
            6,
            "expected a space; values that hold this are quoted, found `,`",
        ),
        (
            "t = a:b",
            6,
            "expected a space; values that hold this are quoted, found `:`",
        ),
        (
            "t = \"a\"b",
            8,
            "expected a space; values that hold this are quoted, found `b`",
        ),
        ("t ! a", 3, "expected `!=`, found `!`"),
        ("t. = a", 3, "expected the rest of the name of a field, found ` `"),
        (".t = a", 1, "expected a field, found `.`"),
        ("()", 2, "expected a field, found `)`"),
        ("NOT", 4, "expected a field, found the end"),
        ("--t = a", 2, "there is no field `-t`"),
        ("NOT NOT t = a", 5, "expected a field, found `NOT`"),
        ("é = \"a", 5, "this quote is not closed"),
        ("t = \"a\\", 5, "this quote is not closed"),
        (
            "t = \"a\\x\"",
            7,
            "`\\` stands before one of `\\ \" ' * n r t` only, found `x`",
        ),
        (
            "t = a\\b",
            6,
            "expected a space; values that hold this are quoted, found `\\`",
        ),
        ("t = \"a\0\"", 7, "a NUL character stands for nothing"),
        ("t = a\0", 6, "a NUL character stands for nothing"),
        ("\u{a0}t = a", 1, "there is no field `\u{a0}t`"),
        (
            "t = a AND nope = 1",
            11,
            "there is no field `nope`; did you mean `note`?",
        ),
        ("not = 1", 1, "there is no field `not`; did you mean `note`?"),
        (
            "t = a AND (n = 1 OR colur = RED)",
            21,
            "there is no field `colur`; did you mean `colour`?",
        ),
        ("t.x = 1", 1, "there is no field `t.x`"),
        ("secret = 1", 1, "`secret` is nobody's business"),
        ("__class__ = 1", 1, "there is no field `__class__`"),
        ("map = 1", 5, "`map` is a map: write `map:name`, or `map.name = value`"),
        ("map:nope", 5, "there is no field `map.nope`"),
        ("map:'k*'", 5, STAR),
        (
            "t:a",
            2,
            "`:` does not go with `t`, which is a text: write `=`, or `:*` for whether it is set",
        ),
        (
            "b < true",
            3,
            "`<` does not go with `b`, which is true or false: it has only `=`, `!=` and `:*`",
        ),
        (
            "colour >= RED",
            8,
            "`>=` does not go with `colour`, which is a name of a set: it has only `=`, `!=` and `:*`",
        ),
        (
            "note = null",
            8,
            "whether `note` is unset is asked by `-note:*`; the text null is written in quotes",
        ),
        ("n = a", 5, "`n` takes an integer, not `a`"),
        ("n = 0x10", 5, "`n` takes an integer, not `0x10`"),
        ("x = NaN", 5, "`x` takes a number, not `NaN`"),
        ("x = inf", 5, "`x` takes a number, not `inf`"),
        ("x > 1e400", 5, "the number `1e400` is too large"),
        ("b = TRUE", 5, "`b` takes true or false, not `TRUE`"),
        (
            "at = yesterday",
            6,
            "`at` takes a time such as 2026-01-31T12:00:00Z, or a date, not `yesterday`",
        ),
        (
            "at = 2026-01-31T12:00:00",
            6,
            "`at` takes a time such as 2026-01-31T12:00:00Z, or a date, not `2026-01-31T12:00:00`",
        ),
        (
            "day = 2026-02-30",
            7,
            "`day` takes a date such as 2026-01-31, not `2026-02-30`",
        ),
        ("span = 3", 8, "`span` takes a duration such as 1.5s, not `3`"),
        (
            "colour = blue",
            10,
            "`colour` takes one of RED, COLOUR_RED, GREEN, not `blue`",
        ),
        ("hash = 0aF", 8, "`hash` takes 4 hexadecimal digits, not `0aF`"),
        ("hash = 0aFg", 8, "`hash` takes 4 hexadecimal digits, not `0aFg`"),
        ("t < a*", 5, STAR),
        ("n = 1*", 5, STAR),
        ("n = *", 5, STAR),
        ("t = *a*b*", 5, "a value has at most 2 `*`"),
        ("nope('a')", 1, "there is no function `nope`"),
        ("input_of('a')", 1, "the function `input_of` takes 2 values, not 1"),
        ("input_of()", 1, "the function `input_of` takes 2 values, not 0"),
        ("input_of('a', b)", 15, "`input_of` takes an integer, not `b`"),
        ("input_of('a', 2.5)", 15, "`input_of` takes an integer, not `2.5`"),
        ("input_of('a*', 2)", 10, STAR),
        (
            "input_of('a', 3) = 1",
            18,
            "the function `input_of` holds or not: it stands alone",
        ),
        ("input_of('a' 3)", 14, "expected `,` or `)`, found `3`"),
        ("input_of('a',)", 14, "expected a value, found `)`"),
    ] {
        let fault = checked(text).expect_err(text);
        let found = (fault.character, fault.refused.to_string());
        if found != (character, message.to_owned()) {
            other.push((text, found));
        }
    }
    assert!(other.is_empty(), "{other:#?}");
}

const STAR: &str = "`*` stands for any text after `=` and `!=` only; written `\\*` in quotes it means itself";

#[test]
fn limits_are_where_they_are_said_to_be() {
    let nested = |depth: usize| format!("{}n = 1{}", "(".repeat(depth), ")".repeat(depth));
    assert!(checked(&nested(FILTER_DEPTH_MAX)).is_ok());
    let fault = checked(&nested(8_000)).unwrap_err();
    assert_eq!(
        (fault.character, fault.refused),
        (FILTER_DEPTH_MAX + 1, FilterRefused::Depth)
    );

    let many = |tests: usize, word: &str| vec!["n = 1"; tests].join(word);
    for word in [" OR ", " AND ", " "] {
        assert!(checked(&many(FILTER_TESTS_MAX, word)).is_ok());
        let fault = checked(&many(FILTER_TESTS_MAX + 1, word)).unwrap_err();
        let character = (5 + word.len()) * FILTER_TESTS_MAX + 1;
        assert_eq!((fault.character, fault.refused), (character, FilterRefused::Tests));
    }

    let long = |bytes: usize| format!("t = {}", "a".repeat(bytes - 4));
    assert!(checked(&long(FILTER_BYTES_MAX)).is_ok());
    let fault = checked(&long(FILTER_BYTES_MAX + 1)).unwrap_err();
    assert_eq!(fault.refused, FilterRefused::Length(FILTER_BYTES_MAX + 1));
    assert!(
        checked(&format!("{} = 1", "x".repeat(10_000)))
            .unwrap_err()
            .to_string()
            .len()
            < 200
    );
}

#[test]
fn what_a_filter_needs_to_know_is_listed_before_it_is_checked() {
    let filter: Filter = "a.b = 1 AND (NOT f(x, y) OR c:*)".parse().unwrap();
    let subjects: Vec<String> = filter
        .restrictions()
        .iter()
        .map(|restriction| match &restriction.subject {
            Subject::Field(name) => name.to_string(),
            Subject::Function { name, arguments } => format!("{name}/{}", arguments.len()),
        })
        .collect();
    assert_eq!(subjects, ["a.b", "f/2", "c"]);
}

/// An entry of the tests: `note` and `m` may be unset, `words` are several.
#[derive(Debug, Clone, Default)]
struct Row {
    t: String,
    note: Option<String>,
    n: i64,
    m: Option<i64>,
    x: Option<f64>,
    words: Vec<String>,
}

impl Entry<Id> for Row {
    fn values(&self, field: &Id) -> Vec<Value> {
        match *field {
            "t" => vec![Value::Text(self.t.clone())],
            "note" => self.note.iter().cloned().map(Value::Text).collect(),
            "n" => vec![Value::Int(self.n.into())],
            "m" => self.m.iter().map(|m| Value::Int((*m).into())).collect(),
            "x" => self.x.iter().copied().map(Value::Float).collect(),
            "words" => self.words.iter().cloned().map(Value::Text).collect(),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn stars_stand_for_any_text_and_what_is_escaped_for_itself() {
    for (filter, fitting, others) in [
        ("t = a*", &["a", "ab", "a*", "a\n"][..], &["", "b", "ba", "A"][..]),
        ("t = *b", &["b", "ab", "bb"], &["", "ba", "B"]),
        (
            "t = a*b",
            &["ab", "axb", "a*b", "abab", "a%_b"],
            &["a", "b", "aba", "xab", "abx", "ba"],
        ),
        // What begins and what ends a text are two pieces of it.
        ("t = ab*bc", &["abbc", "abxbc"], &["abc", "abcb", "ab", "bc"]),
        ("t = aa*aa", &["aaaa", "aaaaa"], &["aa", "aaa"]),
        ("t = *b*", &["b", "abc", "bb"], &["", "ac", "B"]),
        (
            "t = a*b*c",
            &["abc", "axbyc", "abbc", "acbc"],
            &["ac", "axc", "acb", "bc", "ab", "abcx"],
        ),
        // What stands between them is a third one.
        ("t = ab*b*bc", &["abbbc", "abxbxbc"], &["abbc", "abxbc", "abc"]),
        ("t = ab*b*", &["abb", "abxb", "abxbx"], &["ab", "abx", "axb"]),
        ("t = *b*bc", &["bbc", "xbxbc"], &["bc", "xbc", "bbcx"]),
        ("t = *ab*", &["ab", "aab", "xaby"], &["a", "b", "ba", "axb"]),
        ("t = a***b", &["ab", "axb"], &["a", "b"]),
        // Stars in a text.
        (r"t = 'a\*b'", &["a*b"], &["ab", "axb", r"a\*b"]),
        (r"t = 'a\**'", &["a*", "a*b", "a**"], &["a", "ab", r"a\*"]),
        (r"t = '*\*'", &["*", "a*"], &["", "a", "*a"]),
        (r"t = '*\**'", &["*", "a*b"], &["", "ab"]),
        (r"t = 'a\\*'", &[r"a\", r"a\b"], &["a", "a*", "ab"]),
        (r"t = '\\\*'", &[r"\*"], &["*", r"\", r"\\"]),
        // Of other languages, which stand for themselves here.
        ("t = 'a%*'", &["a%", "a%b"], &["a", "ab"]),
        ("t = 'a_*'", &["a_", "a_b"], &["ab", "abc"]),
        ("t = '[ab]*'", &["[ab]x"], &["a", "b"]),
        ("t = 'a?*'", &["a?", "a?b"], &["ab"]),
        ("t = '.*'", &[".", ".h5ad"], &["", "a"]),
        // Of characters of several bytes.
        (
            "t = '\u{e9}*\u{65e5}'",
            &["\u{e9}\u{65e5}", "\u{e9}x\u{65e5}"],
            &["\u{e9}", "\u{65e5}", "\u{e8}\u{65e5}"],
        ),
        ("t = '*\u{301}*'", &["e\u{301}"], &["\u{e9}", "e"]),
        // All but those.
        ("t != a*b", &["a", "b", "abx"], &["ab", "axb"]),
        ("t != *b*", &["", "ac"], &["b", "abc"]),
        (r"t != 'a\*b'", &["ab", "axb"], &["a*b"]),
    ] {
        let predicate = checked(filter).unwrap();
        let matches = |text: &str| {
            predicate.matches(&Row {
                t: text.to_owned(),
                ..Row::default()
            })
        };
        for text in fitting {
            assert!(matches(text), "{filter} and {text:?}");
        }
        for text in others {
            assert!(!matches(text), "{filter} and {text:?}");
        }
    }
}

/// A filter as a tree, with its text and what it plainly means.
#[derive(Debug, Clone)]
enum Plain {
    Test(&'static str, &'static str, String),
    Not(Box<Plain>),
    And(Box<Plain>, Box<Plain>),
    Or(Box<Plain>, Box<Plain>),
}

impl Plain {
    fn text(&self) -> String {
        match self {
            Self::Test(field, sign, value) => format!("{field} {sign} {value}"),
            Self::Not(inner) => format!("NOT ({})", inner.text()),
            Self::And(one, other) => format!("({}) AND ({})", one.text(), other.text()),
            Self::Or(one, other) => format!("({}) OR ({})", one.text(), other.text()),
        }
    }

    fn means(&self, row: &Row) -> bool {
        match self {
            Self::Test(field, sign, value) => plain_test(row, field, sign, value),
            Self::Not(inner) => !inner.means(row),
            Self::And(one, other) => one.means(row) && other.means(row),
            Self::Or(one, other) => one.means(row) || other.means(row),
        }
    }
}

fn plain_test(row: &Row, field: &str, sign: &str, value: &str) -> bool {
    let texts: Vec<String> = match field {
        "t" => vec![row.t.clone()],
        "note" => row.note.clone().into_iter().collect(),
        _ => row.words.clone(),
    };
    let numbers: Vec<f64> = match field {
        "n" => vec![row.n as f64],
        "m" => row.m.map(|m| m as f64).into_iter().collect(),
        _ => row.x.into_iter().collect(),
    };
    match (field, sign) {
        ("t" | "note" | "words", "=") => texts.iter().any(|text| fits(text.as_bytes(), value.as_bytes())),
        ("t" | "note" | "words", "!=") => !texts.is_empty() && !plain_test(row, field, "=", value),
        ("t" | "note" | "words", _) => texts.iter().any(|text| text.as_str() < value),
        (_, sign) => {
            let value: f64 = value.parse().unwrap();
            match sign {
                "=" => numbers.contains(&value),
                "!=" => !numbers.is_empty() && !numbers.contains(&value),
                "<" => numbers.iter().any(|number| *number < value),
                "<=" => numbers.iter().any(|number| *number <= value),
                ">" => numbers.iter().any(|number| *number > value),
                _ => numbers.iter().any(|number| *number >= value),
            }
        }
    }
}

/// Whether a text fits a pattern, tried letter by letter.
fn fits(text: &[u8], pattern: &[u8]) -> bool {
    match pattern {
        [] => text.is_empty(),
        [b'*', rest @ ..] => (0..=text.len()).any(|passed| fits(&text[passed..], rest)),
        [letter, rest @ ..] => text.first() == Some(letter) && fits(&text[1..], rest),
    }
}

fn plain() -> impl Strategy<Value = Plain> {
    let number = prop_oneof!["-?[0-3]", "-?[0-2]\\.5", Just("1e30".to_owned())];
    let numeric = (
        prop::sample::select(vec!["n", "m", "x"]),
        prop::sample::select(vec!["=", "!=", "<", "<=", ">", ">="]),
        number,
    );
    let textual = (
        prop::sample::select(vec!["t", "note", "words"]),
        prop::sample::select(vec!["=", "!="]),
        "[ab]{1,2}|[ab]{0,2}\\*([ab]{0,2}\\*)?[ab]{0,2}",
    );
    let ordered = (prop::sample::select(vec!["t", "note", "words"]), Just("<"), "[ab]{1,2}");
    let test = prop_oneof![numeric, textual, ordered].prop_map(|(field, sign, value)| Plain::Test(field, sign, value));
    test.prop_recursive(5, 24, 2, |inner| {
        let pair = (inner.clone(), inner.clone());
        prop_oneof![
            inner.prop_map(|one| Plain::Not(Box::new(one))),
            pair.clone()
                .prop_map(|(one, other)| Plain::And(Box::new(one), Box::new(other))),
            pair.prop_map(|(one, other)| Plain::Or(Box::new(one), Box::new(other))),
        ]
    })
}

fn row() -> impl Strategy<Value = Row> {
    let float = prop_oneof![Just(f64::NAN), Just(0.5), Just(-1.5), Just(2.0)];
    let parts = (
        "[ab]{0,5}",
        prop::option::of("[ab]{0,5}"),
        -3i64..4,
        prop::option::of(-3i64..4),
        prop::option::of(float),
        prop::collection::vec("[ab]{1,2}", 0..3),
    );
    parts.prop_map(|(t, note, n, m, x, words)| Row {
        t,
        note,
        n,
        m,
        x,
        words,
    })
}

proptest! {
    #[test]
    fn filters_match_what_they_plainly_mean(plain in plain(), rows in prop::collection::vec(row(), 1..8)) {
        let predicate = checked(&plain.text()).unwrap();
        let opposite = checked(&format!("NOT ({})", plain.text())).unwrap();
        for row in rows {
            prop_assert_eq!(predicate.matches(&row), plain.means(&row), "{} on {:?}", plain.text(), row);
            prop_assert_ne!(predicate.matches(&row), opposite.matches(&row));
        }
    }

    #[test]
    fn any_text_is_a_filter_or_a_fault_in_it(text in "[a-ctnm=<>!:.*()\"' \\\\-]{0,40}|.{0,60}") {
        if let Err(fault) = checked(&text) {
            prop_assert!((1..=text.chars().count() + 1).contains(&fault.character), "{}", fault);
        }
    }
}
