//! Searching by words: what matches, how well, and what an index has to hold.
//!
//! A search looks at the key, the last segment of the key, the file name and the
//! description, with upper and lower case folded. It ranks: a text that is the query
//! before one that begins with it, then artifacts that have every word of the query as a
//! word, then those that have every word somewhere in a word. Artifacts of one rank are
//! ordered by age, newest first; so the order depends on nothing but the artifacts.
//!
//! Words are what is between characters that are neither letters nor digits. A word of
//! one or two letters is too short to be looked for inside others, and matches what
//! begins with it; two characters of a script that writes without spaces are enough.
//!
//! An index holds [`Terms`], which databases store and look up without knowing what they
//! mean: letters, digits and other characters that no tokenizer takes apart. What an
//! index finds is only a candidate; [`Query::rank`] decides.

mod terms;

use std::collections::BTreeSet;

pub use terms::{Lookup, Terms};

/// Longest query.
pub const QUERY_BYTES_MAX: usize = 512;

/// Most words in a query.
pub const QUERY_WORDS_MAX: usize = 16;

/// How well an artifact matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// A text is the query.
    Exact,
    /// A text begins with the query.
    Prefix,
    /// Every word of the query is a word of some text.
    Words,
    /// Every word of the query is part of a word of some text.
    Parts,
}

impl Rank {
    /// Every rank, the best first.
    pub const ALL: [Self; 4] = [Self::Exact, Self::Prefix, Self::Words, Self::Parts];
}

/// The texts by which an artifact is found.
#[derive(Debug, Clone, Copy, Default)]
pub struct Texts<'a> {
    /// Its key.
    pub key: Option<&'a str>,
    /// The name of its file.
    pub file_name: Option<&'a str>,
    /// Its description.
    pub description: Option<&'a str>,
}

impl<'a> Texts<'a> {
    /// How long they are together, in bytes.
    pub fn size_bytes(self) -> usize {
        self.all().map(str::len).sum()
    }

    fn all(self) -> impl Iterator<Item = &'a str> {
        let segment = self.key.and_then(|key| key.rsplit_once('/')).map(|(_, last)| last);
        [self.key, segment, self.file_name, self.description]
            .into_iter()
            .flatten()
    }

    /// Those that are more than a part of another one.
    fn whole(self) -> impl Iterator<Item = &'a str> {
        [self.key, self.file_name, self.description].into_iter().flatten()
    }
}

/// Why a text is no query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryRefused {
    /// There is nothing to look for.
    #[error("must have a letter or a digit")]
    Empty,
    /// It is too long.
    #[error("must have at most {QUERY_BYTES_MAX} bytes, got {0}")]
    Length(usize),
    /// It has too many words.
    #[error("must have at most {QUERY_WORDS_MAX} words, got {0}")]
    Words(usize),
}

/// What to look for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The whole query, folded.
    text: String,
    /// Its words, each once.
    words: BTreeSet<String>,
}

impl std::str::FromStr for Query {
    type Err = QueryRefused;
    fn from_str(text: &str) -> Result<Self, QueryRefused> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(QueryRefused::Length(text.len()));
        }
        let text = folded(text.trim());
        let words: BTreeSet<String> = words(&text).map(str::to_owned).collect();
        match words.len() {
            0 => Err(QueryRefused::Empty),
            1..=QUERY_WORDS_MAX => Ok(Self { text, words }),
            many => Err(QueryRefused::Words(many)),
        }
    }
}

impl Query {
    /// How well texts match; `None` when they do not.
    pub fn rank(&self, texts: Texts<'_>) -> Option<Rank> {
        let all: Vec<String> = texts.all().map(folded).collect();
        if all.contains(&self.text) {
            return Some(Rank::Exact);
        }
        if all.iter().any(|text| text.starts_with(&self.text)) {
            return Some(Rank::Prefix);
        }
        let whole: Vec<String> = texts.whole().map(folded).collect();
        let there: BTreeSet<&str> = whole.iter().flat_map(|text| words(text)).collect();
        if self.words.iter().all(|word| there.contains(word.as_str())) {
            return Some(Rank::Words);
        }
        let has_part = |word: &String| {
            let is_part = |other: &&str| {
                if terms::is_findable_inside(word) {
                    other.contains(word)
                } else {
                    other.starts_with(word)
                }
            };
            there.iter().any(is_part)
        };
        self.words.iter().all(has_part).then_some(Rank::Parts)
    }
}

