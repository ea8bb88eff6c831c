//! Checks of diffs against what two listings say.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::{
    Sha256,
    manifest::{Paging, paging::Rule},
};

type Listing = BTreeMap<String, u8>;

/// Content of no bytes.
const EMPTY: u8 = 0;

const SMALL: Rule = Rule {
    zero_bits: 2,
    full_members: 6,
};

fn member(path: &str, content: u8) -> Member {
    Member {
        path: path.parse().unwrap(),
        size_bytes: u64::from(content),
        sha256: Sha256::of(&vec![1; usize::from(content)]),
    }
}

fn pages(members: impl IntoIterator<Item = Member>, rule: Rule) -> Vec<Page> {
    let mut paging = Paging::with_rule(rule);
    let mut pages: Vec<Page> = members
        .into_iter()
        .filter_map(|member| paging.push(member).unwrap())
        .collect();
    pages.extend(paging.finish().unwrap().0);
    pages
}

fn pages_of(listing: &Listing) -> Vec<Page> {
    pages(listing.iter().map(|(path, content)| member(path, *content)), SMALL)
}

struct Outcome {
    found: Vec<Difference>,
    loaded: usize,
    moves_may_be_missing: bool,
}

fn diff(old: &[Page], new: &[Page]) -> Outcome {
    let index = |pages: &[Page]| pages.iter().map(Page::reference).collect::<Vec<_>>();
    let mut diff = Diff::new(index(old), index(new));
    let (mut found, mut loaded) = (Vec::new(), 0);
    loop {
        let page = match diff.next() {
            DiffStep::LoadOld(number) => &old[number],
            DiffStep::LoadNew(number) => &new[number],
            DiffStep::Found(difference) => {
                found.push(difference);
                continue;
            }
            DiffStep::Done { moves_may_be_missing } => {
                assert_eq!(diff.next(), DiffStep::Done { moves_may_be_missing });
                return Outcome {
                    found,
                    loaded,
                    moves_may_be_missing,
                };
            }
        };
        loaded += 1;
        diff.give_page(page.clone()).unwrap();
    }
}

fn listing(members: &[(&str, u8)]) -> Listing {
    members
        .iter()
        .map(|(path, content)| ((*path).to_owned(), *content))
        .collect()
}

#[test]
fn every_kind_of_difference_is_told() {
    let old = listing(&[("changed", 1), ("empty", EMPTY), ("gone", 2), ("here", 3), ("same", 4)]);
    let new = listing(&[("changed", 5), ("empty2", EMPTY), ("new", 6), ("same", 4), ("there", 3)]);
    let outcome = diff(&pages_of(&old), &pages_of(&new));
    let moved = Difference::Moved {
        from: "here".parse().unwrap(),
        to: member("there", 3),
    };
    let changed = Difference::Changed {
        before: member("changed", 1),
        after: member("changed", 5),
    };
    let expected = [
        changed,
        Difference::Removed(member("empty", EMPTY)),
        Difference::Added(member("empty2", EMPTY)),
        moved,
        Difference::Removed(member("gone", 2)),
        Difference::Added(member("new", 6)),
    ];
    assert_eq!(outcome.found, expected);
    assert!(!outcome.moves_may_be_missing);
}

#[test]
fn several_members_with_one_content_move_one_to_one() {
    let old = listing(&[("a", 7), ("b", 7), ("c", 7)]);
    let new = listing(&[("x", 7), ("y", 7)]);
    let moved = |from: &str, to: &str| Difference::Moved {
        from: from.parse().unwrap(),
        to: member(to, 7),
    };
    let outcome = diff(&pages_of(&old), &pages_of(&new));
    assert_eq!(
        outcome.found,
        [moved("a", "x"), moved("b", "y"), Difference::Removed(member("c", 7))]
    );
}

fn numbered(folder: &str, count: usize) -> impl Iterator<Item = Member> {
    let folder = folder.to_owned();
    (0..count).map(move |number| Member {
        path: format!("{folder}/{number:06}").parse().unwrap(),
        size_bytes: 1,
        sha256: Sha256::of(&number.to_be_bytes()),
    })
}

