//! Storages in the order in which they came. Whoever holds one keeps it, whatever comes or goes.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering},
};

use super::StoragePlace;

/// A list that grows at its end, and that nobody has to lock.
#[derive(Debug, Default)]
pub(super) struct StorageList {
    first: OnceLock<Box<Node>>,
}

#[derive(Debug)]
struct Node {
    place: StoragePlace,
    is_gone: AtomicBool,
    next: OnceLock<Box<Self>>,
}

impl StorageList {
    /// Adds a storage, unless it is there.
    pub(super) fn add(&self, place: StoragePlace) {
        let mut node = Box::new(Node {
            place,
            is_gone: AtomicBool::new(false),
            next: OnceLock::new(),
        });
        let mut end = &self.first;
        loop {
            if let Some(there) = end.get() {
                if there.place.id == node.place.id {
                    return;
                }
                end = &there.next;
            } else {
                // Somebody else may come first.
                match end.set(node) {
                    Ok(()) => return,
                    Err(again) => node = again,
                }
            }
        }
    }

    /// Passes a storage over from now on.
    pub(super) fn forget(&self, id: i64) {
        for node in self.nodes().filter(|node| node.place.id == id) {
            node.is_gone.store(true, Ordering::Release);
        }
    }

    /// The storages.
    pub(super) fn iter(&self) -> impl Iterator<Item = &StoragePlace> {
        let there = |node: &&Node| !node.is_gone.load(Ordering::Acquire);
        self.nodes().filter(there).map(|node| &node.place)
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        std::iter::successors(self.first.get(), |node| node.next.get()).map(AsRef::as_ref)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Store;

    fn place(id: i64) -> StoragePlace {
        StoragePlace {
            id,
            space_id: 1,
            name: format!("storage-{id}"),
            is_managed: false,
            is_read_only: false,
            store: Store::absent("/nowhere", "it is a test".to_owned()),
        }
    }

    fn ids(list: &StorageList) -> Vec<i64> {
        list.iter().map(|place| place.id).collect()
    }

    #[test]
    fn what_is_held_stays_while_others_come_and_go() {
        let list = StorageList::default();
        list.add(place(1));
        let held = list.iter().next().unwrap();
        std::thread::scope(|scope| {
            for id in 2..10 {
                let list = &list;
                scope.spawn(move || list.add(place(id)));
            }
        });
        list.add(place(5));
        list.forget(7);
        let mut found = ids(&list);
        found.sort_unstable();
        assert_eq!(found, [1, 2, 3, 4, 5, 6, 8, 9]);
        assert_eq!(held.name, "storage-1");
    }
}
