//! Loops over mutated names: whatever the text, parsing ends in a value that
//! keeps its promises or in a refusal, and never in a panic.
//!
//! The mutations are drawn from a seed, so a failure can be seen again;
//! `ARTIFACTD_FUZZ_ROUNDS` and `ARTIFACTD_FUZZ_SEED` change count and seed.

use artifactd_domain::{
    ArtifactRef, FileName, Key, Label, MediaType, RequestId, Sha256, StorageName, Suffix, raw_suffix_of,
};

const CORPUS: &str = include_str!("corpus/names.txt");
const SPLICES: [&str; 14] = [
    "/",
    "..",
    "\\",
    "@@",
    "::",
    "\0",
    "\u{202e}",
    "\u{7f}",
    ".gz",
    ".tar",
    "é",
    "%2f",
    "latest",
    "\u{1F600}",
];

struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
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
        let at = random.below(chars.len() + 1);
        match random.below(6) {
            0 if !chars.is_empty() => {
                chars.remove(at.min(chars.len() - 1));
            }
            1 => chars.insert(at, char::from_u32(random.below(0x3000) as u32).unwrap_or('x')),
            2 => {
                let splice = SPLICES[random.below(SPLICES.len())];
                chars.splice(at..at, splice.chars());
            }
            3 => chars.truncate(at),
            4 => {
                let copy: Vec<char> = chars[..at].to_vec();
                chars.extend(copy);
            }
            _ => chars.reverse(),
        }
        chars.truncate(3000);
    }
    chars.into_iter().collect()
}

fn check(text: &str) {
    if let Ok(key) = text.parse::<Key>() {
        assert_eq!(key.as_str(), text);
        assert!((1..=1024).contains(&text.len()));
        assert!(
            text.split('/').all(|segment| !matches!(segment, "" | "." | "..")),
            "{text:?}"
        );
        assert!(!text.chars().any(|c| c.is_control() || c == '\\'), "{text:?}");
        assert_eq!(
            text.parse::<ArtifactRef>().unwrap(),
            ArtifactRef::from(key.clone()),
            "{text:?}"
        );
        assert!(text.ends_with(raw_suffix_of(key.file_name())));
        let with = key.with_suffix(&Suffix::of_name("x.csv"));
        assert!(with.is_err() || with.unwrap().suffix().as_str() == ".csv");
    }
    if let Ok(reference) = text.parse::<ArtifactRef>() {
        assert_eq!(
            reference.to_string().parse::<ArtifactRef>().unwrap(),
            reference,
            "{text:?}"
        );
    }
    if let Ok(name) = text.parse::<FileName>() {
        assert!(!name.as_str().contains('/'));
    }
    let _ = (
        text.parse::<Label>(),
        text.parse::<StorageName>(),
        text.parse::<MediaType>(),
    );
    let _ = (text.parse::<RequestId>(), text.parse::<Sha256>());
}

#[test]
fn mutated_names_are_valid_or_refused() {
    let seed = setting("ARTIFACTD_FUZZ_SEED", 0x5eed);
    let mut random = Random(seed | 1);
    let corpus: Vec<&str> = CORPUS.lines().collect();
    corpus.iter().for_each(|text| check(text));
    for _ in 0..setting("ARTIFACTD_FUZZ_ROUNDS", 50_000) {
        check(&mutate(corpus[random.below(corpus.len())], &mut random));
    }
}
