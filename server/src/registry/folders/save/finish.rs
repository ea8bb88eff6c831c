//! The end of a save of a folder: its artifact, or what is kept for another try.

use std::sync::Arc;

use artifactd_domain::{
    Sha256Hasher,
    manifest::{ManifestDigest, Page, Paging},
};

use super::{
    super::super::{
        RegistryError, Result, Saved, draw_stem,
        save::commit::{Commit, NewContent, Run},
    },
    super::{
        contents::Contents,
        window::identity,
        write::{FolderContent, NewPages},
    },
    FolderSave,
    files::Open,
};
use crate::{
    db::{WriteError, blobs},
    fault,
};

/// Members whose pages are written in the transaction of the artifact.
const LAST_MEMBERS_MAX: usize = 8 * 1024;

impl FolderSave {
    /// Makes the artifact, when nothing is missing.
    pub async fn commit(mut self: Box<Self>) -> Result<Saved> {
        let done = self.try_commit().await;
        if done.is_err() {
            self.clean_up(done.as_ref().err()).await;
        }
        done
    }

    async fn try_commit(&mut self) -> Result<Saved> {
        if self.open.is_some() {
            return Err(RegistryError::other("commit", "comes before the end of a file"));
        }
        if let Some((missing, first)) = self.window.missing() {
            return Err(RegistryError::FolderIncomplete { missing, first });
        }
        let edits = self.edits.take().map(Sha256Hasher::finish);
        if let (Some(before), Some(edits)) = (&self.before, edits) {
            let answer = before.content == Some(edits);
            return self.answer_again(answer);
        }
        let maker = self.maker.take().expect("a save ends once");
        let mut made = Vec::new();
        let digest = maker.finish(&self.registry, &mut made).await?;
        let asked = edits.unwrap_or(digest.sha256);
        if let Some(before) = &self.before {
            let is_same = before.content == Some(asked);
            return self.answer_again(is_same);
        }
        self.take(made);
        self.check_declared(&digest)?;
        self.contents.finish_pack().await?;
        fault::point("folder.contents_durable");
        if self.waiting_members > LAST_MEMBERS_MAX {
            self.flush(LAST_MEMBERS_MAX).await?;
        }
        let pages: Vec<Page> = self.waiting.iter().map(|(_, page)| page.clone()).collect();
        let rest = NewPages {
            storage_id: self.storage.id,
            contents: self.contents.take(pages.iter().flat_map(Page::members).map(identity)),
            pages,
        };
        let content = FolderContent {
            digest,
            asked,
            places: std::mem::take(&mut self.places),
            rest,
            save_id: self.save.map(|(id, _)| id),
        };
        self.commit_content(content).await
    }

    fn answer_again(&mut self, is_same: bool) -> Result<Saved> {
        let (Some(before), Some(repeatable)) = (self.before.take(), &self.repeatable) else {
            return Err(RegistryError::StreamIncomplete);
        };
        if !is_same {
            return Err(repeatable.reused());
        }
        self.registry.saved(before.answer)
    }

    fn check_declared(&self, digest: &ManifestDigest) -> Result<()> {
        self.new.declared.check_size(digest.size_bytes)?;
        match self.new.declared.sha256 {
            Some(declared) if declared != digest.sha256 => Err(RegistryError::DigestMismatch {
                declared,
                actual: digest.sha256,
            }),
            _ => Ok(()),
        }
    }

    async fn commit_content(&mut self, content: FolderContent) -> Result<Saved> {
        let found = self.registry.look_into_folder(&self.storage, &content).await;
        found.require(self.new.expect_accessor)?;
        let content = Arc::new(NewContent::Folder(content));
        let commit = Commit {
            caller: self.caller.clone(),
            space_id: self.storage.space_id,
            new: Arc::clone(&self.new),
            stem: draw_stem(),
            suffix: self.suffix.clone(),
            storage_id: self.storage.id,
            content: Arc::clone(&content),
            found,
            repeatable: self.repeatable.clone(),
        };
        let done = self.registry.db.write(move |txn| {
            let commit = commit.clone();
            Box::pin(async move { commit.run(txn).await })
        });
        let done = done.await;
        fault::point("folder.before_answer");
        if let (Err(_), NewContent::Folder(content)) = (&done, &*content) {
            // They are kept for the next try.
            self.contents.put_back(&content.rest);
        }
        match done? {
            Run::Done { answer, .. } | Run::Before(answer) => {
                self.waiting.clear();
                self.waiting_members = 0;
                self.discard_unused().await;
                self.registry.saved(*answer)
            }
        }
    }

    /// Ends without an artifact. What came is kept for the lease, so that another try
    /// need not send it again.
    pub async fn abandon(mut self: Box<Self>) {
        self.clean_up(None).await;
    }

    async fn clean_up(&mut self, error: Option<&RegistryError>) {
        if let Some(Open::Writing(file)) = self.open.take() {
            file.abandon().await;
        }
        let is_outage =
            error.is_some_and(|error| error.as_db().is_some() || matches!(error, RegistryError::Storage(_)));
        if is_outage || self.before.is_some() {
            self.contents.abort_pack().await;
        } else if let Err(error) = self.keep_what_came().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "Could not keep the files of a folder"
            );
            return;
        }
        // Whether a failed change was committed is not known, so objects stay then.
        if !is_outage {
            self.discard_unused().await;
        }
    }

    async fn keep_what_came(&mut self) -> Result<()> {
        self.contents.finish_pack().await?;
        if self.contents.len() == 0 && self.waiting.is_empty() {
            return Ok(());
        }
        let mut paging = Paging::default();
        let mut pages = Vec::new();
        let rest = std::mem::take(&mut self.tail)
            .into_iter()
            .chain(self.window.ready().cloned());
        for member in rest.filter(|member| self.contents.has(&identity(member))) {
            pages.extend(paging.push(member)?);
        }
        if let Ok((last, _)) = paging.finish() {
            pages.extend(last);
        }
        while self.waiting_members > 0 {
            self.write_group().await?;
        }
        if !pages.is_empty() {
            self.write_held(pages).await?;
        }
        Ok(())
    }

    /// Removes objects in which nothing lies that a row names.
    async fn discard_unused(&mut self) {
        let contents = std::mem::replace(&mut self.contents, Contents::new(self.storage.clone()));
        for name in contents.into_objects() {
            if let Ok(None) = blobs::object_by_name(self.registry.db.reader(), name.as_str()).await {
                self.registry.discard(self.storage.id, name);
            }
        }
    }
}
