//! Mutated pages of manifests, as a damaged database would bring them.

use artifactd_domain::{
    Sha256,
    manifest::{Member, Page, PageRefused, Paging},
};

use crate::{Random, rounds};

/// Paths with characters of several bytes, of which neighbours share some.
const STEMS: [&str; 6] = ["a", "a/b", "obs/c\u{e9}", "obs/c\u{ea}", "x/\u{1f600}", "x/\u{1f601}y"];

/// Numbers that lie at the borders of lengths.
const NUMBERS: [u16; 8] = [0, 1, 2, 1024, 1025, 4096, 4097, u16::MAX];

fn some_page(random: &mut Random) -> Page {
    let count = 1 + random.below(12);
    let mut paths: Vec<String> = (0..count)
        .map(|_| format!("{}{}", random.of(&STEMS), random.below(99)))
        .collect();
    paths.sort();
    paths.dedup();
    let mut paging = Paging::new();
    for path in &paths {
        let member = Member {
            path: path.parse().expect("a path"),
            size_bytes: random.below(usize::MAX >> 10) as u64,
            sha256: Sha256::of(path.as_bytes()),
        };
        if let Some(page) = paging.push(member).expect("sorted members") {
            return page;
        }
    }
    paging.finish().expect("a folder").0.expect("a last page")
}

fn mutate(stored: &mut Vec<u8>, random: &mut Random) {
    let at = random.below(stored.len().max(1)).min(stored.len());
    match random.below(7) {
        0 if !stored.is_empty() => stored[at] ^= 1 << random.below(8),
        1 => stored.insert(at, random.below(256) as u8),
        2 => stored.truncate(at),
        3 => stored.extend_from_within(at..),
        4 if at + 2 <= stored.len() => {
            let number = NUMBERS[random.below(NUMBERS.len())];
            stored[at..at + 2].copy_from_slice(&number.to_be_bytes());
        }
        5 if at + 4 <= stored.len() => move_border(stored, at),
        _ => {
            stored.splice(at..(at + random.below(60)).min(stored.len()), []);
        }
    }
}

/// Writes a path in another way, if the lengths of one stand here: a byte less shared, a byte more of its own.
fn move_border(stored: &mut Vec<u8>, at: usize) {
    let [shared, own] = [at, at + 2].map(|at| u16::from_be_bytes([stored[at], stored[at + 1]]));
    if let (Some(shared), Some(own)) = (shared.checked_sub(1), own.checked_add(1)) {
        stored[at..at + 2].copy_from_slice(&shared.to_be_bytes());
        stored[at + 2..at + 4].copy_from_slice(&own.to_be_bytes());
        stored.insert(at + 4, b'a');
    }
}

fn check(stored: &[u8]) -> Result<(), PageRefused> {
    let page = Page::decode(stored).inspect_err(|refused| assert!(!refused.to_string().is_empty()))?;
    assert_eq!(page.encode(), stored, "a page is stored in one way only");
    assert!(page.members().is_sorted_by(|one, next| one.path < next.path));
    Ok(())
}

#[test]
fn mutated_pages_are_as_they_are_written_or_refused() {
    let mut random = Random::seeded();
    let mut accepted = 0;
    for _ in 0..rounds(50_000) {
        let mut stored = some_page(&mut random).encode();
        assert_eq!(check(&stored), Ok(()));
        for _ in 0..=random.below(3) {
            mutate(&mut stored, &mut random);
        }
        accepted += u64::from(check(&stored).is_ok());
    }
    // Sizes and digests can be any, so some mutations make another page.
    assert!(accepted > 0);
}

#[test]
fn a_path_written_in_another_way_is_refused() {
    let stored = |second: &[u8]| {
        let rest = [0; 40];
        [&[1, 0, 2, 0, 0, 0, 2][..], b"ab", &rest, second, &rest].concat()
    };
    assert_eq!(check(&stored(&[0, 1, 0, 1, b'c'])), Ok(()));
    for (second, refused) in [
        (&[0, 0, 0, 2, b'a', b'c'][..], PageRefused::Path(1)),
        (&[0, 3, 0, 1, b'c'], PageRefused::Path(1)),
        (&[0, 2, 0, 0], PageRefused::Order(1)),
        (&[0, 0, 0, 2, b'a', b'a'], PageRefused::Order(1)),
        (&[0, 2, 0, 1, b'/'], PageRefused::Path(1)),
        (&[0, 2, 0, 1, 0xff], PageRefused::Path(1)),
    ] {
        assert_eq!(check(&stored(second)), Err(refused), "{second:?}");
    }
}

#[test]
fn what_is_no_page_says_why() {
    let page = [&[1, 0, 1, 0, 0, 0, 1, b'a'][..], &[0; 40]].concat();
    assert_eq!(check(&page), Ok(()));
    for (stored, refused) in [
        (vec![], PageRefused::Short),
        (vec![2, 0, 0], PageRefused::Version(2)),
        (vec![1, 0, 0], PageRefused::Members(0)),
        (vec![1, 0x10, 1], PageRefused::Members(4097)),
        (page[..page.len() - 1].to_vec(), PageRefused::Short),
        ([&page[..], &[0]].concat(), PageRefused::Trailing(1)),
    ] {
        assert_eq!(check(&stored), Err(refused));
    }
}
