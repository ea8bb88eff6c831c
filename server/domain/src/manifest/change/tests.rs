//! Checks of changes against paging the whole new listing.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::{
    Sha256,
    manifest::{ManifestRefused, Paging},
};

type Listing = BTreeMap<String, u8>;

fn member(path: &str, content: u8) -> Member {
    Member {
        path: path.parse().unwrap(),
        size_bytes: u64::from(content) + 1,
        sha256: Sha256::of(&[content]),
    }
}

fn put(path: &str, content: u8) -> Edit {
    Edit::Put(member(path, content))
}

fn remove(path: &str) -> Edit {
    Edit::Remove(path.parse().unwrap())
}

/// A folder made from its whole listing.
#[derive(Debug, Clone, PartialEq)]
struct Folder {
    pages: Vec<Page>,
    digest: ManifestDigest,
}

fn folder(listing: &Listing, rule: Rule) -> Result<Folder, ManifestRefused> {
    let mut paging = Paging::with_rule(rule);
    let mut pages = Vec::new();
    for (path, content) in listing {
        pages.extend(paging.push(member(path, *content))?);
    }
    let (last, digest) = paging.finish()?;
    pages.extend(last);
    Ok(Folder { pages, digest })
}

/// What a change came to, and which pages it asked for and kept.
#[derive(Debug)]
struct Outcome {
    folder: Folder,
    loaded: Vec<usize>,
    made: usize,
}

fn change(old: &Folder, edits: &[Edit], rule: Rule) -> Result<Outcome, ChangeRefused> {
    let index: Arc<[PageRef]> = old.pages.iter().map(Page::reference).collect();
    let mut change = Change::with_rule(&old.digest, index, rule)?;
    let mut edits = edits.iter().cloned();
    let (mut pages, mut loaded, mut made) = (Vec::new(), Vec::new(), 0);
    loop {
        match change.next()? {
            ChangeStep::Edit => change.give_edit(edits.next())?,
            ChangeStep::Load(number) => {
                loaded.push(number);
                change.give_page(old.pages[number].clone())?;
            }
            ChangeStep::Keep(number) => pages.push(old.pages[number].clone()),
            ChangeStep::New(page) => {
                made += 1;
                pages.push(page);
            }
            ChangeStep::Done(digest) => {
                let folder = Folder { pages, digest };
                return Ok(Outcome { folder, loaded, made });
            }
        }
    }
}

/// The whole new listing, unless there is nothing at a path to remove.
fn edited(old: &Listing, edits: &[Edit]) -> Option<Listing> {
    let mut listing = old.clone();
    for edit in edits {
        match edit {
            Edit::Put(member) => drop(listing.insert(member.path.to_string(), member.size_bytes as u8 - 1)),
            Edit::Remove(path) => drop(listing.remove(path.as_str())?),
        }
    }
    Some(listing)
}

/// Removes from `listing`, in the order of paths, what stands above or below another path.
fn without_collisions(listing: Listing) -> Listing {
    let collides =
        |path: &str| (1..path.len()).any(|end| path.as_bytes()[end] == b'/' && listing.contains_key(&path[..end]));
    listing
        .iter()
        .filter(|(path, _)| !collides(path))
        .map(|(path, content)| (path.clone(), *content))
        .collect()
}

fn numbered(numbers: impl IntoIterator<Item = usize>) -> Listing {
    numbers
        .into_iter()
        .map(|number| (format!("d/{number:06}"), 0))
        .collect()
}

