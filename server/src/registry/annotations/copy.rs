//! The annotations of one artifact for others.

use artifactd_domain::ArtifactRef;

use super::{Annotated, Annotation, Annotations, change, read::read};
use crate::{
    db::artifacts,
    registry::{Caller, Registry, RegistryError, Result, idempotency::RequestKey},
};

impl Registry {
    /// Adds the annotations of one artifact to others of its kind.
    pub async fn copy_annotations(
        &self,
        caller: &Caller,
        from: &ArtifactRef,
        to: Vec<ArtifactRef>,
        request: Option<RequestKey>,
    ) -> Result<Annotated> {
        let mut uids = self.uids_of(caller, &to).await?;
        let source = self.uids_of(caller, std::slice::from_ref(from)).await?.remove(0);
        uids.retain(|uid| *uid != source);
        let (scope, copier) = (caller.scope(), caller.clone());
        let answer = self.change_once(caller, request.as_ref(), move |txn| {
            let (caller, uids, source) = (copier.clone(), uids.clone(), source.clone());
            Box::pin(async move {
                let rows = artifacts::by_uids(txn, &[source.as_str()]).await?;
                let row = rows.into_iter().find(|row| caller.may_read(row.space_id));
                let row = row.ok_or_else(|| RegistryError::NotFound(source.clone()))?;
                let add = read(txn, &[row.id]).await?.remove(&row.id);
                let annotation = Annotation {
                    add: add.map_or_else(Annotations::default, |of| of.said()),
                    ..Annotation::default()
                };
                change(txn, &caller, scope, &annotation, &uids).await
            })
        });
        self.annotated(answer.await?)
    }
}