/// A text in which upper and lower case are the same.
fn folded(text: &str) -> String {
    text.chars()
        .flat_map(char::to_lowercase)
        .map(|c| match c {
            // At the end of a word it is written otherwise.
            'ς' => 'σ',
            c => c,
        })
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts<'a>(key: &'a str, file_name: &'a str, description: &'a str) -> Texts<'a> {
        let some = |text: &'a str| Some(text).filter(|text| !text.is_empty());
        Texts {
            key: some(key),
            file_name: some(file_name),
            description: some(description),
        }
    }

    #[test]
    fn the_better_match_comes_first() {
        let artifact = texts(
            "cells/PBMC68k-v2.h5ad",
            "raw.h5ad",
            "Counts of Blood cells, straße, ΣΟΦΟΣ",
        );
        for (query, rank) in [
            ("cells/pbmc68k-v2.h5ad", Some(Rank::Exact)),
            ("  PBMC68K-V2.H5AD ", Some(Rank::Exact)),
            ("RAW.h5ad", Some(Rank::Exact)),
            ("cells/pb", Some(Rank::Prefix)),
            ("pbmc68k", Some(Rank::Prefix)),
            ("raw", Some(Rank::Prefix)),
            ("counts of b", Some(Rank::Prefix)),
            ("blood", Some(Rank::Words)),
            ("h5ad blood raw", Some(Rank::Words)),
            ("cells, pbmc68k", Some(Rank::Words)),
            ("σοφος", Some(Rank::Words)),
            ("STRAßE", Some(Rank::Words)),
            ("v2", Some(Rank::Words)),
            ("bmc6", Some(Rank::Parts)),
            ("lood 68k", Some(Rank::Parts)),
            ("h5", Some(Rank::Parts)),
            ("5a", None),
            ("of x", None),
            ("blood nothing", None),
            ("bloodcells", None),
        ] {
            assert_eq!(query.parse::<Query>().unwrap().rank(artifact), rank, "{query:?}");
        }
        assert_eq!("x".parse::<Query>().unwrap().rank(Texts::default()), None);
    }

    #[test]
    fn two_characters_of_scripts_without_spaces_are_found_inside() {
        let artifact = texts("細胞データ.csv", "", "한국어데이터");
        for (query, rank) in [
            ("細胞データ", Some(Rank::Prefix)),
            ("胞デ", Some(Rank::Parts)),
            ("細胞", Some(Rank::Prefix)),
            ("ータ", Some(Rank::Parts)),
            ("데이", Some(Rank::Parts)),
            ("胞", None),
            ("胞細", None),
        ] {
            assert_eq!(query.parse::<Query>().unwrap().rank(artifact), rank, "{query:?}");
        }
    }

    #[test]
    fn queries_are_short_and_say_something() {
        let (long, many) = ("x".repeat(513), (0..17).map(|n| format!("w{n} ")).collect::<String>());
        for (text, refused) in [
            ("", QueryRefused::Empty),
            (" \t\n", QueryRefused::Empty),
            ("*%_'\";--", QueryRefused::Empty),
            (&long, QueryRefused::Length(513)),
            (&many, QueryRefused::Words(17)),
        ] {
            assert_eq!(text.parse::<Query>(), Err(refused), "{text:?}");
        }
        assert!("x".repeat(512).parse::<Query>().is_ok());
        assert!("a ".repeat(200).parse::<Query>().is_ok(), "one word, many times");
    }

    proptest! {
        #[test]
        fn what_a_text_is_made_of_finds_it(text in "[a-cA-Cé]{1,4}([ /.-][a-c0-9]{1,4}){0,3}") {
            let artifact = texts(&text, "", "");
            let rank = |query: &str| query.parse::<Query>().unwrap().rank(artifact);
            prop_assert_eq!(rank(&text), Some(Rank::Exact));
            prop_assert_eq!(rank(&text.to_uppercase()), Some(Rank::Exact));
            let lower = text.to_lowercase();
            for word in words(&lower) {
                prop_assert!(rank(word).is_some_and(|rank| rank <= Rank::Words));
                prop_assert!(rank(&word[..word.chars().next().unwrap().len_utf8()]).is_some());
            }
        }
    }
}