#[test]
fn one_change_in_many_pages_loads_one() {
    let listing = numbered(0..30_000);
    let old = folder(&listing, Rule::FIXED).unwrap();
    assert!(old.pages.len() > 15);
    for page in [0, old.pages.len() / 2, old.pages.len() - 1] {
        let members = old.pages[page].members();
        let inner = members[members.len() / 2].path.as_str();
        for edit in [put(inner, 9), put(&format!("{inner}x"), 9), remove(inner)] {
            let outcome = change(&old, std::slice::from_ref(&edit), Rule::FIXED).unwrap();
            let expected = folder(&edited(&listing, &[edit]).unwrap(), Rule::FIXED).unwrap();
            assert_eq!(outcome.folder, expected);
            // A full page ends elsewhere after a change of its number of members.
            let may_run_on = members.len() == super::super::PAGE_MEMBERS_MAX;
            assert!(
                outcome.loaded == [page] || (may_run_on && outcome.loaded.len() <= 3),
                "{:?}",
                outcome.loaded
            );
            assert!(outcome.made <= 2 + outcome.loaded.len());
        }
    }
}

#[test]
fn no_edit_loads_nothing_and_keeps_all() {
    let old = folder(&numbered(0..10_000), Rule::FIXED).unwrap();
    let outcome = change(&old, &[], Rule::FIXED).unwrap();
    assert_eq!((outcome.loaded, outcome.made), (vec![], 0));
    assert_eq!(outcome.folder, old);
}

#[test]
fn content_that_is_the_same_keeps_its_page() {
    let old = folder(&numbered(0..3_000), Rule::FIXED).unwrap();
    let outcome = change(&old, &[put("d/000007", 0)], Rule::FIXED).unwrap();
    assert_eq!((outcome.loaded, outcome.made), (vec![0], 0));
    assert_eq!(outcome.folder, old);
}

#[test]
fn what_is_left_must_be_a_folder() {
    let old = folder(&numbered(0..2), Rule::FIXED).unwrap();
    let refusal = |edits: &[Edit]| change(&old, edits, Rule::FIXED).unwrap_err();
    assert_eq!(
        refusal(&[remove("d/000000"), remove("d/000001")]),
        ManifestRefused::Empty.into()
    );
    assert_eq!(
        refusal(&[remove("d/2")]),
        ChangeRefused::NoSuchMember("d/2".parse().unwrap())
    );
    assert_eq!(
        refusal(&[put("x", 1), put("x", 1)]),
        ManifestRefused::Twice("x".parse().unwrap()).into()
    );
    assert!(matches!(
        refusal(&[put("x", 1), put("b", 1)]),
        ChangeRefused::Manifest(ManifestRefused::Order { .. })
    ));
    let huge = Member {
        size_bytes: u64::MAX,
        ..member("x", 1)
    };
    assert_eq!(refusal(&[Edit::Put(huge)]), ManifestRefused::TooLarge.into());
}

#[test]
fn a_file_and_a_folder_of_one_name_collide_wherever_they_lie() {
    let far: Vec<String> = (0..40).map(|number| format!("a-/{number:02}")).collect();
    let listing = |paths: &[&str]| {
        paths
            .iter()
            .copied()
            .chain(far.iter().map(String::as_str))
            .map(|path| (path.to_owned(), 0))
            .collect()
    };
    for zero_bits in 0..5 {
        let rule = Rule {
            zero_bits,
            full_members: 4,
        };
        let with_file = folder(&listing(&["a", "b"]), rule).unwrap();
        let with_folder = folder(&listing(&["a/x", "b"]), rule).unwrap();
        let below = ChangeRefused::Manifest(below_file("a", &"a/x".parse().unwrap()));
        assert_eq!(change(&with_file, &[put("a/x", 1)], rule).unwrap_err(), below);
        assert_eq!(change(&with_folder, &[put("a", 1)], rule).unwrap_err(), below);
        assert_eq!(
            change(&with_folder, &[put("a", 1), put("a/x", 1)], rule).unwrap_err(),
            below
        );
        let swapped = change(&with_file, &[remove("a"), put("a/x", 0)], rule).unwrap();
        assert_eq!(swapped.folder, with_folder);
        let swapped = change(&with_folder, &[put("a", 0), remove("a/x")], rule).unwrap();
        assert_eq!(swapped.folder, with_file);
    }
}

