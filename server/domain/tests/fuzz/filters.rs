//! Mutated filters, as messages bring them.

use artifactd_domain::filter::{
    Entry, FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TESTS_MAX, Field, Filter, FilterFault, Function, Predicate,
    Resolved, Schema, Test, TimeUnit, Type, Unresolved, Value,
};

use crate::{Random, rounds};

const CORPUS: &str = include_str!("../corpus/filters.txt");
const SPLICES: [&str; 32] = [
    " AND ",
    " OR ",
    " NOT ",
    "-",
    "(",
    ")",
    "\"",
    "'",
    "\\",
    "*",
    ":",
    "=",
    "!=",
    "<=",
    ">",
    ".",
    ",",
    "\0",
    "\n",
    "\u{a0}",
    "é",
    "\u{1F600}",
    "null",
    "true",
    "1e9",
    "-0",
    "NaN",
    "2026-02-29",
    "T24:00:00Z",
    "f(",
    ":*",
    "%_",
];
const BYTES_MAX: usize = FILTER_BYTES_MAX + 100;

/// Every name is a field, of a type that the name decides.
struct AnyField;

impl Schema for AnyField {
    type Id = String;

    fn field(&self, path: &[&str]) -> Result<Resolved<String>, Unresolved> {
        let id = path.join(".");
        let names = vec![("MODEL".to_owned(), 2), ("HIDDEN".to_owned(), 0)];
        Ok(Resolved::Field(match id.len() % 9 {
            0 => Field::new(id, Type::Int).nullable(),
            1 => Field::new(id, Type::Float),
            2 => Field::new(id, Type::Bool),
            3 => Field::new(id, Type::Time(TimeUnit::Microsecond)),
            4 => Field::new(id, Type::Enum(names)),
            5 => Field::new(id, Type::Bytes(None)).repeated(),
            6 => return Ok(Resolved::Map(id)),
            7 => return Err(Unresolved::Unknown),
            _ => Field::new(id, Type::Text).nullable(),
        }))
    }

    fn function(&self, path: &[&str]) -> Option<Function<String>> {
        let arguments = vec![Type::Text];
        (path.len() == 1).then(|| Function {
            id: path[0].to_owned(),
            arguments,
        })
    }

    fn names(&self) -> Vec<String> {
        vec!["created_at".to_owned(), "é".to_owned(), "n".repeat(100)]
    }
}

/// Has nothing.
struct Nothing;

impl Entry<String> for Nothing {
    fn values(&self, _field: &String) -> Vec<Value> {
        Vec::new()
    }
}

fn mutate(text: &mut String, random: &mut Random, corpus: &[&str]) {
    let mut at = random.below(text.len() + 1);
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    match random.below(8) {
        0 => text.insert(at, random.char()),
        1 => text.truncate(at),
        2 => {
            let before = text[..at].to_owned();
            text.insert_str(at, &before);
        }
        3 => text.insert_str(at, random.of(corpus)),
        4 => *text = format!("({text})"),
        5 => *text = format!("{text} OR {text}"),
        _ => text.insert_str(at, random.of(&SPLICES)),
    }
    let mut end = text.len().min(BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}

fn tests<'p>(predicate: &'p Predicate<String>, found: &mut Vec<&'p Test<String>>) {
    match predicate {
        Predicate::All(parts) | Predicate::Any(parts) => parts.iter().for_each(|part| tests(part, found)),
        Predicate::Is(test) | Predicate::IsNot(test) => found.push(test),
    }
}

fn check_value(value: &Value) {
    match value {
        Value::Text(text) => assert!(!text.contains('\0')),
        Value::Int(number) => assert!(i64::try_from(*number).is_ok()),
        Value::Float(number) => assert!(number.is_finite()),
        Value::Bool(_) | Value::Bytes(_) => {}
    }
}

fn check(text: &str) -> Result<(), FilterFault> {
    let in_text = |fault: &FilterFault| {
        assert!(
            (1..=text.chars().count() + 1).contains(&fault.character),
            "{text:?}: {fault}"
        );
        assert!(fault.to_string().len() < 700, "{fault}");
    };
    let filter = text.parse::<Filter>().inspect_err(in_text)?;
    assert_eq!(filter.as_str(), text);
    let predicate = filter.check(&AnyField).inspect_err(in_text)?;
    let mut found = Vec::new();
    tests(&predicate, &mut found);
    assert!(found.len() <= FILTER_TESTS_MAX);
    for test in found {
        match test {
            Test::Compare(_, _, value) => check_value(value),
            Test::Call(_, values) => values.iter().for_each(check_value),
            Test::Like(_, pattern) | Test::Unlike(_, pattern) => assert!(!pattern.is_anything()),
            Test::Set(_) | Test::NotEmpty(_) => {}
        }
    }
    if text.len() + 6 <= FILTER_BYTES_MAX && text.contains('=') {
        let opposite = format!("NOT ({text})").parse::<Filter>();
        // It may be as deep as it can be already.
        if let Ok(opposite) = opposite {
            let opposite = opposite.check(&AnyField).expect("what could be checked");
            assert_ne!(predicate.matches(&Nothing), opposite.matches(&Nothing), "{text:?}");
        }
    }
    Ok(())
}

#[test]
fn mutated_filters_are_read_or_refused_where_they_are_wrong() {
    let mut random = Random::seeded();
    let corpus: Vec<&str> = CORPUS.lines().collect();
    let mut accepted = corpus.iter().filter(|text| check(text).is_ok()).count();
    for _ in 0..rounds(50_000) {
        let mut text = random.of(&corpus).to_owned();
        for _ in 0..=random.below(5) {
            mutate(&mut text, &mut random, &corpus);
        }
        accepted += usize::from(check(&text).is_ok());
    }
    assert!(accepted > 100, "{accepted}");
}

#[test]
fn filters_that_grow_without_end_are_refused_at_once() {
    let begun = std::time::Instant::now();
    for part in [
        "(", "NOT (", "-(", "n=1 AND ", "n=1 OR ", "a.", "\"", "\\", "*", "f(", "t='*a*'", "é=", "1e",
    ] {
        for parts in [FILTER_DEPTH_MAX + 1, 1_000, FILTER_BYTES_MAX] {
            assert!(check(&part.repeat(parts)).is_err(), "{part:?}");
        }
    }
    assert!(begun.elapsed().as_secs() < 5);
}
