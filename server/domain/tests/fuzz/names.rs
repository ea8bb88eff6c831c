//! Mutated names, as messages and command lines bring them.

use std::{fmt::Display, str::FromStr};

use artifactd_domain::{
    ArtifactRef, Description, FileName, Key, Label, MediaType, RequestId, Sha256, Stem, StorageName, Suffix, Uid,
    VersionName,
    manifest::{Glob, MemberPath},
    raw_suffix_of,
};

use crate::{Random, rounds};

const CORPUS: &str = include_str!("../corpus/names.txt");
const SPLICES: [&str; 23] = [
    "*",
    "/**/",
    "?",
    "[a-z]",
    "[!",
    "/",
    "..",
    "\\",
    "@",
    "@@",
    ":",
    "::",
    "\0",
    "\n",
    "\u{202e}",
    "\u{7f}",
    "\u{200b}",
    ".gz",
    ".tar",
    "é",
    "%2f",
    "latest",
    "\u{1F600}",
];
const CHARS_MAX: usize = 3000;

fn mutate(text: &str, random: &mut Random) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=random.below(4) {
        mutate_once(&mut chars, random);
        chars.truncate(CHARS_MAX);
    }
    chars.into_iter().collect()
}

fn mutate_once(chars: &mut Vec<char>, random: &mut Random) {
    let at = random.below(chars.len() + 1);
    match random.below(6) {
        0 if !chars.is_empty() => drop(chars.remove(at.min(chars.len() - 1))),
        1 => chars.insert(at, random.char()),
        2 => drop(chars.splice(at..at, random.of(&SPLICES).chars())),
        3 => chars.truncate(at),
        4 => chars.extend_from_within(..at),
        _ => chars.reverse(),
    }
}

/// What a text parses to, which must print as that text; a refusal must say why.
fn parsed<T: FromStr<Err: Display> + Display>(text: &str) -> Option<T> {
    match text.parse::<T>() {
        Ok(value) => {
            assert_eq!(value.to_string(), text);
            Some(value)
        }
        Err(refused) => {
            assert!(!refused.to_string().is_empty(), "{text:?}");
            None
        }
    }
}

fn check_key(text: &str) {
    let Some(key) = parsed::<Key>(text) else { return };
    let bad = |segment: &str| matches!(segment, "" | "." | ".." | ".artifactd" | ".lamindb");
    assert!((1..=1024).contains(&text.len()));
    assert!(!text.split('/').any(bad), "{text:?}");
    assert!(!text.chars().any(|c| c.is_control() || c == '\\'), "{text:?}");
    assert!(
        text.parse::<Uid>().is_err() && text.parse::<Stem>().is_err(),
        "{text:?}"
    );
    assert_eq!(text.parse(), Ok(ArtifactRef::from(key.clone())), "{text:?}");
    assert!(text.ends_with(raw_suffix_of(key.file_name())));
    for suffix in ["", ".csv", ".gz", ".tar.gz", ".anndata.zarr"] {
        let suffix = Suffix::of_name(&format!("x{suffix}"));
        if let Ok(with) = key.with_suffix(&suffix) {
            assert_eq!(with.suffix(), suffix, "{text:?}");
        }
    }
    if let Some(end) = Key::prefix_end(text) {
        assert!(*text < *end && *format!("{text}\u{10ffff}") < *end, "{text:?}");
    }
}

fn check_reference(text: &str) {
    match text.parse::<ArtifactRef>() {
        Ok(reference) => assert_eq!(reference.to_string().parse(), Ok(reference), "{text:?}"),
        Err(refused) => assert!(!refused.to_string().is_empty(), "{text:?}"),
    }
}

/// A reference made of parts, as messages bring them, names the same parts when printed.
fn check_parts(storage: &str, key: &str, label: &str) {
    let Ok(key) = key.parse() else { return };
    let reference = ArtifactRef::Key {
        storage: storage.parse().ok(),
        key,
        version: label.parse().map_or(VersionName::Latest, VersionName::Label),
    };
    assert_eq!(reference.to_string().parse(), Ok(reference));
}

/// A pattern matches only what begins with its prefix, and without stars only itself.
fn check_glob(pattern: &str, text: &str) {
    let Some(glob) = parsed::<Glob>(pattern) else { return };
    assert!(pattern.starts_with(glob.prefix()));
    assert!(
        !glob.matches(text) || text.starts_with(glob.prefix()),
        "{pattern:?} {text:?}"
    );
    assert!(
        !glob.is_literal() || glob.matches(text) == (pattern == text),
        "{pattern:?} {text:?}"
    );
}

fn check(text: &str) {
    check_key(text);
    let path = parsed::<MemberPath>(text);
    assert!(path.is_some() || text.parse::<Key>().is_err(), "{text:?}");
    check_reference(text);
    if let Some(name) = parsed::<FileName>(text) {
        assert!(!name.as_str().contains('/'));
    }
    let label = parsed::<Label>(text);
    assert!(label.is_none_or(|label| label.as_str() != "latest"));
    parsed::<StorageName>(text);
    parsed::<MediaType>(text);
    parsed::<RequestId>(text);
    parsed::<Sha256>(text);
    let description = text.parse::<Description>();
    assert_eq!(description.is_ok(), !text.contains('\0') && text.len() <= 64 * 1024);
}

#[test]
fn mutated_names_are_valid_or_refused() {
    let mut random = Random::seeded();
    let corpus: Vec<&str> = CORPUS.lines().collect();
    corpus.iter().for_each(|text| check(text));
    for _ in 0..rounds(50_000) {
        let [one, two] = [(); 2].map(|()| {
            let text = random.of(&corpus);
            mutate(text, &mut random)
        });
        check(&one);
        check_glob(&one, &two);
        check_glob(&two, &two);
        check_parts(random.of(&["", "default", "raw-data"]), &one, &two);
    }
}