#[test]
fn pages_of_something_else_are_refused() {
    let old = folder(&numbered(0..3_000), Rule::FIXED).unwrap();
    let other = folder(&numbered(1..3_000), Rule::FIXED).unwrap();
    let index = |folder: &Folder| folder.pages.iter().map(Page::reference).collect::<Vec<_>>();
    assert_eq!(
        Change::new(&old.digest, index(&other)).unwrap_err(),
        ChangeRefused::OtherPages
    );
    let mut change = Change::new(&old.digest, index(&old)).unwrap();
    assert_eq!(change.give_page(old.pages[0].clone()), Err(ChangeRefused::OtherPages));
    assert_eq!(change.next(), Ok(ChangeStep::Edit));
    change.give_edit(Some(put("d/000000", 1))).unwrap();
    assert_eq!(change.next(), Ok(ChangeStep::Load(0)));
    assert_eq!(change.next(), Ok(ChangeStep::Load(0)));
    assert_eq!(change.give_page(other.pages[0].clone()), Err(ChangeRefused::OtherPages));
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    let mut old = folder(&numbered(0..3), Rule::FIXED).unwrap();
    old.digest.size_bytes = 0;
    assert_eq!(
        change(&old, &[remove("d/000000")], Rule::FIXED).unwrap_err(),
        ChangeRefused::OtherPages
    );
}

prop_compose! {
    /// Paths of which many begin like others, with and without a folder.
    fn listing(max: usize)(paths in prop::collection::btree_map("[ab](-|-?[ab])?(/[ab](-|[ab])?){0,3}", 0..4_u8, 1..max)) -> Listing {
        paths
    }
}

fn sorted_edits(changes: &Listing, old: &Listing) -> Vec<Edit> {
    let edit = |(path, content): (&String, &u8)| match content {
        0 if old.contains_key(path) => remove(path),
        content => put(path, *content),
    };
    changes.iter().map(edit).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_change_is_the_paging_of_the_new_listing(old in listing(120), changes in listing(12), picked in prop::collection::vec((any::<prop::sample::Index>(), 0..3_u8), 0..8), zero_bits in 0..5_u32, full_members in 1..9_usize) {
        let rule = Rule { zero_bits, full_members };
        let old_listing = without_collisions(old);
        let old = folder(&old_listing, rule).unwrap();
        let mut changes = changes;
        for (index, content) in picked {
            let (path, _) = old_listing.iter().nth(index.index(old_listing.len())).unwrap();
            changes.insert(path.clone(), content);
        }
        let edits = sorted_edits(&changes, &old_listing);
        let expected = folder(&edited(&old_listing, &edits).unwrap(), rule);
        match (change(&old, &edits, rule), expected) {
            (Ok(outcome), Ok(expected)) => prop_assert_eq!(outcome.folder, expected),
            (Err(ChangeRefused::Manifest(refused)), Err(expected)) => {
                prop_assert_eq!(std::mem::discriminant(&refused), std::mem::discriminant(&expected));
            }
            (got, expected) => prop_assert!(false, "{:?} instead of {:?}", got, expected),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Members without an end of a page among them make full ones, whose ends move.
    #[test]
    fn a_change_of_full_pages_is_the_paging_of_the_new_listing(count in 4_000..14_000_usize, picked in prop::collection::btree_map(0..14_000_usize, 0..2_u8, 1..6), ends in any::<bool>()) {
        let is_kept = |path: &String| ends || !crate::manifest::ends_page(&path.parse().unwrap());
        let old_listing: Listing = numbered(0..count).into_iter().filter(|(path, _)| is_kept(path)).collect();
        let old = folder(&old_listing, Rule::FIXED).unwrap();
        let changes = picked.into_iter().map(|(number, content)| (format!("d/{number:06}"), content)).collect();
        let edits = sorted_edits(&changes, &old_listing);
        let outcome = change(&old, &edits, Rule::FIXED).unwrap();
        prop_assert_eq!(outcome.folder, folder(&edited(&old_listing, &edits).unwrap(), Rule::FIXED).unwrap());
    }
}
