//! Pages of one manifest that are read, with the places of what they name.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use artifactd_domain::{
    Uid,
    manifest::{Member, MemberPath, Page},
};

use super::super::{
    super::{Registry, RegistryError, Result},
    Identity,
};
use crate::db::{blobs::BlobPlace, manifests, manifests::PlacedPage};

/// Pages that are known at a time: ranges jump between them.
const PAGES_KNOWN_MAX: usize = 8;

/// A page, and where the contents of its members lie.
pub(super) struct KnownPage {
    page: Arc<Page>,
    places: HashMap<Identity, BlobPlace>,
}

/// See the module.
pub(super) struct Pages {
    registry: Arc<Registry>,
    uid: Uid,
    manifest_id: i64,
    /// The latest first.
    known: VecDeque<Arc<KnownPage>>,
}

impl KnownPage {
    pub(super) fn members(&self) -> &[Member] {
        self.page.members()
    }
}

impl Pages {
    pub(super) fn new(registry: Arc<Registry>, uid: Uid, manifest_id: i64) -> Self {
        Self {
            registry,
            uid,
            manifest_id,
            known: VecDeque::new(),
        }
    }

    /// The member at a path, and where its content lies.
    pub(super) async fn find(&mut self, path: &MemberPath) -> Result<(Member, BlobPlace)> {
        let has_it = |known: &&Arc<KnownPage>| known.page.find(path.as_str()).is_some();
        let known = match self.known.iter().find(has_it).map(Arc::clone) {
            Some(known) => Some(known),
            None => {
                let reader = self.registry.db.reader();
                match manifests::page_for(reader, self.manifest_id, path.as_str()).await? {
                    Some(placed) => Some(self.know(&placed).await?),
                    None => None,
                }
            }
        };
        let found = known.and_then(|known| Some((known.page.find(path.as_str())?.clone(), known)));
        let Some((member, known)) = found else {
            return Err(RegistryError::MemberNotFound {
                uid: self.uid,
                path: path.to_string(),
            });
        };
        let place = self.place(&known, &member)?;
        Ok((member, place))
    }

    /// Where the content of a member lies.
    pub(super) fn place(&self, known: &KnownPage, member: &Member) -> Result<BlobPlace> {
        let place = known.places.get(&(member.sha256, member.size_bytes));
        // A page keeps its contents, so the folder itself is gone.
        place.cloned().ok_or(RegistryError::ContentChanged(self.uid))
    }

    /// The page that has a path, or would.
    pub(super) async fn at(&mut self, path: &str) -> Result<Option<Arc<KnownPage>>> {
        let reader = self.registry.db.reader();
        match manifests::page_for(reader, self.manifest_id, path).await? {
            Some(placed) => self.know(&placed).await.map(Some),
            // It lies before all that are there.
            None => self.after("", None).await,
        }
    }

    /// The page behind one, unless it begins at `end` or behind it.
    pub(super) async fn next(&mut self, known: &KnownPage, end: Option<&str>) -> Result<Option<Arc<KnownPage>>> {
        let first = known.page.first_path().clone();
        self.after(first.as_str(), end).await
    }

    async fn after(&mut self, path: &str, end: Option<&str>) -> Result<Option<Arc<KnownPage>>> {
        let placed = manifests::page_after(self.registry.db.reader(), self.manifest_id, path).await?;
        match placed {
            Some(placed) if end.is_none_or(|end| placed.reference.first_path.as_str() < end) => {
                self.know(&placed).await.map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn know(&mut self, placed: &PlacedPage) -> Result<Arc<KnownPage>> {
        let reader = self.registry.db.reader();
        let page = self.registry.page(reader, placed).await?;
        let page = page.ok_or(RegistryError::ContentChanged(self.uid))?;
        let places = manifests::places_of_page(reader, placed.page_id).await?;
        let places = places
            .into_iter()
            .map(|(sha256, place)| ((sha256, place.size_bytes.unsigned_abs()), place));
        let known = Arc::new(KnownPage {
            page,
            places: places.collect(),
        });
        self.known.push_front(Arc::clone(&known));
        self.known.truncate(PAGES_KNOWN_MAX);
        Ok(known)
    }
}
