//! Checks of paging, and the digests that can never change.

use proptest::prelude::*;

use super::*;

fn member(path: &str, content: &[u8]) -> Member {
    Member {
        path: path.parse().unwrap(),
        size_bytes: content.len() as u64,
        sha256: Sha256::of(content),
    }
}

fn paged(paths: impl IntoIterator<Item = String>) -> (Vec<Page>, ManifestDigest) {
    let mut paging = Paging::new();
    let mut pages = Vec::new();
    for path in paths {
        pages.extend(paging.push(member(&path, path.as_bytes())).unwrap());
    }
    let (last, digest) = paging.finish().unwrap();
    pages.extend(last);
    (pages, digest)
}

fn refusal(members: &[Member]) -> ManifestRefused {
    let mut paging = Paging::new();
    for member in members {
        if let Err(refused) = paging.push(member.clone()) {
            return refused;
        }
    }
    paging.finish().unwrap_err()
}

/// The expected digests were computed by another program, from what `digest` and `paging` say.
#[test]
fn digests_are_those_of_all_time() {
    let members = [member("a", b""), member("b/c.csv", b"x,y\n1,2\n"), member("b/é", b"3")];
    let mut paging = Paging::new();
    for member in &members {
        assert_eq!(paging.push(member.clone()), Ok(None));
    }
    let (page, folder) = paging.finish().unwrap();
    let page = page.unwrap();
    assert_eq!(
        page.sha256().to_string(),
        "9e840591287f900d2acae780b92c327713d7ad53cc7eca6960cd3e7cef68136f"
    );
    assert_eq!(
        folder.sha256.to_string(),
        "20a33f45decfd64647044c85c906f074e010d8a0b686919c9c4af03338a7d674"
    );
    assert_eq!((folder.size_bytes, folder.n_objects), (9, 3));
}

#[test]
fn pages_end_where_they_always_did() {
    let (pages, folder) = paged((0..5_000).map(|number| format!("data/{number:05}")));
    let sizes: Vec<usize> = pages.iter().map(|page| page.members().len()).collect();
    assert_eq!(sizes, [4096, 310, 40, 554]);
    assert_eq!(
        folder.sha256.to_string(),
        "5f3384ad3457ea16b579f7cdebcc90a40f388c736649abc08d6faec690e9fc2b"
    );
}

#[test]
fn a_page_without_an_end_ends_when_it_is_full() {
    let paths = (0..20_000)
        .map(|number| format!("{number:08}"))
        .filter(|path| !ends_page(&path.parse().unwrap()));
    let (pages, _) = paged(paths.take(2 * PAGE_MEMBERS_MAX + 1));
    let sizes: Vec<usize> = pages.iter().map(|page| page.members().len()).collect();
    assert_eq!(sizes, [PAGE_MEMBERS_MAX, PAGE_MEMBERS_MAX, 1]);
}

#[test]
fn what_is_no_folder_is_refused() {
    let [a, a_b, a_c, b] = ["a", "a-b", "a/c", "b"].map(|path| member(path, b"x"));
    assert_eq!(refusal(&[]), ManifestRefused::Empty);
    assert_eq!(refusal(&[a.clone(), a.clone()]), ManifestRefused::Twice(a.path.clone()));
    let order = ManifestRefused::Order {
        before: b.path.clone(),
        path: a.path.clone(),
    };
    assert_eq!(refusal(&[b, a.clone()]), order);
    let below = ManifestRefused::BelowFile {
        file: a.path.clone(),
        below: a_c.path.clone(),
    };
    assert_eq!(refusal(&[a.clone(), a_b.clone(), a_c]), below);
    let large = |member: &Member| Member {
        size_bytes: FOLDER_BYTES_MAX,
        ..member.clone()
    };
    assert_eq!(refusal(&[large(&a), large(&a_b)]), ManifestRefused::TooLarge);
}

#[test]
fn every_part_of_a_member_is_hashed() {
    let digest = |members: &[Member]| Page::new(members.to_vec()).sha256();
    let one = member("a/b", b"x");
    let others = [
        member("a/c", b"x"),
        member("a/b", b"y"),
        Member {
            size_bytes: 2,
            ..one.clone()
        },
    ];
    for other in others {
        assert_ne!(digest(std::slice::from_ref(&one)), digest(std::slice::from_ref(&other)));
    }
}

prop_compose! {
    fn listing()(paths in prop::collection::btree_set("[ab.é]{1,3}(-[ab]{1,2})?", 1..60)) -> Vec<Member> {
        paths.iter().filter_map(|path| path.parse().ok()).map(|path: MemberPath| member(path.as_str(), path.as_str().as_bytes())).collect()
    }
}

proptest! {
    #[test]
    fn a_stored_page_comes_back(members in listing()) {
        prop_assume!(!members.is_empty());
        let page = Page::new(members);
        let stored = page.encode();
        prop_assert_eq!(Page::decode(&stored).unwrap(), page.clone());
        for at in 0..page.members().len() {
            let path = page.members()[at].path.as_str();
            prop_assert_eq!(page.find(path), Some(&page.members()[at]));
            prop_assert_eq!(page.members_from(path), &page.members()[at..]);
        }
        prop_assert_eq!(page.find("zz"), None);
    }

    #[test]
    fn pages_hold_the_listing_and_end_by_the_rule(members in listing(), zero_bits in 1_u32..4, full_members in 1_usize..9) {
        prop_assume!(!members.is_empty());
        let rule = Rule { zero_bits, full_members };
        let mut paging = Paging::with_rule(rule);
        let mut pages: Vec<Page> = members.iter().filter_map(|member| paging.push(member.clone()).unwrap()).collect();
        let (last, digest) = paging.finish().unwrap();
        for page in &pages {
            let ends = page.members().iter().position(|member| rule.ends_page(&member.path));
            prop_assert!(ends.map_or(page.members().len() == full_members, |at| at + 1 == page.members().len()));
        }
        pages.extend(last);
        prop_assert!(pages.iter().flat_map(Page::members).eq(&members));
        let mut hasher = FolderHasher::default();
        pages.iter().for_each(|page| hasher.add(&page.sha256()));
        prop_assert_eq!((digest.sha256, digest.n_objects), (hasher.finish(), members.len() as u64));
        prop_assert_eq!(digest.size_bytes, members.iter().map(|member| member.size_bytes).sum::<u64>());
    }
}
