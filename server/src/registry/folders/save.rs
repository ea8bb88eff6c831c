//! Saving a folder, one step of the conversation at a time.

mod edits;
mod files;
mod finish;
mod pages;

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

use artifactd_domain::{
    Sha256, Sha256Hasher, Suffix, Uid,
    manifest::{CaseWalk, Edit, ManifestDigest, Member, MemberPath, Page},
};

pub use self::edits::{FolderEdit, FolderSource};
use self::{edits::hash_edit, files::Open};
use super::{
    super::{
        Caller, Registry, RegistryError, Result, Saved, StoragePlace,
        content::Stored,
        idempotency::{Finished, Repeatable},
        save::{NewArtifact, Revises, commit::Answer},
        turns::{ContentTurn, KeyTurn},
    },
    Identity,
    contents::Contents,
    maker::Maker,
    window::{Window, identity},
    write::PlaceOf,
};
use crate::db::{blobs, manifests};

/// A folder to save.
#[derive(Debug, Clone, Default)]
pub struct NewFolder {
    /// What the record says.
    pub artifact: NewArtifact,
    /// The folder of which it is a change; it is listed whole otherwise.
    pub base: Option<Uid>,
    /// Whether names may be listed that differ only in case.
    pub allow_case_collisions: bool,
}

/// A save of a folder under way. It ends with [`commit`](Self::commit) or [`abandon`](Self::abandon).
pub struct FolderSave {
    registry: Arc<Registry>,
    caller: Caller,
    new: Arc<NewArtifact>,
    suffix: Suffix,
    storage: StoragePlace,
    repeatable: Option<Repeatable>,
    /// The same request was finished before, and its content is compared.
    before: Option<Finished<Answer>>,
    /// The digest of the edits of a base.
    edits: Option<Sha256Hasher>,
    window: Window,
    /// The names so far, unless they may differ only in case.
    names: Option<CaseWalk>,
    maker: Option<Maker>,
    contents: Contents,
    open: Option<Open>,
    /// Members that came since the last page was complete.
    tail: Vec<Member>,
    places: Vec<(MemberPath, PlaceOf)>,
    /// Complete pages that have no row, with their places.
    waiting: VecDeque<(usize, Page)>,
    waiting_members: usize,
    /// The row that holds written pages, and when its lease was lengthened.
    save: Option<(i64, i64)>,
    _turns: (Option<KeyTurn>, ContentTurn),
}

/// How a save of a folder begins.
pub enum FolderBegun {
    /// It wants entries.
    Save(Box<FolderSave>),
    /// The same request was finished before.
    Before(Box<Saved>),
}

impl Registry {
    /// Begins to save a folder.
    pub async fn begin_folder(self: &Arc<Self>, caller: &Caller, new: NewFolder) -> Result<FolderBegun> {
        let NewFolder {
            artifact: mut new,
            base,
            allow_case_collisions,
        } = new;
        if let (Some(base), None, None) = (base, &new.key, &new.revises) {
            new.revises = Some(Revises::Stem(base.stem()));
        }
        let suffix = new.suffix(caller)?;
        let repeatable = Repeatable::new(new.request.as_ref(), caller);
        let before = match &repeatable {
            Some(repeatable) => repeatable.finished::<Answer>(self.db.reader(), caller).await?,
            None => None,
        };
        let before = match before {
            Some(finished) if new.declared.sha256.is_some() => {
                return Ok(FolderBegun::Before(Box::new(self.saved(finished.answer)?)));
            }
            before => before,
        };
        let key_turn = match &new.key {
            Some(key) => Some(self.key_turns.take(caller.space_id, key.as_str())?),
            None => None,
        };
        let turn = self.content_turns.take().await?;
        let storage = self.storage_of(caller, &new).await?.clone();
        let maker = match base {
            // A base may be gone when its edits are only compared.
            Some(base) if before.is_none() => self.maker_of_base(caller, base, &storage).await?,
            _ => Maker::of_listing(),
        };
        Ok(FolderBegun::Save(Box::new(FolderSave {
            registry: Arc::clone(self),
            caller: caller.clone(),
            new: Arc::new(new),
            suffix,
            contents: Contents::new(storage.clone()),
            storage,
            repeatable,
            before,
            edits: base.map(|_| Sha256Hasher::default()),
            window: Window::default(),
            names: (!allow_case_collisions).then(CaseWalk::default),
            maker: Some(maker),
            open: None,
            tail: Vec::new(),
            places: Vec::new(),
            waiting: VecDeque::new(),
            waiting_members: 0,
            save: None,
            _turns: (key_turn, turn),
        })))
    }