#[test]
fn pages_that_are_the_same_are_not_loaded() {
    let old = pages(numbered("d", 20_000), Rule::FIXED);
    assert_eq!(diff(&old, &old).loaded, 0);
    let changed = numbered("d", 20_000).map(|mut member| {
        member.size_bytes += u64::from(member.path.as_str() == "d/010000");
        member
    });
    let outcome = diff(&old, &pages(changed, Rule::FIXED));
    assert_eq!((outcome.loaded, outcome.found.len()), (2, 1));
    // One at the front moves no ends but those of full pages.
    let more = [member("a", 1)].into_iter().chain(numbered("d", 20_000));
    let outcome = diff(&old, &pages(more, Rule::FIXED));
    assert!(outcome.loaded <= 4, "{}", outcome.loaded);
    assert_eq!(outcome.found, [Difference::Added(member("a", 1))]);
}

#[test]
fn a_folder_with_another_name_has_moved_as_far_as_members_can_be_held() {
    for count in [HELD_MAX, HELD_MAX + 1000] {
        let (old, new) = (
            pages(numbered("old", count), Rule::FIXED),
            pages(numbered("new", count), Rule::FIXED),
        );
        let outcome = diff(&old, &new);
        let moved = outcome
            .found
            .iter()
            .filter(|found| matches!(found, Difference::Moved { .. }))
            .count();
        assert_eq!(moved, HELD_MAX);
        assert_eq!(outcome.found.len(), moved + 2 * (count - HELD_MAX));
        assert_eq!(outcome.moves_may_be_missing, count > HELD_MAX);
    }
}

#[test]
fn pages_of_something_else_are_refused() {
    let [old, new] = [1, 2].map(|content| pages_of(&listing(&[("a", content)])));
    let mut diff = Diff::new([old[0].reference()], [new[0].reference()]);
    assert_eq!(diff.give_page(old[0].clone()), Err(ChangeRefused::OtherPages));
    assert_eq!(diff.next(), DiffStep::LoadOld(0));
    assert_eq!(diff.give_page(new[0].clone()), Err(ChangeRefused::OtherPages));
    assert_eq!(diff.next(), DiffStep::LoadOld(0));
    diff.give_page(old[0].clone()).unwrap();
    assert_eq!(diff.next(), DiffStep::LoadNew(0));
}

/// The new listing, from the old one and what was found.
fn redone(old: &Listing, found: &[Difference]) -> BTreeSet<String> {
    let mut members: BTreeMap<String, Member> = old
        .iter()
        .map(|(path, content)| (path.clone(), member(path, *content)))
        .collect();
    let take = |members: &mut BTreeMap<String, Member>, path: &MemberPath| {
        members.remove(path.as_str()).expect("it was there")
    };
    let mut put = Vec::new();
    for difference in found {
        match difference {
            Difference::Added(member) => put.push(member.clone()),
            Difference::Removed(member) => assert_eq!(take(&mut members, &member.path), *member),
            Difference::Changed { before, after } => {
                assert_eq!(take(&mut members, &before.path), *before);
                assert!(before.path == after.path && before != after);
                put.push(after.clone());
            }
            Difference::Moved { from, to } => {
                let gone = take(&mut members, from);
                assert_eq!((gone.sha256, gone.size_bytes), (to.sha256, to.size_bytes));
                put.push(to.clone());
            }
        }
    }
    for member in put {
        assert!(members.insert(member.path.to_string(), member).is_none());
    }
    members.values().map(|member| format!("{member:?}")).collect()
}

prop_compose! {
    fn any_listing()(members in prop::collection::btree_map("[a-f]{2}", 0..4_u8, 1..40)) -> Listing {
        members
    }
}

proptest! {
    #[test]
    fn what_is_found_makes_the_new_folder_of_the_old_one(old in any_listing(), changes in any_listing(), fresh in any::<bool>()) {
        let mut new = if fresh { Listing::new() } else { old.clone() };
        new.extend(changes);
        let outcome = diff(&pages_of(&old), &pages_of(&new));
        let expected = new.iter().map(|(path, content)| format!("{:?}", member(path, *content))).collect();
        prop_assert_eq!(redone(&old, &outcome.found), expected);
        let content = |difference: &Difference| match difference {
            Difference::Added(member) if member.size_bytes > 0 => Some((true, member.sha256)),
            Difference::Removed(member) if member.size_bytes > 0 => Some((false, member.sha256)),
            _ => None,
        };
        let alone: BTreeSet<(bool, Sha256)> = outcome.found.iter().filter_map(content).collect();
        prop_assert!(alone.iter().all(|(added, sha256)| !alone.contains(&(!added, *sha256))), "a move was missed");
        prop_assert!(outcome.loaded <= pages_of(&old).len() + pages_of(&new).len());
    }
}
