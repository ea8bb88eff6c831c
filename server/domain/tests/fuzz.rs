//! Loops over mutated names: whatever the text, parsing ends in a value that
//! keeps its promises or in a refusal, and never in a panic.
//!
//! The mutations are drawn from a seed, so a failure can be seen again;
//! `ARTIFACTD_FUZZ_ROUNDS` and `ARTIFACTD_FUZZ_SEED` change count and seed.

use std::{fmt::Display, str::FromStr};

use artifactd_domain::{
    ArtifactRef, Description, FileName, Key, Label, MediaType, RequestId, Sha256, Stem, StorageName, Suffix, Uid,
    VersionName, raw_suffix_of,
};

const CORPUS: &str = include_str!("corpus/names.txt");
const SPLICES: [&str; 18] = [
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

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn char(&mut self) -> char {
        let end = [0x80, 0x3000, 0x11_0000][self.below(3)];
        char::from_u32(self.below(end) as u32).unwrap_or('x')
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .map_or(default, |text| text.parse().expect("a number"))
}

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

fn check(text: &str) {
    check_key(text);
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
    let seed = setting("ARTIFACTD_FUZZ_SEED", 0x5eed);
    let mut random = Random(seed | 1);
    let corpus: Vec<&str> = CORPUS.lines().collect();
    corpus.iter().for_each(|text| check(text));
    for _ in 0..setting("ARTIFACTD_FUZZ_ROUNDS", 50_000) {
        let [one, two] = [(); 2].map(|()| {
            let text = random.of(&corpus);
            mutate(text, &mut random)
        });
        check(&one);
        check_parts(random.of(&["", "default", "raw-data"]), &one, &two);
    }
}