    async fn maker_of_base(&self, caller: &Caller, base: Uid, storage: &StoragePlace) -> Result<Maker> {
        let row = self.find(self.db.reader(), caller, &base.into(), true).await?;
        if row.in_trash() {
            return Err(RegistryError::InTrash(row.uid));
        }
        if row.storage_id != storage.id {
            return Err(RegistryError::other("header.base_uid", "is in another storage"));
        }
        let digest = ManifestDigest {
            sha256: row.digest()?,
            size_bytes: row.size_bytes.unsigned_abs(),
            n_objects: row.n_objects.unwrap_or_default().unsigned_abs(),
        };
        let pages = manifests::pages_of(self.db.reader(), row.folder()?).await?;
        Maker::of_base(&digest, pages)
    }
}

impl FolderSave {
    /// Takes the content of a file that lies in place.
    pub(in crate::registry) fn lies_in_place(&mut self, stored: Stored) {
        self.contents.put_object(stored);
    }

    /// Takes the next entries, in the order of their paths; answers the numbers of those
    /// whose content shall be sent.
    pub async fn list(&mut self, edits: Vec<FolderEdit>) -> Result<Vec<u64>> {
        if let Some(hasher) = &mut self.edits {
            edits.iter().for_each(|edit| hash_edit(hasher, edit));
        }
        if self.before.is_some() {
            return self.compare(edits).await.map(|()| Vec::new());
        }
        self.renew_lease().await?;
        let held = self.held(&edits).await?;
        let mut wanted = Vec::new();
        for edit in edits {
            let (edit, is_there) = match edit {
                FolderEdit::Put(member) => {
                    let identity = identity(&member);
                    let is_there = held.contains(&identity) || self.contents.has(&identity);
                    (Edit::Put(member), is_there)
                }
                FolderEdit::Remove(path) => (Edit::Remove(path), true),
                FolderEdit::Copy { path, from } => (Edit::Put(self.copied(path, &from).await?), true),
            };
            wanted.extend(self.window.push(edit, is_there)?);
        }
        self.advance().await?;
        Ok(wanted)
    }

    /// Takes entries of a request that was finished before, only to see whether it is the same.
    async fn compare(&mut self, edits: Vec<FolderEdit>) -> Result<()> {
        let (None, Some(maker)) = (&self.edits, &mut self.maker) else {
            return Ok(());
        };
        for edit in edits {
            let edit = match edit {
                FolderEdit::Put(member) => Edit::Put(member),
                FolderEdit::Remove(path) => Edit::Remove(path),
                FolderEdit::Copy { path, from } => {
                    let (member, _) = self.registry.member_named(&self.caller, &from).await?;
                    Edit::Put(Member { path, ..member })
                }
            };
            maker.push(&self.registry, edit, &mut Vec::new()).await?;
        }
        Ok(())
    }

    async fn held(&mut self, edits: &[FolderEdit]) -> Result<HashSet<Identity>> {
        let mut digests: Vec<Sha256> = edits
            .iter()
            .filter_map(|edit| match edit {
                FolderEdit::Put(member) => Some(member.sha256),
                _ => None,
            })
            .collect();
        digests.sort_unstable();
        digests.dedup();
        let reader = self.registry.db.reader();
        let found = blobs::with_digests(reader, self.storage.id, &digests).await?;
        let sound = found.into_iter().filter(|blob| blob.damaged_since_us.is_none());
        Ok(sound
            .filter_map(|blob| {
                let sha256 = <[u8; 32]>::try_from(blob.sha256).ok()?;
                Some((Sha256::from_bytes(sha256), blob.size_bytes.unsigned_abs()))
            })
            .collect())
    }

    async fn copied(&mut self, path: MemberPath, from: &FolderSource) -> Result<Member> {
        let (member, storage_id) = self.registry.member_named(&self.caller, from).await?;
        if storage_id != self.storage.id {
            return Err(RegistryError::ContentNotHeld(member.sha256));
        }
        Ok(Member { path, ..member })
    }

    /// Takes entries back whose content has not come; answers what has to be sent in their place.
    pub async fn withdraw(&mut self, numbers: &[u64]) -> Result<Vec<u64>> {
        let mut wanted = Vec::new();
        for number in numbers {
            wanted.extend(self.window.withdraw(*number)?);
        }
        self.advance().await?;
        Ok(wanted)
    }
}
